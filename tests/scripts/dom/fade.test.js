import assert from "node:assert/strict";
import test from "node:test";

import { place } from "./window.js";

const { fadeFrom } = await import("../../../portal/static/talk/fade.js");

/** What is faint of a markup, and what is not. */
function faded(markup, length) {
  const element = place(markup);
  const whole = element.textContent;
  fadeFrom(element, length);
  assert.equal(element.textContent, whole);
  const faint = [...element.querySelectorAll(".vv-unplayed")].map(({ textContent }) => textContent).join("");
  return [whole.slice(0, whole.length - faint.length), faint];
}

test("what comes after so many characters is faint, across elements", () => {
  const markup = "<div><p>one <strong>two three</strong> four</p><p>five</p></div>";
  assert.deepEqual(faded(markup, 7), ["one two", " three fourfive"]);
  assert.deepEqual(faded(markup, 13), ["one two three", " fourfive"]);
});

test("nothing is faint of what was played whole, and everything of what was not played", () => {
  assert.deepEqual(faded("<div>one</div>", 3), ["one", ""]);
  assert.deepEqual(faded("<div>one</div>", 99), ["one", ""]);
  assert.deepEqual(faded("<div><p>one</p>two</div>", 0), ["", "onetwo"]);
});
