import assert from "node:assert/strict";
import test from "node:test";

import { TalkState } from "../../../portal/static/talk/state.js";

const TEXTS = {
  waiting: "Place {place}",
  preparing: "Being made",
  preparingFor: "{avatar} for {lipsync}",
  "lipsync.viseme": "Lips",
  "state.listening": "Listening",
  "status.none": "No avatar",
  "status.idle": "Press Start",
};
const [MIRA, ADA] = [{ id: "mira", name: "Mira" }, { id: "ada", name: "Ada" }];

/** A state that knows this. */
function knowing(news) {
  const state = new TalkState(() => {});
  state.learn({ texts: TEXTS, ...news });
  return state;
}

test("whoever shows the state is told of every change, after it", () => {
  const seen = [];
  const state = new TalkState(() => seen.push(state.place));
  state.learn({ place: 3 });
  state.learn({ place: 2 });
  assert.deepEqual(seen, [3, 2]);
});

test("a place in the line is told before anything else, and the session before a preparation", () => {
  const coming = { avatar: "ada", lipsync: "viseme", share: 0 };
  assert.equal(knowing({ place: 2, session: "connecting", coming }).phase, "waiting");
  assert.equal(knowing({ session: "mending", coming }).phase, "mending");
  assert.equal(knowing({ coming }).phase, "preparing");
});

test("without a session the list decides: not read, there, being made, or none", () => {
  assert.equal(knowing({}).phase, "loading");
  assert.equal(knowing({ isListRead: true, avatars: [MIRA] }).phase, "idle");
  assert.equal(knowing({ isListRead: true, isFirstStart: true }).phase, "making");
  assert.equal(knowing({ isListRead: true, isFirstStart: true, isMoreExpected: false }).phase, "none");
});

test("Start is offered while nothing has begun that could be stopped", () => {
  assert.ok(knowing({ isListRead: true }).isAtRest);
  for (const news of [{ place: 1 }, { session: "live" }, { coming: { avatar: "ada", lipsync: "x", share: 0 } }]) {
    assert.ok(!knowing({ isListRead: true, ...news }).isAtRest);
  }
});

test("a live session is named by what the avatar does", () => {
  const labels = ["idle", "queued", "thinking", "speaking", "done"].map((turn) => knowing({ session: "live", turn }).label);
  assert.deepEqual(labels, ["listening", "thinking", "thinking", "speaking", "listening"]);
  assert.equal(knowing({ session: "mending", turn: "speaking" }).label, "mending");
});

test("the choice is what was picked, else the portal's own, else the first", () => {
  const catalogue = { tts: [], lipsync: [], defaults: { avatar: "ada" } };
  assert.equal(knowing({ avatars: [MIRA, ADA], catalogue, picked: "mira" }).choice, MIRA);
  assert.equal(knowing({ avatars: [MIRA, ADA], catalogue, picked: "gone" }).choice, ADA);
  assert.equal(knowing({ avatars: [MIRA], catalogue }).choice, MIRA);
  assert.equal(knowing({ catalogue }).choice, undefined);
});

test("nobody is there where there is neither an avatar nor a session", () => {
  assert.ok(knowing({ isFirstStart: true }).isNobodyThere);
  assert.ok(!knowing({ isFirstStart: true, session: "live" }).isNobodyThere);
});

test("the line below the picture says what is waited for", () => {
  assert.equal(knowing({ place: 4 }).line, "Place 4");
  assert.equal(knowing({ session: "live" }).line, "Listening");
  assert.equal(knowing({ isListRead: true, avatars: [MIRA] }).line, "Press Start");
});

test("in place of an avatar it is said why there is none, once that is known", () => {
  assert.equal(knowing({}).whyNone, "");
  assert.equal(knowing({ isListRead: true, isFirstStart: true }).whyNone, "Being made");
  assert.equal(knowing({ isListRead: true, isFirstStart: true, isMoreExpected: false }).whyNone, "No avatar");
});

test("avatars are called by their names, also in what the server says, whatever characters they have", () => {
  const state = knowing({ avatars: [{ id: "mira", name: "$& Mira" }], coming: { avatar: "mira", lipsync: "viseme", share: 0 } });
  assert.equal(state.comingLine, "$& Mira for Lips");
  assert.equal(state.named("The avatar 'mira' is gone; 'ada' is not."), "The avatar '$& Mira' is gone; 'ada' is not.");
  assert.equal(knowing({}).comingLine, "");
});
