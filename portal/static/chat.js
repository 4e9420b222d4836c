/** The chat column: what was asked, the answers as they stream in, and what can be done with each message. */

import { make, translate, withCode } from "./dom.js";
import { Conversation } from "./talk/conversation.js";

const DRAW_EVERY_MS = 80;
const NEAR_END_PX = 60;
const LONGEST_DRAWN = 20000; // characters; a longer answer is drawn as it is, without looking for markdown

export class Chat {
  /**
   * @param {HTMLElement} log
   * @param {{again: (text: string, mode: string) => void, edit: (text: string) => void}} page again: ask or say once
   *     more; edit: into the text box
   */
  constructor(log, { again, edit }) {
    this.log = log;
    this.again = again;
    this.edit = edit;
    this.texts = {};
    this.conversation = new Conversation();
    this.answers = new Map(); // turn that goes on -> {bubble, entry, drawing}
    this.asked = null; // {text, mode} of the last question
    this.rendered = null; // of markdown, once it is loaded
    this.leaving = () => this.conversation.save();
    addEventListener("pagehide", this.leaving);
    this.isAtEnd = true; // of the talk: the reader has not scrolled back
    log.onscroll = () => (this.isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END_PX);
    this.onResized = new ResizeObserver(() => this.keepingEnd(() => {})); // a keyboard comes, the text box grows
    this.onResized.observe(log);
  }

  close() {
    removeEventListener("pagehide", this.leaving);
    this.onResized.disconnect();
    for (const { drawing } of this.answers.values()) clearTimeout(drawing);
  }

  /** Put what was said before a reload back. */
  restore() {
    for (const entry of this.conversation.entries) {
      if (entry.who === "viewer") {
        this.asked = { text: entry.text, mode: entry.mode };
        this.message("vv-asked", entry.text, this.toolsOfQuestion(entry.text));
      } else {
        const bubble = this.message("vv-answer", "", this.toolsOfAnswer(entry));
        bubble.classList.toggle("vv-interrupted", entry.cut === true);
        this.draw({ bubble, entry });
        if (entry.textOnly) this.markTextOnly(bubble);
      }
    }
  }

  speak(texts) {
    this.texts = texts;
    this.keepingEnd(() => translate(this.log, texts)); // its buttons have room only once they are named
  }

  /** Whether there is anything but what stood in the log from the beginning. */
  get isBegun() {
    return this.log.querySelector(".vv-bubble") !== null;
  }

  /** Everything that was said is forgotten. */
  clear() {
    for (const { drawing } of this.answers.values()) clearTimeout(drawing);
    this.answers.clear();
    this.asked = null;
    this.conversation.clear();
    for (const message of this.log.querySelectorAll(".vv-message")) message.remove();
  }

  /**
   * What the viewer said; `echo` texts are spoken as they are and come back as an answer.
   * @param {HTMLElement?} bubble in which it was pending: it stays
   */
  ask(text, mode, bubble = null) {
    this.asked = { text, mode };
    if (mode !== "chat") return this.take(bubble);
    if (bubble) bubble.classList.remove("vv-pending");
    else this.message("vv-asked", text, this.toolsOfQuestion(text));
    this.conversation.add({ who: "viewer", text });
    this.conversation.save();
    this.log.scrollTop = this.log.scrollHeight;
  }

  /** What was typed and cannot be sent yet. The bubble is the caller's, to take back or to ask with. */
  pending(text) {
    const bubble = this.message("vv-asked vv-pending", text, this.toolsOfQuestion(text));
    this.log.scrollTop = this.log.scrollHeight;
    return bubble;
  }

  /** Take a bubble out again. */
  take(bubble) {
    bubble?.closest(".vv-message").remove();
  }

  /** @returns {string} the answer if the turn has ended with one, else "" */
  turn({ turn, state }, name) {
    if (state === "thinking") this.answer(turn, name).bubble.classList.add("vv-waiting");
    const answer = this.answers.get(turn);
    if (!answer) return "";
    const { bubble, entry } = answer;
    const ended = state === "done" || state === "interrupted";
    if (ended || state === "speaking") bubble.classList.remove("vv-waiting");
    if (state === "interrupted") bubble.classList.add("vv-interrupted");
    if (!ended) return "";
    clearTimeout(answer.drawing);
    this.answers.delete(turn);
    entry.cut = state === "interrupted";
    if (entry.text) this.draw(answer);
    else {
      this.take(bubble);
      this.conversation.remove(entry);
    }
    this.conversation.save();
    return entry.text;
  }

