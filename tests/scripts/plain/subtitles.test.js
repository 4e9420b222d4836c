import assert from "node:assert/strict";
import test from "node:test";

import { Subtitles } from "../../../portal/static/subtitles.js";

const subtitle = (turn, text, start, end) => ({ type: "subtitle", turn, text, start, end, spoken: true });

test("a sentence is shown from its first sound until shortly after its last", () => {
  const subtitles = new Subtitles();
  subtitles.add(subtitle(1, "One.", 10, 12));
  assert.deepEqual([9.9, 10, 12.3, 12.5].map((now) => subtitles.at(now)), ["", "One.", "One.", ""]);
});

test("of two that overlap the later one is shown", () => {
  const subtitles = new Subtitles();
  subtitles.add(subtitle(1, "One.", 10, 12));
  subtitles.add(subtitle(1, "Two.", 12, 14));
  assert.equal(subtitles.at(12.1), "Two.");
});

test("nothing of an interrupted turn is shown, and what comes of the next one is", () => {
  const subtitles = new Subtitles();
  subtitles.add(subtitle(1, "One.", 10, 12));
  subtitles.add(subtitle(2, "Two.", 10, 12));
  subtitles.forget(1);
  assert.equal(subtitles.at(11), "Two.");
  subtitles.clear();
  assert.equal(subtitles.at(11), "");
});

test("what a server sends ahead does not pile up: the oldest is forgotten", () => {
  const subtitles = new Subtitles();
  for (let i = 0; i < 51; i += 1) subtitles.add(subtitle(1, `${i}`, i, i + 1));
  assert.equal(subtitles.at(0.5), "");
  assert.equal(subtitles.at(1.1), "1");
});
