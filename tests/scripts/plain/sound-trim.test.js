import assert from "node:assert/strict";
import test from "node:test";

import { SoundTrim } from "../../../portal/static/sound-trim.js";

/** Reports of a browser whose pictures are late by so much, and whose sound is as late as its buffer's target says. */
function listen(trim, seconds, pictureMs, networkMs = 40) {
  const skews = [];
  for (let second = 0; second < seconds; second += 1) {
    const delayMs = Math.max(networkMs, trim.targetMs);
    skews.push(delayMs - pictureMs);
    trim.learn(delayMs - pictureMs, delayMs);
  }
  return skews;
}

test("sound that stays ahead of its pictures is with them after some seconds", () => {
  const trim = new SoundTrim();
  assert.equal(listen(trim, 8, 105).at(0), -65);
  assert.ok(Math.abs(listen(trim, 1, 105)[0]) <= 20);
});

test("what was added is taken away when the pictures come sooner again", () => {
  const trim = new SoundTrim();
  listen(trim, 8, 150);
  listen(trim, 20, 50);
  assert.ok(Math.abs(listen(trim, 1, 50)[0]) <= 20);
});

test("sound that is late by itself is left to the browser", () => {
  const trim = new SoundTrim();
  listen(trim, 20, 60, 160);
  assert.equal(trim.targetMs, 0);
});

test("a small skew, or one bad report, changes nothing", () => {
  const trim = new SoundTrim();
  for (const skewMs of [-15, -200, 10, 18, -18, -400]) assert.equal(trim.learn(skewMs, 50), false);
  assert.equal(trim.targetMs, 0);
});

test("sound is never held back by more than 400 ms", () => {
  const trim = new SoundTrim();
  for (let second = 0; second < 60; second += 1) trim.learn(-300, trim.targetMs);
  assert.equal(trim.targetMs, 400);
});
