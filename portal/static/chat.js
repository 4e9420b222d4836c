/** The chat column: what was asked, the answers as they stream in, and what can be done with each message. */

import { make, translate, withCode } from "./dom.js";
import { Conversation } from "./talk/conversation.js";
import { fadeFrom } from "./talk/fade.js";

/**
 * @typedef {import("./dom.js").Child} Child
 * @typedef {import("./talk/conversation.js").Entry} Entry
 * @typedef {import("./types/api.d.ts").Texts} Texts
 * @typedef {import("./types/messages.d.ts").Mode} Mode
 *
 * An answer that is drawn: drawing, if set, is the timer of the next time.
 * @typedef {{bubble: HTMLElement, entry: Entry, drawing?: ReturnType<typeof setTimeout>}} Drawn
 *
 * What went wrong, in the language of the page.
 * @typedef {{code: string, cause: string, remedy: string, detail: string}} Told
 */

const DRAW_EVERY_MS = 80;
const NEAR_END_PX = 60;
const LONGEST_DRAWN = 20000; // characters; a longer answer is drawn as it is, without looking for markdown

export class Chat {
  /**
   * @param {HTMLElement} log
   * @param {{again: (text: string, mode: Mode) => void, edit: (text: string) => void}} page again: ask or say once
   *     more; edit: into the text box
   */
  constructor(log, { again, edit }) {
    this.log = log;
    this.again = again;
    this.edit = edit;
    /** @type {Texts} */
    this.texts = {};
    this.conversation = new Conversation();
    /** @type {Map<number, Drawn>} by the turn, as long as it goes on */
    this.answers = new Map();
    /** @type {{text: string, mode: Mode}?} the last question */
    this.asked = null;
    /** @type {HTMLElement?} the bubble of what is being said now */
    this.spoken = null;
    /** @type {typeof import("./talk/markdown.js").rendered?} once it is loaded */
    this.rendered = null;
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

  /** @param {Texts} texts */
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
    this.asked = this.spoken = null;
    this.conversation.clear();
    for (const message of this.log.querySelectorAll(".vv-message")) message.remove();
  }

  /**
   * What the viewer said; `echo` texts are spoken as they are and come back as an answer.
   * @param {string} text
   * @param {Mode} mode
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

  /**
   * What the viewer is saying, as far as it is understood; the final words are the question.
   * @param {Pick<import("./types/messages.d.ts").Transcript, "text" | "final">} transcript
   */
  transcribe({ text, final }) {
    if (final) {
      this.take(this.spoken);
      this.spoken = null;
      if (text) this.ask(text, "chat");
      return;
    }
    this.spoken ??= this.message("vv-asked vv-pending", "", []);
    const { spoken } = this;
    this.keepingEnd(() => (spoken.textContent = text));
  }

  /**
   * What was typed and cannot be sent yet. The bubble is the caller's, to take back or to ask with.
   * @param {string} text
   */
  pending(text) {
    const bubble = this.message("vv-asked vv-pending", text, this.toolsOfQuestion(text));
    this.log.scrollTop = this.log.scrollHeight;
    return bubble;
  }

  /**
   * Take a bubble out again.
   * @param {HTMLElement?} bubble
   */
  take(bubble) {
    bubble?.closest(".vv-message")?.remove();
  }

  /**
   * @param {Pick<import("./types/messages.d.ts").Turn, "turn" | "state">} event
   * @param {string} [name] of the avatar
   * @returns {string} the answer if the turn has ended with one, else ""
   */
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

  /**
   * @param {import("./types/messages.d.ts").Text} event
   * @param {string} name of the avatar
   */
  text({ turn, delta }, name) {
    const answer = this.answer(turn, name);
    answer.bubble.classList.remove("vv-waiting");
    answer.entry.text += delta;
    answer.drawing ||= setTimeout(() => this.draw(answer), answer.bubble.textContent ? DRAW_EVERY_MS : 0);
  }

  /**
   * A sentence that begins to be heard: of an answer that is cut, these are remembered. One that was held begins twice.
   * @param {import("./types/messages.d.ts").Subtitle} event
   */
  heard({ turn, text }) {
    const answer = this.answers.get(turn);
    if (answer && !answer.entry.heard.endsWith(text)) answer.entry.heard = `${answer.entry.heard} ${text}`.trim();
  }

  /**
   * The answer is being interrupted: what was not played of it is shown faintly.
   * @param {import("./types/messages.d.ts").Cut} event
   */
  cut({ turn, played }) {
    const answer = this.answers.get(turn);
    if (answer) answer.entry.played = played; // drawn as the turn ends
  }

  /**
   * No voice speaks the language of this answer.
   * @param {number} turn
   */
  textOnly(turn) {
    const answer = this.answers.get(turn);
    if (!answer || answer.entry.textOnly) return;
    answer.entry.textOnly = true;
    this.markTextOnly(answer.bubble);
  }

