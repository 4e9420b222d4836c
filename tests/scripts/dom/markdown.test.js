import assert from "node:assert/strict";
import test from "node:test";

import "./window.js";

const { rendered } = await import("../../../portal/static/talk/markdown.js");

/** As markup. */
function drawn(text) {
  const place = document.createElement("div");
  place.append(rendered(text));
  return place.innerHTML.trim();
}

test("markdown becomes elements", () => {
  assert.equal(drawn("**bold** and `code`"), "<p><strong>bold</strong> and <code>code</code></p>");
  assert.equal(drawn("1. one\n2. two"), "<ol>\n<li>one</li>\n<li>two</li>\n</ol>");
});

test("headings are bold lines, so that those of the page are not interrupted", () => {
  assert.equal(drawn("# Title"), "<p><strong>Title</strong></p>");
});

test("what looks like HTML is shown, and nothing of it becomes an element", () => {
  for (const text of ["<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "a <b>b</b> <svg/onload=alert(1)>"]) {
    const place = document.createElement("div");
    place.append(rendered(text));
    assert.equal(place.querySelector("img, script, b, svg"), null, text);
    assert.equal(place.textContent.trim(), text);
  }
});

test("links lead to a new window and to the web or mail only", () => {
  const place = document.createElement("div");
  place.append(rendered("[a](https://example.org/) [b](javascript:alert(1)) [c](mailto:a@example.org) [d](data:text/html,x)"));
  const links = [...place.querySelectorAll("a[href]")].map(({ href }) => href);
  assert.deepEqual(links, ["https://example.org/", "mailto:a@example.org"]);
  for (const link of place.querySelectorAll("a")) {
    assert.deepEqual([link.target, link.rel], ["_blank", "noopener noreferrer"]);
  }
});

test("no other host is asked for a picture: of it, its words remain", () => {
  assert.equal(drawn("![a cat](https://example.org/cat.png)"), "<p>a cat</p>");
});
