/** The row of the avatar's gestures over the picture; without any there is no row. */

import { make } from "../dom.js";

export class GestureRow {
  /** @type {string[]} */
  #names = [];

  /**
   * @param {HTMLElement} row
   * @param {(name: string | null) => void} asked for a gesture; null: the one that is shown is to end
   */
  constructor(row, asked) {
    this.row = row;
    this.asked = asked;
  }

  /** @param {string[]} names */
  show(names) {
    if (names.join("\n") === this.#names.join("\n")) return;
    this.#names = [...names];
    this.row.hidden = !names.length;
    this.row.replaceChildren(...names.map((name) => this.#button(name)));
  }

  /**
   * Which one the avatar shows now.
   * @param {import("../types/messages.d.ts").Gestured} gestured
   */
  mark({ name, begins }) {
    for (const button of this.row.querySelectorAll("button")) {
      if (button.value === name) button.setAttribute("aria-pressed", String(begins));
    }
  }

  /** @param {string} name */
  #button(name) {
    const button = make("button", { type: "button", class: "vv-glass", value: name, "aria-pressed": "false" }, name);
    button.onclick = () => this.asked(button.getAttribute("aria-pressed") === "true" ? null : name);
    return button;
  }
}
