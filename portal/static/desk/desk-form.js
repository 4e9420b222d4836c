/** The base of the desk's forms. They are sent to the API, and the button shows the progress of the upload. */

import { find, percent } from "../dom.js";
import { feed } from "../jobs-feed.js";
import { api } from "./api.js";

/** @typedef {import("./desk.js").Desk} Desk */

export class DeskForm {
  /**
   * @param {Desk} desk
   * @param {HTMLFormElement} form has a button that submits it, and a `.vv-note` that says what is missing
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
   * The button was pressed. A subclass checks the fields and sends the form.
   * @returns {Promise<void>}
   */
  submit() {
    throw new Error("a subclass says what is sent");
  }

  /**
   * @param {string} address
   * @param {FormData} body
   * @param {object} how
   * @param {boolean} [how.isLarge] whether the button shows the progress of the upload
   * @param {() => void} how.done empties the form
   * @param {() => string} how.words returns the button's usual text
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
