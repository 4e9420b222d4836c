import assert from "node:assert/strict";
import test from "node:test";

import { FrameRate } from "../../../portal/static/frame-rate.js";

test("pictures per second are those of the last two seconds", () => {
  const rate = new FrameRate();
  for (let i = 0; i <= 100; i += 1) rate.note(i * 40, i);
  assert.equal(rate.at(4000), 25);
});

test("pictures that are counted together count all", () => {
  const rate = new FrameRate();
  rate.note(1000, 10);
  rate.note(2000, 35);
  assert.equal(rate.at(2500), 25);
});

test("nothing comes any more: none per second", () => {
  const rate = new FrameRate();
  rate.note(0, 1);
  rate.note(40, 2);
  assert.equal(rate.at(2100), 0);
});
