/** The row of buttons over the picture for the avatar's gestures. It is hidden if there are none. */

import { make } from "../dom.js";

export class GestureRow {
  /** @type {string[]} */
  #names = [];

  /**
   * @param {HTMLElement} row
   * @param {(name: string | null) => void} asked called with the wanted gesture; null: end the one that is shown
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
   * Mark the gesture that begins, or unmark the one that ends.
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
