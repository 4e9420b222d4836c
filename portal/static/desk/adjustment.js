/** The form for the parameters with which an avatar is prepared for a network. */

import { make } from "../dom.js";
import { PortalError } from "../errors.js";
import { picture } from "./api.js";
import { counts, fieldOf } from "./fields.js";

/**
 * @typedef {import("../types/api.d.ts").AvatarView} AvatarView
 * @typedef {import("../types/api.d.ts").Parameters} Parameters
 * @typedef {import("./desk.js").Desk} Desk
 *
 * A lip-sync backend for which avatars are prepared.
 * @typedef {import("../types/api.d.ts").BackendView & {parameters: Parameters}} Network
 */

/** Pause before the preview is drawn again, so that moving a slider causes only one request. */
const SETTLED_MS = 250;

/** The form for a backend's parameters, beside a picture that shows their effect. */
export class Adjustment {
  /**
   * @param {Desk} desk
   * @param {Network} backend
   * @param {HTMLElement} note shows why a request was refused
   */
  constructor(desk, backend, note) {
    this.backend = backend;
    this.note = note;
    /** @type {AvatarView?} */
    this.avatar = null;
    this.preview = new Preview(desk);
    this.fields = Object.keys(backend.parameters).map((name) => fieldOf(desk, backend.name, name));
    const reset = make("button", { type: "button", class: "vv-quiet" }, desk.t("resetParameters"));
    const submit = make("button", { type: "submit", class: "vv-button" }, desk.t("prepareWith"));
    this.element = make(
      "form",
      { class: "vv-adjust", noValidate: true, hidden: true },
      this.preview.element,
      make("div", { class: "vv-parameters" }, ...this.fields.map((field) => field.element)),
      make("footer", {}, reset, submit),
    );
    reset.onclick = () => {
      this.#fill(backend.parameters);
      this.#changed();
    };
    this.element.oninput = () => this.#changed();
  }

  /**
   * Show the form, with the parameters that the avatar was prepared with.
   * @param {AvatarView} avatar
   */
  open(avatar) {
    this.avatar = avatar;
    this.#fill({ ...this.backend.parameters, ...avatar.prepared[this.backend.name] });
    this.element.hidden = false;
    this.#changed(0);
  }

  close() {
    this.element.hidden = true;
    this.preview.close();
  }

  /** The chosen parameters, without hidden ones whose values are invalid. */
  get chosen() {
    const told = this.fields.filter((field) => !field.element.hidden || !field.wrong());
    return Object.fromEntries(told.map((field) => [field.name, field.value]));
  }

  /**
   * Return whether all fields are valid. If not, focus the first that is not. The preview is quiet from now on, so that
   * a refusal is not shown twice.
   */
  check() {
    this.preview.quiet();
    const wrong = this.#wrong();
    wrong?.focus();
    return !wrong;
  }

  /** Have each visible field show what is wrong with it. Returns the first element with a fault. */
  #wrong() {
    const wrong = this.fields.filter(({ element }) => !element.hidden).map((field) => field.wrong());
    return wrong.find(Boolean);
  }

  /** @param {Parameters} parameters */
  #fill(parameters) {
    for (const field of this.fields) field.value = parameters[field.name];
  }

  #changed(afterMs = SETTLED_MS) {
    this.note.hidden = true; // it was about the previous values
    const values = Object.fromEntries(this.fields.map((field) => [field.name, field.value]));
    for (const field of this.fields) field.element.hidden = !counts(field.name, values);
    this.preview.quiet();
    if (this.#wrong() || !this.avatar) return;
    const wish = { backend: this.backend.name, parameters: this.chosen };
    this.preview.ask(`api/avatars/${this.avatar.id}/parts/preview`, wish, afterMs);
  }
}

/** Shows the first frame with its box and mask. Only the answer to the last request is shown. */
class Preview {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #asking = new AbortController();
  #shown = "";

  /** @param {Desk} desk */
  constructor(desk) {
    this.desk = desk;
    this.image = make("img", { alt: desk.t("previewAlt") });
    this.fault = make("div", { class: "vv-failure", role: "alert", hidden: true });
    this.element = make("figure", {}, this.image, make("figcaption", {}, desk.t("previewHint")), this.fault);
  }

  /**
   * @param {string} path
   * @param {object} wish
   * @param {number} afterMs
   */
  ask(path, wish, afterMs) {
    this.#stop();
    const { signal } = this.#asking;
    this.#timer = setTimeout(() => this.#draw(path, wish, signal), afterMs);
  }

  /** Cancel the request, and hide why one was refused. */
  quiet() {
    this.#stop();
    this.fault.hidden = true;
  }

  close() {
    this.#stop();
    this.#show("");
  }

  /**
   * @param {string} path
   * @param {object} wish
   * @param {AbortSignal} signal
   */
  async #draw(path, wish, signal) {
    let drawn;
    try {
      drawn = await picture(path, wish, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof PortalError)) throw error;
      return this.desk.tell(this.fault, ...this.desk.explain(error));
    }
    if (!signal.aborted) this.#show(URL.createObjectURL(drawn));
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#asking.abort();
    this.#asking = new AbortController();
  }

  /** @param {string} url of the picture; "": show none */
  #show(url) {
    URL.revokeObjectURL(this.#shown);
    this.#shown = url;
    this.fault.hidden = true;
    if (url) this.image.src = url;
    else this.image.removeAttribute("src");
  }
}
