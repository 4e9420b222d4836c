import assert from "node:assert/strict";
import test from "node:test";

import { partsOf } from "../../../portal/static/stage/mattes.js";

/**
 * @param {object} facts
 * @param {number} bytes behind them
 */
function file(facts, bytes) {
  const head = new TextEncoder().encode(JSON.stringify(facts));
  const data = new Uint8Array(4 + head.length + bytes);
  new DataView(data.buffer).setUint32(0, head.length, true);
  data.set(head, 4);
  data.set(Uint8Array.from({ length: bytes }, (_, index) => index), 4 + head.length);
  return data.buffer;
}

test("the mattes and the background are where the facts say", async () => {
  const { facts, parts } = partsOf(file({ places: [0, 1], lengths: [2, 3], background: 4 }, 9));
  assert.deepEqual(facts.places, [0, 1]);
  const bytes = await Promise.all(parts.map(async (part) => [...new Uint8Array(await part.arrayBuffer())]));
  assert.deepEqual(bytes, [[0, 1], [2, 3, 4], [5, 6, 7, 8]]);
});

test("a file that is cut off is refused", () => {
  assert.throws(() => partsOf(file({ places: [0], lengths: [2], background: 4 }, 5)), /cut off/);
  assert.throws(() => partsOf(new ArrayBuffer(2)));
});
