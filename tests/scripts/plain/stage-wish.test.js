import assert from "node:assert/strict";
import test from "node:test";

import { withDefaults } from "../../../portal/static/stage/wish.js";

/** @param {string} query */
const asked = (query) => withDefaults(new URLSearchParams(query));

test("an empty address shows the avatar alone and waits for a click", () => {
  assert.deepEqual(asked(""), { wish: {}, view: "stage", fit: "auto", backdrop: "", autostart: false, controls: true });
});

test("what belongs to the session is passed on, the rest is not", () => {
  const { wish } = asked("avatar=mira&voice=heart&tts=hibari&lipsync=viseme&transport=websocket&lang=zh&view=both");
  assert.deepEqual(wish, { avatar: "mira", voice: "heart", tts: "hibari", lipsync: "viseme", transport: "websocket" });
});

test("a kiosk starts by itself and keeps its session", () => {
  assert.deepEqual([asked("kiosk=1").autostart, asked("kiosk=1").wish], [true, { keep: true }]);
});

test("a background is a colour or nothing: no other CSS gets in", () => {
  assert.equal(asked("bg=%2300b140").backdrop, "#00b140");
  assert.equal(asked("bg=transparent").backdrop, "transparent");
  assert.equal(asked("bg=blur").backdrop, "blur");
  for (const bad of ["photo", "url(x)", "red;color:blue", "var(--x)"]) {
    assert.equal(asked(`bg=${encodeURIComponent(bad)}`).backdrop, "");
  }
});

test("values that are not known count as none", () => {
  const { view, fit, controls } = asked("view=all&fit=stretch&controls=0");
  assert.deepEqual([view, fit, controls], ["stage", "auto", false]);
});

test("what the address says counts more than what the portal has for all", () => {
  const defaults = new URLSearchParams("kiosk=1");
  assert.equal(withDefaults(new URLSearchParams("avatar=mira"), defaults).wish.keep, true);
  assert.equal(withDefaults(new URLSearchParams("kiosk=0"), defaults).wish.keep, undefined);
});
