/** The gestures in an avatar's details: a list with a preview of each, and a form to add one. */

import { make } from "../dom.js";
import { portalUrl } from "../server.js";
import { AvatarPart } from "./avatar-part.js";
import { askingBack } from "./job-parts.js";
import { UploadForm } from "./upload-form.js";

/**
 * @typedef {import("../types/api.d.ts").AvatarView} AvatarView
 * @typedef {import("../types/api.d.ts").GestureView} GestureView
 * @typedef {import("./desk.js").Desk} Desk
 */

export class Gestures extends AvatarPart {
  #names = ""; // names of the avatar's gestures at the last look
  #rows = make("div", { class: "vv-jobs" });
  #empty = make("p", { class: "vv-soft" });

  /** @param {Desk} desk */
  constructor(desk) {
    super(desk, "gesture", "vv-gesture-list");
  }

  /** @param {AvatarView} avatar */
  open(avatar) {
    const { desk } = this;
    this.#names = avatar.gestures.join("\n");
    this.#rows.replaceChildren();
    this.#empty.textContent = desk.t("gesturesNone");
    this.#empty.hidden = true;
    this.begin(avatar, {
      title: desk.t("gestures"),
      hint: desk.t("gesturesHint"),
      own: [this.#empty, this.#rows],
      form: gestureForm(desk, this.address(avatar)).element,
    });
  }

  /**
   * Take the avatar as it is now. Its gestures may have changed, also through somebody else.
   * @param {AvatarView} avatar
   */
  show(avatar) {
    const names = avatar.gestures.join("\n");
    this.follow(avatar, names !== this.#names);
    this.#names = names;
  }

  /** @param {AvatarView} avatar */
  address(avatar) {
    return `api/avatars/${avatar.id}/gestures`;
  }

  /**
   * @param {AvatarView} avatar
   * @param {GestureView[]} gestures
   */
  fill(avatar, gestures) {
    this.#empty.hidden = gestures.length > 0;
    this.#rows.replaceChildren(...gestures.map((gesture) => this.#row(avatar, gesture)));
  }

  /**
   * @param {AvatarView} avatar
   * @param {GestureView} gesture
   */
  #row(avatar, { name, seconds, sound, idle, poster, preview }) {
    const { desk } = this;
    const note = make("div", { class: "vv-note", role: "alert", hidden: true });
    const picture = make("div", { class: "vv-gesture-picture" });
    if (poster) picture.append(make("img", { src: portalUrl(poster), alt: "", loading: "lazy" }));
    const play = make("button", { type: "button", class: "vv-quiet", hidden: !preview }, desk.t("gestureTry"));
    play.onclick = () => {
      const src = portalUrl(preview ?? "");
      picture.replaceChildren(make("video", { src, controls: true, playsInline: true, autoplay: true }));
    };
    const act = this.deleting(`${this.address(avatar)}/${encodeURIComponent(name)}`, note);
    const kind = idle ? "gestureIdles" : sound ? "gestureSounds" : "gestureLength";
    const facts = desk.t(kind, { seconds: seconds.toFixed(1) });
    const actions = make(
      "span",
      { class: "vv-actions" },
      play,
      askingBack(desk, { ask: "delete", question: "deleteGesture", act }),
    );
    const header = make("header", {}, make("strong", {}, name), make("span", { class: "vv-soft" }, facts), actions);
    return make("article", { class: "vv-job vv-gesture", "data-gesture": name }, header, picture, note);
  }
}

/**
 * Make the form that turns a clip into a gesture.
 * @param {Desk} desk
 * @param {string} address
 */
function gestureForm(desk, address) {
  const name = make("input", { type: "text", name: "gesture", maxLength: 24, autocomplete: "off" });
  name.placeholder = desk.t("gesturePlaceholder");
  const sound = make("input", { type: "checkbox", name: "sound" });
  const idle = make("input", { type: "checkbox", name: "idle" });
  return new UploadForm(desk, {
    address,
    accept: "video/*",
    words: {
      add: desk.t("gestureAdd"),
      drop: desk.t("gestureDrop"),
      hint: desk.t("gestureDropHint"),
      consent: desk.t("gestureConsent"),
      make: desk.t("gestureMake"),
      fileFirst: desk.t("gestureFirst"),
      consentFirst: desk.t("tickFirst"),
    },
    fields: [
      make("label", { class: "vv-field" }, make("span", {}, desk.t("gestureName")), name),
      make("label", { class: "vv-tick" }, sound, make("span", {}, desk.t("gestureSound"))),
      make("label", { class: "vv-tick" }, idle, make("span", {}, desk.t("gestureIdle"))),
    ],
    values: () => ({ name: name.value, sound: String(sound.checked), idle: String(idle.checked) }),
    lacking: () => (name.value.trim() ? "" : desk.t("gestureNameFirst")),
  });
}
