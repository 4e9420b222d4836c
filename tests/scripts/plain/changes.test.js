import assert from "node:assert/strict";
import test from "node:test";

import { Changes } from "../../../portal/static/changes.js";

/** A session that notes what it is sent; without a socket nothing goes out. */
function running(hello = {}) {
  const session = {
    hello: { avatar: "alpha", ...hello },
    sent: [],
    hasSocket: true,
    send: (message) => session.hasSocket && session.sent.push(message) > 0,
  };
  return { session, changes: new Changes(() => session) };
}

const VOICE = { type: "change", tts: "beep", voice: "low", speed: null, lipsync: undefined, prompt: null };

test("an avatar is wanted until it is shown, and a session that begins anew begins with it", () => {
  const { session, changes } = running();
  changes.swapAvatar("beta");
  assert.deepEqual([session.sent, changes.wanted], [[{ type: "avatar", id: "beta" }], "beta"]);
  changes.shown("beta");
  assert.deepEqual([changes.wanted, session.hello.avatar], [null, "beta"]);
});

test("what was asked for without a socket is asked for at the next welcome, the last of each kind", () => {
  const { session, changes } = running();
  session.hasSocket = false;
  changes.swapAvatar("beta");
  changes.change({ tts: "beep", voice: "high" });
  changes.change({ tts: "beep", voice: "low" });
  session.hasSocket = true;
  changes.askAgain("alpha");
  assert.deepEqual(session.sent, [VOICE, { type: "avatar", id: "beta" }]);
  changes.askAgain("beta");
  assert.equal(changes.wanted, null);
});

test("what is in force already is not asked for, and what was refused does not stay", () => {
  const { session, changes } = running({ tts: "beep", voice: "low" });
  changes.change({ tts: "beep", voice: "low" });
  assert.deepEqual(session.sent, []);
  changes.change({ tts: "beep", voice: "high" });
  changes.change({ tts: "beep", voice: "high" });
  assert.equal(session.sent.length, 1);
  changes.answered(false);
  assert.deepEqual([changes.chosen.voice, changes.unanswered], ["low", []]);
  changes.change({ tts: "beep", voice: "high" });
  changes.answered(true);
  assert.equal(changes.chosen.voice, "high");
});

test("nothing is asked of a session that there is not", () => {
  const changes = new Changes(() => null);
  changes.swapAvatar("beta");
  changes.change({ tts: "beep" });
  assert.deepEqual([changes.wanted, changes.unanswered], [null, []]);
});
