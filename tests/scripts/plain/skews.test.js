import assert from "node:assert/strict";
import test from "node:test";

import { Skews } from "../../../portal/static/skews.js";

test("the median of the latest is told, and nothing while there is none", () => {
  const skews = new Skews(3);
  assert.equal(skews.medianMs, null);
  for (const ms of [500, 30, -10, 20]) skews.add(ms);
  assert.equal(skews.medianMs, 20);
});
