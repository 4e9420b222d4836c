import assert from "node:assert/strict";
import test from "node:test";

import { Hush } from "../../../portal/static/hush.js";

test("sound is held back without an end until the server says that the turn is over", () => {
  const hush = new Hush(0);
  assert.equal(hush.remainingMs(1000, 50), Infinity);
  hush.turnOver(1000);
  assert.equal(hush.remainingMs(1000, 50), 150);
});

test("nobody stays mute for more than five seconds, whatever the server says", () => {
  const hush = new Hush(0);
  assert.equal(hush.remainingMs(5000, 50), 0);
  hush.turnOver(4000);
  assert.equal(hush.remainingMs(4000, Infinity), 1000);
});

test("the first word that the turn is over counts, later ones change nothing", () => {
  const hush = new Hush(0);
  hush.turnOver(100);
  hush.turnOver(900);
  assert.equal(hush.remainingMs(100, 0), 100);
});

test("nothing of the next turn is held back, so half of a short gap is the most that is added", () => {
  const hush = new Hush(0);
  hush.turnOver(100);
  hush.speaking(140);
  assert.equal(hush.remainingMs(100, 0), 20);
  assert.equal(hush.remainingMs(120, null), 0);
});

test("a turn that speaks before the one before is known to be over is that one", () => {
  const hush = new Hush(0);
  hush.speaking(50);
  hush.turnOver(100);
  assert.equal(hush.remainingMs(100, null), 500);
});
