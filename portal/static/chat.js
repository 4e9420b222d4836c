/** The chat column: questions, answers as they stream in, and the buttons of each message. */

import { make, translate, withCode } from "./dom.js";
import { Conversation } from "./talk/conversation.js";
import { fadeFrom } from "./talk/fade.js";

/**
 * @typedef {import("./dom.js").Child} Child
 * @typedef {import("./talk/conversation.js").Entry} Entry
 * @typedef {import("./types/api.d.ts").Texts} Texts
 * @typedef {import("./types/messages.d.ts").Mode} Mode
 *
 * An answer in the log. `drawing`, if set, is the timer of its next redraw.
 * @typedef {{bubble: HTMLElement, entry: Entry, drawing?: ReturnType<typeof setTimeout>}} Drawn
 *
 * A notice or an error in words, in the language of the page.
 * @typedef {{code: string, cause: string, remedy: string, detail: string}} Told
 */

const DRAW_EVERY_MS = 80;
const NEAR_END_PX = 60; // a log that is scrolled to within this distance of its end follows new messages
const LONGEST_DRAWN = 20000; // characters; longer answers stay plain text, since each redraw parses the whole text

export class Chat {
  /**
   * @param {HTMLElement} log
   * @param {{again: (text: string, mode: Mode) => void, edit: (text: string) => void}} page again: ask or say the text
   *     once more; edit: put the text into the text box
   */
  constructor(log, { again, edit }) {
    this.log = log;
    this.again = again;
    this.edit = edit;
    /** @type {Texts} */
    this.texts = {};
    this.conversation = new Conversation();
    /** @type {Map<number, Drawn>} answers that are not finished, by turn */
    this.answers = new Map();
    /** @type {{text: string, mode: Mode}?} the last question */
    this.asked = null;
    /** @type {HTMLElement?} the bubble of what the viewer is saying now */
    this.spoken = null;
    /** @type {typeof import("./talk/markdown.js").rendered?} null until the module is loaded */
    this.rendered = null;
    this.leaving = () => this.conversation.save();
    addEventListener("pagehide", this.leaving);
    this.isAtEnd = true; // false: the reader has scrolled back
    log.onscroll = () => (this.isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END_PX);
    this.onResized = new ResizeObserver(() => this.keepingEnd(() => {})); // when a keyboard opens or the text box grows
    this.onResized.observe(log);
  }

  close() {
    removeEventListener("pagehide", this.leaving);
    this.onResized.disconnect();
    for (const { drawing } of this.answers.values()) clearTimeout(drawing);
  }

  /** Show again what was said before a reload. */
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
    this.keepingEnd(() => translate(this.log, texts)); // the height of the log depends on its buttons' texts
  }

  /** Whether the log has any message, apart from the text that it starts with. */
  get isBegun() {
    return this.log.querySelector(".vv-bubble") !== null;
  }

  /** Forget everything that was said. */
  clear() {
    for (const { drawing } of this.answers.values()) clearTimeout(drawing);
    this.answers.clear();
    this.asked = this.spoken = null;
    this.conversation.clear();
    for (const message of this.log.querySelectorAll(".vv-message")) message.remove();
  }

  /**
   * Show what the viewer said. A text with mode `echo` is spoken as it is and comes back as an answer, so it gets no
   * bubble of its own.
   * @param {string} text
   * @param {Mode} mode
   * @param {HTMLElement?} bubble the bubble in which the text was pending, if any; a question keeps it
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
   * Show what the viewer is saying, as far as it has been recognised. The final words are the question.
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
   * Show what was typed and cannot be sent yet. The caller passes the returned bubble to take() or ask() later.
   * @param {string} text
   */
  pending(text) {
    const bubble = this.message("vv-asked vv-pending", text, this.toolsOfQuestion(text));
    this.log.scrollTop = this.log.scrollHeight;
    return bubble;
  }

  /**
   * Remove a bubble and its message.
   * @param {HTMLElement?} bubble
   */
  take(bubble) {
    bubble?.closest(".vv-message")?.remove();
  }

  /**
   * Take a new state of a turn.
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
   * Add a piece of text to the answer of a turn.
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
   * A sentence begins to be heard. If the answer is cut, only these sentences are remembered. A sentence that was held
   * begins twice and is noted once.
   * @param {import("./types/messages.d.ts").Subtitle} event
   */
  heard({ turn, text }) {
    const answer = this.answers.get(turn);
    if (answer && !answer.entry.heard.endsWith(text)) answer.entry.heard = `${answer.entry.heard} ${text}`.trim();
  }

  /**
   * The answer is being interrupted. The part of it that was not played is shown faintly.
   * @param {import("./types/messages.d.ts").Cut} event
   */
  cut({ turn, played }) {
    const answer = this.answers.get(turn);
    if (answer) answer.entry.played = played; // shown when the turn ends and the answer is drawn for the last time
  }

  /**
   * Mark an answer as text only, because no voice speaks its language.
   * @param {number} turn
   */
  textOnly(turn) {
    const answer = this.answers.get(turn);
    if (!answer || answer.entry.textOnly) return;
    answer.entry.textOnly = true;
    this.markTextOnly(answer.bubble);
  }

  /**
   * Show a notice or an error, with its remedy.
   * @param {Told} told
   * @param {"notice" | "error"} kind
   * @param {boolean} isAsking true: offer to ask the last question once more
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

  /** End the unfinished answers, since a new session counts its turns from 1 again. */
  newSession() {
    this.transcribe({ text: "", final: true });
    for (const turn of [...this.answers.keys()]) this.turn({ turn, state: "interrupted" });
  }

  /**
   * Return the unfinished answer of a turn; it is begun if there is none.
   * @param {number} turn
   * @param {string} [name] of the avatar
   */
  answer(turn, name = "") {
    const begun = this.answers.get(turn);
    if (begun) return begun;
    const mode = this.asked?.mode ?? "chat";
    const entry = this.conversation.add({ who: "avatar", name, mode, cut: true }); // cut, until it has ended well
    /** @type {Drawn} */
    const answer = { entry, bubble: this.message("vv-answer", "", this.toolsOfAnswer(entry)) };
    this.answers.set(turn, answer);
    return answer;
  }

  /**
   * Show an answer as rendered Markdown once the renderer is loaded. Until then, or if loading fails, show plain text.
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
        // `played` counts characters of the Markdown source. Rendered text has fewer, so render that part to count
        // them.
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
    const asked = this.asked; // the question that this answer belongs to
    const tools = [this.tool("copy", (button) => this.copy(entry.text, button))];
    if (asked) tools.push(this.tool("again", () => this.again(asked.text, asked.mode)));
    return tools;
  }

  /**
   * Make a button.
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
   * Append a message to the log.
   * @param {string} kind CSS classes of the bubble
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
   * Make a change, then scroll to the end of the log, unless the reader had scrolled back.
   * @param {() => void} change
   */
  keepingEnd(change) {
    const { log, isAtEnd } = this;
    change();
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  }
}

/**
 * Copy a text. Browsers offer navigator.clipboard only to pages served by HTTPS or from this machine; on other pages
 * the older execCommand still works.
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
