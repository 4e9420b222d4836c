import assert from "node:assert/strict";
import test from "node:test";

import { place } from "./window.js";

const { ConnectionPanel } = await import("../../../portal/static/talk/connection.js");

const MARKUP = `<div><details class="vv-connection" open><summary></summary><p class="vv-no-ways"></p><ul></ul></details></div>`;
const TEXTS = {
  "way.host": "Directly",
  "way.relay_udp": "Relay",
  "standing.used": "in use",
  "standing.none": "not available",
  "why.turn_refused": "The password is wrong.",
  "reason.forced": "as requested",
};
const WAYS = [
  { way: "host", standing: "used", roundMs: 19.6 },
  { way: "relay_udp", standing: "none", why: "turn_refused" },
];

function opened() {
  const element = place(MARKUP);
  const panel = new ConnectionPanel(element);
  panel.speak(TEXTS);
  return { panel, element, rows: () => [...element.querySelectorAll("li")].map((row) => [...row.children].map((one) => one.textContent)) };
}

test("each way has its name, how it stands, and why it does not work", () => {
  const { panel, rows, element } = opened();
  assert.equal(element.querySelector("p").hidden, false);
  panel.show(WAYS);
  assert.deepEqual(rows(), [["Directly", "in use, 20 ms"], ["Relay", "not available", "The password is wrong."]]);
  assert.equal(element.querySelector("p").hidden, true);
  panel.show([{ way: "host", standing: "none", why: "forced" }]);
  assert.deepEqual(rows(), [["Directly", "not available", "as requested"]]);
});

test("rows stay while they say the same, and speak another language at once", () => {
  const { panel, rows, element } = opened();
  panel.show(WAYS);
  const [row] = element.querySelectorAll("li");
  panel.show(structuredClone(WAYS));
  assert.equal(element.querySelector("li"), row);
  panel.speak({ ...TEXTS, "way.host": "直连" });
  assert.equal(rows()[0][0], "直连");
});

test("a panel that is closed is drawn once it is opened", () => {
  const { panel, rows, element } = opened();
  const details = element.querySelector("details");
  details.open = false;
  panel.show(WAYS);
  assert.deepEqual(rows(), []);
  details.open = true;
  details.dispatchEvent(new details.ownerDocument.defaultView.Event("toggle"));
  assert.equal(rows().length, 2);
});
