/** Choosing the parameters by which an avatar is prepared for a network. */

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

/** Before the preview is drawn anew: a slider that is being moved asks once. */
const SETTLED_MS = 250;

/** The form for the parameters that matter to a backend, beside the picture of what they do. */
export class Adjustment {
  /**
   * @param {Desk} desk
   * @param {Network} backend
   * @param {HTMLElement} note where it is told what was refused
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
   * From what is in use.
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

  /** Without what neither counts nor makes sense. */
  get chosen() {
    const told = this.fields.filter((field) => !field.element.hidden || !field.wrong());
    return Object.fromEntries(told.map((field) => [field.name, field.value]));
  }

  /** Whether all fields can be sent; else the first that cannot is where the person goes on. What follows is told once. */
  check() {
    this.preview.quiet();
    const wrong = this.#wrong();
    wrong?.focus();
    return !wrong;
  }

  /** Have each field say what is wrong with it; gives the first place. */
  #wrong() {
    const wrong = this.fields.filter(({ element }) => !element.hidden).map((field) => field.wrong());
    return wrong.find(Boolean);
  }

  /** @param {Parameters} parameters */
  #fill(parameters) {
    for (const field of this.fields) field.value = parameters[field.name];
  }

  #changed(afterMs = SETTLED_MS) {
    this.note.hidden = true; // it was about other values
    const values = Object.fromEntries(this.fields.map((field) => [field.name, field.value]));
    for (const field of this.fields) field.element.hidden = !counts(field.name, values);
    this.preview.quiet();
    if (this.#wrong() || !this.avatar) return;
    const wish = { backend: this.backend.name, parameters: this.chosen };
    this.preview.ask(`api/avatars/${this.avatar.id}/parts/preview`, wish, afterMs);
  }
}

/** The first frame with box and mask. Of several questions the last one's answer is shown. */
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

  /** Neither ask any more nor tell what was refused. */
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

  /** @param {string} url "": nothing */
  #show(url) {
    URL.revokeObjectURL(this.#shown);
    this.#shown = url;
    this.fault.hidden = true;
    if (url) this.image.src = url;
    else this.image.removeAttribute("src");
  }
}
