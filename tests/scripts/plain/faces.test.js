import assert from "node:assert/strict";
import test from "node:test";

import { centreOnFace } from "../../../portal/static/faces.js";

/** Where a picture of this avatar is put in its frame. */
function place(avatar, aspect) {
  return centreOnFace({ style: {} }, avatar, aspect).style.objectPosition;
}

test("a face comes to the middle of the frame as far as the picture reaches", () => {
  assert.equal(place({ width: 400, height: 200, face: [0.5, 0.2, 0.1, 0.4] }), "60% 50%");
  assert.equal(place({ width: 400, height: 200, face: [0.9, 0.2, 0.1, 0.4] }), "100% 50%");
  assert.equal(place({ width: 400, height: 200, face: [0, 0.2, 0.1, 0.4] }), "0% 50%");
});

test("of an avatar without a known face the upper part is shown", () => {
  assert.equal(place({ width: 100, height: 300, face: null }), "50% 13%");
});

test("a picture of the frame's own shape is shown whole", () => {
  assert.equal(place({ width: 80, height: 100, face: [0, 0, 0.1, 0.1] }, 4 / 5), "50% 50%");
});
