import assert from "node:assert/strict";
import test from "node:test";

import { Places } from "../../../portal/static/stage/places.js";

const LOOP = 1000;

/** @param {[number, number, -1 | 0 | 1][]} runs number, place, step */
function places(...runs) {
  const all = new Places();
  for (const [number, place, step] of runs) all.learn({ type: "place", number, place, step });
  return all;
}

test("before anything is known there is no place", () => {
  assert.equal(new Places().at(3, LOOP), null);
});

test("a frame's place follows from the last message before it", () => {
  const all = places([100, 7, 1], [110, 0, 1], [120, 10, -1], [125, 6, 0]);
  assert.deepEqual([100, 105, 110, 119, 122, 130].map((number) => all.at(number / 25, LOOP)), [7, 12, 0, 9, 8, 6]);
});

test("pictures from before the first message show its place", () => {
  assert.equal(places([100, 7, 1]).at(98 / 25, LOOP), 7);
});

test("a session that counts from the beginning again is another one", () => {
  const all = places([100, 7, 1], [3, 20, 1]);
  assert.equal(all.at(100 / 25, LOOP), 117);
});

test("however often it sways, little is kept", () => {
  /** @type {[number, number, -1 | 0 | 1][]} */
  const runs = Array.from({ length: 5000 }, (_, index) => [index, index % 2, 1]);
  const oldest = places(...runs).at(0, LOOP);
  assert.equal(oldest, runs.at(-101)?.[1]);
});

test("a loop begins anew before that is told, and a gesture does not", () => {
  const [loop, gesture] = [places([0, 0, 1]), places([0, 100, 1])];
  assert.deepEqual([99, 100, 103].map((number) => loop.at(number / 25, 100)), [99, 0, 3]);
  assert.deepEqual([0, 3].map((number) => gesture.at(number / 25, 100)), [100, 103]);
});