  text({ turn, delta }, name) {
    const answer = this.answer(turn, name);
    answer.bubble.classList.remove("vv-waiting");
    answer.entry.text += delta;
    answer.drawing ||= setTimeout(() => this.draw(answer), answer.bubble.textContent ? DRAW_EVERY_MS : 0);
  }

  /** A sentence that begins to be heard: of an answer that is cut, these are remembered. */
  heard({ turn, text }) {
    const answer = this.answers.get(turn);
    if (answer) answer.entry.heard = `${answer.entry.heard} ${text}`.trim();
  }

  /** No voice speaks the language of this answer. */
  textOnly(turn) {
    const answer = this.answers.get(turn);
    if (!answer || answer.entry.textOnly) return;
    answer.entry.textOnly = true;
    this.markTextOnly(answer.bubble);
  }

  /** A notice or an error, with its remedy; `again` asks the last question once more. */
  note({ message, hint, code, detail }, kind, isAsking = false) {
    const told = withCode(hint ? `${message} ${hint}` : message);
    const more = detail && make("details", { lang: "en" }, make("summary", {}, this.texts.details), make("small", {}, detail));
    const tools = isAsking && this.asked ? [this.tool("tryAgain", () => this.again(this.asked.text, this.asked.mode))] : [];
    const bubble = this.message(`vv-note vv-${kind}`, told, tools);
    bubble.dataset.code = code || "";
    if (more) bubble.append(more);
  }

  /** A new session counts its turns from 1 again; what was being answered was cut off. */
  newSession() {
    for (const turn of [...this.answers.keys()]) this.turn({ turn, state: "interrupted" });
  }

  answer(turn, name = "") {
    if (!this.answers.has(turn)) {
      const entry = this.conversation.add({ who: "avatar", name, mode: this.asked?.mode, cut: true }); // until it has ended
      this.answers.set(turn, { entry, bubble: this.message("vv-answer", "", this.toolsOfAnswer(entry)), drawing: 0 });
    }
    return this.answers.get(turn);
  }

  /** Markdown once its reader is there; until then, and if it cannot be had, the text as it is. */
  draw(answer) {
    answer.drawing = 0;
    const { bubble, entry } = answer;
    const isReadable = this.rendered && entry.text.length < LONGEST_DRAWN;
    this.keepingEnd(() => {
      bubble.classList.toggle("vv-rendered", Boolean(isReadable));
      bubble.replaceChildren(isReadable ? this.rendered(entry.text) : entry.text);
    });
    if (!this.rendered) this.loadMarkdown().then(() => bubble.isConnected && this.draw(answer), () => {});
  }

  async loadMarkdown() {
    const { rendered } = await import("./talk/markdown.js");
    this.rendered = rendered;
  }

  // -- messages and their buttons

  toolsOfQuestion(text) {
    return [this.tool("copy", (button) => this.copy(text, button)), this.tool("edit", () => this.edit(text))];
  }

  toolsOfAnswer(entry) {
    const asked = this.asked; // what it answers
    const again = asked && this.tool("again", () => this.again(asked.text, asked.mode));
    return [this.tool("copy", (button) => this.copy(entry.text, button)), again].filter(Boolean);
  }

  tool(key, pressed) {
    const button = make("button", { type: "button", "data-t": key }, this.texts[key] ?? "");
    button.onclick = () => pressed(button);
    return button;
  }

  async copy(text, button) {
    await toClipboard(text);
    button.textContent = this.texts.copied;
    setTimeout(() => (button.textContent = this.texts.copy), 2000);
  }

  markTextOnly(bubble) {
    bubble.after(make("span", { class: "vv-text-only", "data-t": "textOnly" }, this.texts.textOnly ?? ""));
  }

  /** @returns {HTMLElement} the bubble of a new message */
  message(kind, text, tools) {
    const bubble = make("div", { class: `vv-bubble ${kind}` }, ...[text].flat());
    const bar = tools.length ? make("div", { class: "vv-tools" }, ...tools) : null;
    this.keepingEnd(() => this.log.append(make("div", { class: "vv-message" }, bubble, bar)));
    return bubble;
  }

  /** Follow the end of the talk, unless the reader has scrolled back. */
  keepingEnd(change) {
    const { log, isAtEnd } = this;
    change();
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  }
}

/** Browsers lend the clipboard to pages by https or on the same machine only; elsewhere the old way still works. */
async function toClipboard(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text).catch(() => {});
    return;
  }
  const box = make("textarea", { class: "vv-unseen" });
  box.value = text;
  document.body.append(box);
  box.select();
  document.execCommand("copy");
  box.remove();
}
