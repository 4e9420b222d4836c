import assert from "node:assert/strict";
import test, { beforeEach } from "node:test";

import { place } from "./window.js";

globalThis.addEventListener = window.addEventListener.bind(window);
globalThis.sessionStorage = window.sessionStorage;
globalThis.ResizeObserver = class {
  observe() {}
};
const { Chat } = await import("../../../portal/static/chat.js");
const { News } = await import("../../../portal/static/talk/news.js");
const { TalkState } = await import("../../../portal/static/talk/state.js");
const { Teller } = await import("../../../portal/static/teller.js");

beforeEach(() => sessionStorage.clear());

/** An empty chat. */
function chatting() {
  const chat = new Chat(place("<div></div>"), { again() {}, edit() {} });
  chat.speak({ textOnly: "text only" });
  return chat;
}

/** A chat, a player that tells what it is told to, and what a screen reader is told. */
function talk() {
  const player = Object.assign(new Teller(), { muted: false, isBlocked: false, listening: new Teller() });
  const told = [];
  const chat = chatting();
  new News(new TalkState(() => {}), { player, chat, announcer: { tell: (text) => told.push(text) } }, { begun() {} });
  const answer = (turn, sentences, spoken) => {
    player.tell("turn", { turn, state: "thinking" });
    for (const text of sentences) {
      player.tell("text", { turn, delta: text });
      player.tell("subtitle", { turn, text, spoken });
    }
    player.tell("turn", { turn, state: "done" });
  };
  return { chat, told, answer };
}

/** Which answers are marked, by their texts. */
function marked(chat) {
  return [...chat.log.querySelectorAll(".vv-text-only")].map((mark) => [
    mark.parentElement.querySelector(".vv-answer").textContent,
    mark.textContent,
  ]);
}

test("an answer that no voice speaks is marked once, and read out to who cannot see it", () => {
  const { chat, told, answer } = talk();
  answer(1, ["你好。", "再见。"], false);
  answer(2, ["Hello."], true);
  assert.deepEqual(marked(chat), [["你好。再见。", "text only"]]);
  assert.deepEqual(told, ["你好。再见。"]);
  const again = chatting();
  again.restore();
  assert.deepEqual(marked(again), [["你好。再见。", "text only"]], "after a reload");
});
