/** The chat column: what was asked, and the answers as they stream in. Text only; nothing in it is ever markup. */

import { withCode } from "./page.js";

export class Chat {
  /** @param {HTMLElement} log */
  constructor(log) {
    this.log = log;
    this.answers = new Map(); // turn that goes on -> bubble
  }

  /** Whether there is anything but what stood in the log from the beginning. */
  get isBegun() {
    return this.log.querySelector(".vv-bubble") !== null;
  }

  /**
   * What the viewer said; `echo` texts are spoken as they are and come back as an answer.
   * @param {HTMLElement?} bubble in which it was pending: it stays, so that it is read out once
   */
  ask(text, mode, bubble = null) {
    if (mode !== "chat") return bubble?.remove();
    if (bubble) bubble.classList.remove("vv-pending");
    else this.bubble("vv-asked", text);
    this.log.scrollTop = this.log.scrollHeight;
  }

  /** What was typed and cannot be sent yet. The bubble is the caller's, to remove or to ask with. */
  pending(text) {
    const bubble = this.bubble("vv-asked vv-pending", text);
    this.log.scrollTop = this.log.scrollHeight;
    return bubble;
  }

  turn({ turn, state }) {
    if (state === "thinking") this.answer(turn).classList.add("vv-waiting");
    const bubble = this.answers.get(turn);
    if (!bubble) return;
    const ended = state === "done" || state === "interrupted";
    if (ended || state === "speaking") bubble.classList.remove("vv-waiting");
    if (state === "interrupted") bubble.classList.add("vv-interrupted");
    if (ended && !bubble.textContent) bubble.remove();
    if (ended) this.answers.delete(turn);
  }

  text({ turn, delta }) {
    const bubble = this.answer(turn);
    bubble.classList.remove("vv-waiting");
    this.keepingEnd(() => bubble.append(delta));
  }

  /** A notice or an error, with its remedy. */
  note({ message, hint, code }, kind) {
    const told = withCode(hint ? `${message} ${hint}` : message);
    this.bubble(`vv-note vv-${kind}`, ...told).dataset.code = code || "";
  }

  /** A new session counts its turns from 1 again; what was being answered was cut off. */
  newSession() {
    for (const turn of [...this.answers.keys()]) this.turn({ turn, state: "interrupted" });
  }

  answer(turn) {
    if (!this.answers.has(turn)) this.answers.set(turn, this.bubble("vv-answer", ""));
    return this.answers.get(turn);
  }

  bubble(kind, ...children) {
    const bubble = document.createElement("div");
    bubble.className = `vv-bubble ${kind}`;
    bubble.append(...children);
    this.keepingEnd(() => this.log.append(bubble));
    return bubble;
  }

  /** Follow the end of the talk, unless the reader has scrolled back. */
  keepingEnd(change) {
    const { log } = this;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
    change();
    if (atEnd) log.scrollTop = log.scrollHeight;
  }
}