  /**
   * A notice or an error, with its remedy.
   * @param {Told} told
   * @param {"notice" | "error"} kind
   * @param {boolean} isAsking the last question can be asked once more
   */
  note({ code, cause, remedy, detail }, kind, isAsking = false) {
    const { asked } = this;
    const tools = isAsking && asked ? [this.tool("tryAgain", () => this.again(asked.text, asked.mode))] : [];
    const bubble = this.message(`vv-note vv-${kind}`, withCode(remedy ? `${cause} ${remedy}` : cause), tools);
    bubble.dataset.code = code;
    if (!detail) return;
    const summary = make("summary", {}, this.texts.details);
    bubble.append(make("details", { lang: "en" }, summary, make("small", {}, detail)));
  }

  /** A new session counts its turns from 1 again; what was being answered was cut off. */
  newSession() {
    this.transcribe({ text: "", final: true });
    for (const turn of [...this.answers.keys()]) this.turn({ turn, state: "interrupted" });
  }

  /**
   * @param {number} turn
   * @param {string} [name] of the avatar
   */
  answer(turn, name = "") {
    const begun = this.answers.get(turn);
    if (begun) return begun;
    const mode = this.asked?.mode ?? "chat";
    const entry = this.conversation.add({ who: "avatar", name, mode, cut: true }); // until it has ended
    /** @type {Drawn} */
    const answer = { entry, bubble: this.message("vv-answer", "", this.toolsOfAnswer(entry)) };
    this.answers.set(turn, answer);
    return answer;
  }

  /**
   * Markdown once its reader is there; until then, and if it cannot be had, the text as it is.
   * @param {Drawn} answer
   */
  draw(answer) {
    answer.drawing = undefined;
    const { bubble, entry } = answer;
    const { rendered } = this;
    const drawn = rendered && entry.text.length < LONGEST_DRAWN ? rendered(entry.text) : null;
    this.keepingEnd(() => {
      bubble.classList.toggle("vv-rendered", drawn !== null);
      bubble.replaceChildren(drawn ?? entry.text);
      if (entry.cut && typeof entry.played === "number") {
        const played = entry.text.slice(0, entry.played);
        fadeFrom(bubble, (drawn && rendered ? rendered(played).textContent ?? "" : played).trimEnd().length);
      }
    });
    if (rendered) return;
    this.loadMarkdown().then(
      () => {
        if (bubble.isConnected) this.draw(answer);
      },
      () => {},
    );
  }

  async loadMarkdown() {
    const { rendered } = await import("./talk/markdown.js");
    this.rendered = rendered;
  }

  // -- messages and their buttons

  /** @param {string} text */
  toolsOfQuestion(text) {
    return [this.tool("copy", (button) => this.copy(text, button)), this.tool("edit", () => this.edit(text))];
  }

  /** @param {Entry} entry */
  toolsOfAnswer(entry) {
    const asked = this.asked; // what it answers
    const tools = [this.tool("copy", (button) => this.copy(entry.text, button))];
    if (asked) tools.push(this.tool("again", () => this.again(asked.text, asked.mode)));
    return tools;
  }

  /**
   * @param {string} key of its text
   * @param {(button: HTMLElement) => void} pressed
   */
  tool(key, pressed) {
    const button = make("button", { type: "button", "data-t": key }, this.texts[key] ?? "");
    button.onclick = () => pressed(button);
    return button;
  }

  /**
   * @param {string} text
   * @param {HTMLElement} button
   */
  async copy(text, button) {
    await toClipboard(text);
    button.textContent = this.texts.copied;
    setTimeout(() => (button.textContent = this.texts.copy), 2000);
  }

  /** @param {HTMLElement} bubble */
  markTextOnly(bubble) {
    bubble.after(make("span", { class: "vv-text-only", "data-t": "textOnly" }, this.texts.textOnly ?? ""));
  }

  /**
   * @param {string} kind classes
   * @param {Child | Child[]} text
   * @param {HTMLElement[]} tools
   * @returns {HTMLElement} the bubble of a new message
   */
  message(kind, text, tools) {
    const bubble = make("div", { class: `vv-bubble ${kind}` }, ...[text].flat());
    const bar = tools.length ? make("div", { class: "vv-tools" }, ...tools) : null;
    this.keepingEnd(() => this.log.append(make("div", { class: "vv-message" }, bubble, bar)));
    return bubble;
  }

  /**
   * Follow the end of the talk, unless the reader has scrolled back.
   * @param {() => void} change
   */
  keepingEnd(change) {
    const { log, isAtEnd } = this;
    change();
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  }
}

/**
 * Browsers lend the clipboard to pages by https or on the same machine only; elsewhere the old way still works.
 * @param {string} text
 */
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
