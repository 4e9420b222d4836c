/** The voice sample in an avatar's details: its transcript, and a form to add or replace it. */

import { make } from "../dom.js";
import { api } from "./api.js";
import { AvatarPart } from "./avatar-part.js";
import { askingBack } from "./job-parts.js";
import { UploadForm } from "./upload-form.js";

/**
 * @typedef {import("../types/api.d.ts").AvatarView} AvatarView
 * @typedef {import("../types/api.d.ts").VoiceSampleView} VoiceSampleView
 * @typedef {import("./desk.js").Desk} Desk
 */

const MAX_CHARACTERS = 1000;

export class VoiceSample extends AvatarPart {
  #own = make("div", { class: "vv-jobs" });

  /** @param {Desk} desk */
  constructor(desk) {
    super(desk, "voice", "vv-voice-sample");
  }

  /** @param {AvatarView} avatar */
  open(avatar) {
    const { desk } = this;
    this.#own.replaceChildren();
    this.begin(avatar, {
      title: desk.t("voiceSample"),
      hint: desk.t("voiceSampleHint"),
      own: [this.#own],
      form: sampleForm(desk, this.address(avatar)).element,
    });
  }

  /**
   * Take the avatar as it is now. Its sample may have changed, also through somebody else.
   * @param {AvatarView} avatar
   */
  show(avatar) {
    this.follow(avatar, this.avatar?.voice_sample !== avatar.voice_sample);
  }

  /** @param {AvatarView} avatar */
  address(avatar) {
    return `api/avatars/${avatar.id}/voice-sample`;
  }

  /**
   * @param {AvatarView} avatar
   * @param {VoiceSampleView?} sample
   */
  fill(avatar, sample) {
    const none = make("p", { class: "vv-soft" }, this.desk.t("voiceSampleNone"));
    this.#own.replaceChildren(sample ? this.#card(this.address(avatar), sample) : none);
  }

  /**
   * @param {string} address of the sample in the API
   * @param {VoiceSampleView} sample
   */
  #card(address, { seconds, transcript }) {
    const { desk } = this;
    const note = make("div", { class: "vv-note", role: "alert", hidden: true });
    const words = make("textarea", { name: "said", rows: 2, maxLength: MAX_CHARACTERS });
    words.value = transcript;
    const save = make("button", { type: "submit", class: "vv-quiet" }, desk.t("transcriptSave"));
    const said = make("label", { class: "vv-field" }, make("span", {}, desk.t("transcript")), words);
    const form = make("form", { noValidate: true }, said, save, note);
    form.onsubmit = async (event) => {
      event.preventDefault();
      await desk.attempt(form, async () => {
        /** @type {VoiceSampleView} */
        const kept = await api("PATCH", address, { transcript: words.value });
        words.value = kept.transcript;
        this.shows(kept);
      });
    };
    const length = make("strong", {}, desk.t("voiceSampleLength", { seconds: seconds.toFixed(1) }));
    const act = this.deleting(address, note);
    const remove = askingBack(desk, { ask: "delete", question: "deleteVoiceSample", act });
    return make("article", { class: "vv-job" }, make("header", {}, length, remove), form);
  }
}

/**
 * Make the form that turns a recording into the voice sample.
 * @param {Desk} desk
 * @param {string} address
 */
function sampleForm(desk, address) {
  const words = make("textarea", { name: "transcript", rows: 2, maxLength: MAX_CHARACTERS });
  words.placeholder = desk.t("transcriptPlaceholder");
  return new UploadForm(desk, {
    address,
    accept: "audio/*",
    words: {
      add: desk.t("voiceSampleAdd"),
      drop: desk.t("voiceSampleDrop"),
      hint: desk.t("voiceSampleDropHint"),
      consent: desk.t("voiceSampleConsent"),
      make: desk.t("voiceSampleMake"),
      fileFirst: desk.t("voiceSampleFirst"),
      consentFirst: desk.t("voiceSampleTick"),
    },
    fields: [make("label", { class: "vv-field" }, make("span", {}, desk.t("transcript")), words)],
    values: () => ({ transcript: words.value }),
  });
}
