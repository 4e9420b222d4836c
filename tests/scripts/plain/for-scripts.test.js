import assert from "node:assert/strict";
import test from "node:test";

import { forScripts } from "../../../portal/static/talk/for-scripts.js";

/** A Talk tab that notes what it is asked for. */
function noting() {
  /** @type {unknown[]} */
  const asked = [];
  const player = { stats: () => ({ state: "live" }) };
  const talk = {
    player,
    /** @param {object} [options] */
    start: async (options = { wish: "of the page" }) => void asked.push(Object.entries(options)),
    /** @param {string} text */
    say: (text, mode = "chat") => void asked.push([text, mode]),
  };
  const page = forScripts(Promise.resolve(/** @type {any} */ (talk)));
  return { page, asked };
}

test("null counts as what is left out", async () => {
  const { page, asked } = noting();
  assert.deepEqual(await page.start(null), { state: "live" });
  await page.say("Hello.", null);
  assert.deepEqual(asked, [[], ["Hello.", "chat"]]);
});

test("what is given is passed on", async () => {
  const { page, asked } = noting();
  await page.start({ avatar: "mira" });
  await page.say("Hello.", "echo");
  assert.deepEqual(asked, [[["avatar", "mira"]], ["Hello.", "echo"]]);
});
