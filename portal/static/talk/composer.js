/** The text box: what is typed goes out of it, and what could not be said comes back. */

import { find } from "../dom.js";

/** @typedef {import("../types/messages.d.ts").Mode} Mode */

const TALLEST_PX = 140;

export class Composer {
  /**
   * @param {HTMLFormElement} form
   * @param {{typed: (text: string, mode: Mode) => void, keeps: () => boolean}} page typed: Enter, or Send;
   *     keeps: whether it stays in the box, as there is nobody who could hear it
   */
  constructor(form, { typed, keeps }) {
    this.input = find(form, "textarea", HTMLTextAreaElement);
    this.echo = find(form, ".vv-echo", HTMLInputElement);
    this.typed = typed;
    this.keeps = keeps;
    /** @type {string[]} what could not be said, on its way back */
    this.returned = [];
    form.onsubmit = (event) => {
      event.preventDefault();
      this.submit();
    };
    this.input.onkeydown = (event) => {
      // In Safari the Enter that ends a composition says so by its keyCode alone.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.submit();
    };
    this.input.oninput = () => this.fit();
  }

  /**
   * Whether texts are asked, or said as they are.
   * @returns {Mode}
   */
  get mode() {
    return this.echo.checked ? "echo" : "chat";
  }

  submit() {
    const text = this.input.value;
    if (!this.keeps()) this.put("");
    this.typed(text, this.mode);
  }

  /**
   * A question, to be asked in other words.
   * @param {string} text
   */
  edit(text) {
    this.put(text);
    this.input.focus();
  }

  /**
   * A text that nobody can hear yet; what somebody is writing is not overwritten by it.
   * @param {string} text
   */
  offer(text) {
    if (!this.input.value.trim()) this.put(text);
  }

  /**
   * Texts that waited together come back together, in their order, ahead of the draft.
   * @param {string} text
   */
  giveBack(text) {
    this.returned.push(text);
    if (this.returned.length > 1) return;
    setTimeout(() => this.put([...this.returned.splice(0), this.input.value].filter(Boolean).join("\n")));
  }

  focus() {
    this.input.focus({ preventScroll: true });
  }

  /** @param {string} text */
  put(text) {
    this.input.value = text;
    this.fit();
  }

  fit() {
    const { input } = this;
    input.style.height = "auto";
    input.style.height = `${Math.min(input.scrollHeight, TALLEST_PX)}px`;
  }
}
