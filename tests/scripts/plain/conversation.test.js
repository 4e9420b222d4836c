import assert from "node:assert/strict";
import test, { beforeEach } from "node:test";

import { Conversation } from "../../../portal/static/talk/conversation.js";

/** What the browser keeps for this tab. */
let kept;

beforeEach(() => {
  kept = new Map();
  globalThis.sessionStorage = {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
  };
});

function spoken(who, text, more = {}) {
  return { who, text, ...more };
}

test("what was said is there again after a reload", () => {
  const before = new Conversation();
  before.add(spoken("viewer", "Hello"));
  before.add(spoken("avatar", "Good day", { name: "Mira" }));
  before.save();
  assert.deepEqual(new Conversation().entries, before.entries);
});

test("the oldest entries go when there are more than 200, and when they are too long", () => {
  const many = new Conversation();
  for (let i = 0; i < 201; i += 1) many.add(spoken("viewer", `${i}`));
  many.save();
  assert.equal(many.entries.length, 200);
  assert.equal(many.entries[0].text, "1");
  many.clear();
  for (const letter of ["a", "b", "c"]) many.add(spoken("viewer", letter.repeat(90_000)));
  many.save();
  assert.deepEqual(many.entries.map(({ text }) => text[0]), ["b", "c"]);
});

test("a new session is told what was asked and answered, and of what was cut only what was heard", () => {
  const talk = new Conversation();
  talk.add(spoken("viewer", "Count"));
  talk.add(spoken("avatar", "One. Two. Three.", { cut: true, heard: "One." }));
  talk.add(spoken("avatar", "Read this", { mode: "echo" }));
  talk.add(spoken("avatar", "Nothing of it", { cut: true, heard: "" }));
  assert.deepEqual(talk.history(), [
    { role: "user", content: "Count" },
    { role: "assistant", content: "One." },
  ]);
});

test("of what was cut the server knows best how much was played", () => {
  const talk = new Conversation();
  talk.add(spoken("viewer", "Count"));
  talk.add(spoken("avatar", "One. Two. Three.", { cut: true, heard: "One. Two.", played: 9 }));
  talk.add(spoken("viewer", "And?"));
  talk.add(spoken("avatar", "Nothing of it", { cut: true, heard: "Nothing", played: 0 }));
  assert.deepEqual(
    talk.history().map(({ content }) => content),
    ["Count", "One. Two.", "And?"],
  );
});

test("a new session is told the last 40 entries at most", () => {
  const talk = new Conversation();
  for (let i = 0; i < 50; i += 1) talk.add(spoken("viewer", `${i}`));
  assert.deepEqual(talk.history().map(({ content }) => content), Array.from({ length: 40 }, (_, i) => `${i + 10}`));
});

test("what somebody else has written into the storage is left out", () => {
  const key = "vivavoce.conversation";
  for (const text of ["no JSON", "{}", "null", '[null, 5, {"who": "nobody", "text": "x"}, {"who": "viewer"}]']) {
    kept.set(key, text);
    assert.deepEqual(new Conversation().entries, [], text);
  }
});

test("a conversation goes on where the browser keeps nothing", () => {
  const refused = () => {
    throw new Error("refused");
  };
  globalThis.sessionStorage = { getItem: refused, setItem: refused };
  const talk = new Conversation();
  talk.add(spoken("viewer", "Hello"));
  talk.save();
  assert.equal(talk.entries.length, 1);
});

test("the exported text names who spoke, also where a name looks like a replacement pattern", () => {
  const talk = new Conversation();
  talk.add(spoken("viewer", "Hello"));
  talk.add(spoken("avatar", "Good day", { name: "$& Mira" }));
  assert.equal(talk.exported("You", "{name}:"), "**You:** Hello\n\n**$& Mira:** Good day\n");
});
