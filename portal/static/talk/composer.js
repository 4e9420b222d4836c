/** The text box. It sends what is typed, and takes back texts that could not be said. */

import { find } from "../dom.js";

/** @typedef {import("../types/messages.d.ts").Mode} Mode */

const TALLEST_PX = 140;

export class Composer {
  /**
   * @param {HTMLFormElement} form
   * @param {{typed: (text: string, mode: Mode) => void, keeps: () => boolean}} page typed: Enter or Send was pressed;
   *     keeps: whether the text then stays in the box, because there is no avatar that could hear it
   */
  constructor(form, { typed, keeps }) {
    this.input = find(form, "textarea", HTMLTextAreaElement);
    this.echo = find(form, ".vv-echo", HTMLInputElement);
    this.typed = typed;
    this.keeps = keeps;
    /** @type {string[]} texts that could not be said and are about to be put back */
    this.returned = [];
    form.onsubmit = (event) => {
      event.preventDefault();
      this.submit();
    };
    this.input.onkeydown = (event) => {
      // In Safari, only keyCode 229 tells an Enter that ends the composition of a character.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.submit();
    };
    this.input.oninput = () => this.fit();
  }

  /**
   * "echo": texts are said as they are; "chat": they are answered.
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
   * Put a question into the box, to be asked in other words.
   * @param {string} text
   */
  edit(text) {
    this.put(text);
    this.input.focus();
  }

  /**
   * Put a text into the box that no avatar can hear yet, unless the viewer is writing something else.
   * @param {string} text
   */
  offer(text) {
    if (!this.input.value.trim()) this.put(text);
  }

  /**
   * Put a text back that could not be said. Texts that fail together come back together, in their order, before the
   * draft.
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
