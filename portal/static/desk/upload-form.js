/** A form that adds a file to an avatar, with the consent of the person in it. */

import { make } from "../dom.js";
import { DeskForm } from "./desk-form.js";
import { bindDrop } from "./drop.js";

/**
 * @typedef {import("./desk.js").Desk} Desk
 * @typedef {object} Words the form's texts
 * @property {string} add the line that unfolds the form
 * @property {string} drop
 * @property {string} hint says which files are suitable
 * @property {string} consent
 * @property {string} make the button
 * @property {string} fileFirst shown if no file is chosen
 * @property {string} consentFirst shown if the consent is not ticked
 */

/** The form, folded until somebody opens it. */
export class UploadForm extends DeskForm {
  #wish;

  /**
   * @param {Desk} desk
   * @param {object} wish
   * @param {string} wish.address API address that the form is sent to
   * @param {string} wish.accept accepted kinds of files
   * @param {Words} wish.words
   * @param {HTMLElement[]} wish.fields shown between the file and the consent
   * @param {() => Record<string, string>} wish.values returns the fields' values, by their names in the API
   * @param {() => string} [wish.lacking] returns in words what is missing in the fields; "": nothing
   */
  constructor(desk, wish) {
    const { words } = wish;
    const empty = make("span", { class: "vv-drop-empty" }, make("strong", {}, words.drop));
    empty.append(make("small", {}, words.hint));
    const file = make("input", { type: "file", name: "file", accept: wish.accept });
    const chosen = make("span", { class: "vv-drop-chosen", hidden: true });
    const zone = make("label", { class: "vv-drop" }, file, empty, chosen);
    const consent = make("input", { type: "checkbox", name: "consent" });
    const submit = make("button", { type: "submit", class: "vv-button" }, words.make);
    const note = make("div", { class: "vv-note", role: "alert", hidden: true });
    const agreed = make("label", { class: "vv-tick" }, consent, make("span", {}, words.consent));
    super(desk, make("form", { noValidate: true }, zone, ...wish.fields, agreed, submit, note));
    this.#wish = wish;
    this.consent = consent;
    this.drop = bindDrop(zone);
    this.element = make("details", { class: "vv-gesture-add" }, make("summary", {}, words.add), this.form);
  }

  async submit() {
    const { desk, form, note } = this;
    const { address, words, values, lacking } = this.#wish;
    if (!this.drop.file) return desk.tell(note, words.fileFirst);
    const lack = lacking?.();
    if (lack) return desk.tell(note, lack);
    if (!this.consent.checked) return desk.tell(note, words.consentFirst);
    const body = new FormData();
    body.append("file", this.drop.file);
    for (const [name, value] of Object.entries(values())) body.append(name, value);
    body.append("consent", "true");
    const done = () => {
      form.reset();
      this.drop.clear();
    };
    await this.send(address, body, { done, words: () => words.make });
  }
}
