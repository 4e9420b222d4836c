import assert from "node:assert/strict";
import test from "node:test";

import { place } from "./window.js";

const { Waterfall } = await import("../../../portal/static/talk/waterfall.js");

const MARKUP = `<details><summary></summary><p class="vv-no-marks"></p><ol class="vv-marks"></ol></details>`;
const TEXTS = { "mark.first_sentence": "First sentence", "mark.first_audio": "First sound" };

function shown(stages) {
  const panel = place(MARKUP);
  const waterfall = new Waterfall(panel);
  waterfall.speak(TEXTS);
  waterfall.show({ type: "metrics", turn: 1, stages });
  return panel;
}

test("each mark has a row, from the mark before it to its own time", () => {
  const panel = shown({ first_sentence: 100, first_audio: 400 });
  const rows = [...panel.querySelectorAll("li")];
  assert.deepEqual(rows.map((row) => row.querySelector("span").textContent), ["First sentence", "First sound"]);
  assert.deepEqual(rows.map((row) => row.querySelector("b").textContent), ["100 ms", "400 ms"]);
  const bars = rows.map((row) => row.querySelector("i").style);
  assert.deepEqual(bars.map(({ width }) => width), ["25%", "75%"]);
  assert.equal(bars[1].marginInlineStart, "25%");
});

test("what the page has no name for is left out, and before the first answer it says so", () => {
  assert.equal(shown({ first_audio: 1, something_new: 2 }).querySelectorAll("li").length, 1);
  assert.equal(shown({ first_audio: 1 }).querySelector(".vv-no-marks").hidden, true);
  assert.equal(shown({}).querySelector(".vv-no-marks").hidden, false);
});
