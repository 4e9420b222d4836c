/** What the forms of the desk have in common: they are sent to the API, and their button says how far that is. */

import { find, percent } from "../dom.js";
import { feed } from "../jobs-feed.js";
import { api } from "./api.js";

/** @typedef {import("./desk.js").Desk} Desk */

export class DeskForm {
  /**
   * @param {Desk} desk
   * @param {HTMLFormElement} form with a button that submits it, and a `.vv-note` for what is lacking
   */
  constructor(desk, form) {
    this.desk = desk;
    this.form = form;
    this.note = find(form, ".vv-note", HTMLElement);
    this.button = find(form, "[type=submit]", HTMLButtonElement);
    form.onsubmit = (event) => {
      event.preventDefault();
      void this.submit();
    };
  }

  /**
   * Somebody has pressed the button.
   * @returns {Promise<void>}
   */
  submit() {
    throw new Error("a subclass says what is sent");
  }

  /**
   * @param {string} address
   * @param {FormData} body
   * @param {object} how
   * @param {boolean} [how.isLarge] the button says how far it is
   * @param {() => void} how.done makes the form empty
   * @param {() => string} how.words what the button says otherwise
   */
  async send(address, body, { isLarge = true, done, words }) {
    const { button, desk } = this;
    await desk.attempt(this.form, async () => {
      await api("POST", address, body, (part) => {
        if (isLarge) button.textContent = `${desk.t("uploading")} ${percent(part)}`;
      });
      done();
      await feed.refresh();
    });
    button.textContent = words();
  }
}
