import assert from "node:assert/strict";
import test from "node:test";

import { place } from "./window.js";

const { View } = await import("../../../portal/static/talk/view.js");

const MARKUP = `<div><div class="vv-view">
  <input type="range" name="volume" min="0" max="100">
  <select name="subtitles"><option value="off"></option><option value="small"></option>
    <option value="normal" selected></option><option value="large"></option></select>
  <input type="checkbox" name="mirrored">
  <button class="vv-whole"></button><button class="vv-apart" disabled></button></div></div>`;

function shown(wished) {
  const panel = place(MARKUP);
  const frame = document.createElement("div");
  const told = { kept: [], volumes: [], panel: 0 };
  panel.onchange = () => (told.panel += 1);
  const page = { wished, changed: (wish) => told.kept.push(wish), loud: (volume) => told.volumes.push(volume) };
  const view = new View(panel, frame, document.createElement("video"), page);
  return { panel, frame, told, view };
}

test("what was chosen on an earlier visit holds at once", () => {
  const { frame, told } = shown({ volume: 0.5, subtitles: "large", mirrored: true });
  assert.deepEqual(told.volumes, [0.5]);
  assert.equal(frame.dataset.subtitles, "large");
  assert.ok(frame.classList.contains("vv-mirrored"));
});

test("what nobody can have chosen is not believed", () => {
  const { frame, told } = shown({ volume: "loud", subtitles: "huge", mirrored: "yes" });
  assert.deepEqual(told.volumes, [1]);
  assert.equal(frame.dataset.subtitles, "normal");
  assert.ok(!frame.classList.contains("vv-mirrored"));
});

test("a change is kept, and is none of the panel's other choices", () => {
  const { panel, frame, told } = shown({});
  const menu = panel.querySelector("select");
  menu.value = "off";
  menu.dispatchEvent(new window.Event("change", { bubbles: true }));
  assert.deepEqual(told.kept, [{ volume: 1, subtitles: "off", mirrored: false }]);
  assert.equal(frame.dataset.subtitles, "off");
  assert.equal(told.panel, 0);
});

test("only the pictures of a video can have a window of their own", () => {
  const { panel, view } = shown({});
  view.showMedia("websocket");
  assert.ok(panel.querySelector(".vv-apart").disabled);
  view.showMedia("webrtc");
  assert.ok(!panel.querySelector(".vv-apart").disabled);
});
