/** The Studio tab: an avatar speaks a text or a recording. A job makes the clip, which can be downloaded as a file. */

import { find, make } from "../dom.js";
import { PortalError } from "../errors.js";
import { centreOnFace } from "../faces.js";
import { isActive } from "../jobs-feed.js";
import { posterOf } from "../server.js";
import { api } from "./api.js";
import { DeskForm } from "./desk-form.js";
import { Desk } from "./desk.js";
import { bindDrop } from "./drop.js";
import { JobCards } from "./job-cards.js";

/**
 * @typedef {import("../types/api.d.ts").AvatarView} AvatarView
 * @typedef {import("../types/api.d.ts").JobView} JobView
 */

/** The avatars that can speak, as a group of radio buttons. */
class Speakers {
  #shown = "";
  /** @type {AvatarView[]} */
  #avatars = [];
  #wanted = ""; // id of the avatar that was chosen on another tab
  isMissed = false; // whether the last loading failed

  /**
   * @param {HTMLElement} fieldset
   * @param {() => void} onChoice called when another avatar is chosen
   */
  constructor(fieldset, onChoice) {
    const place = find(fieldset, "div", HTMLElement);
    this.place = place;
    this.empty = find(fieldset, ".vv-empty", HTMLElement);
    this.onChoice = onChoice;
    place.onchange = () => {
      this.#wanted = "";
      onChoice();
    };
  }

  get chosen() {
    return this.#radios.find(({ checked }) => checked)?.value ?? "";
  }

  /** The chosen avatar. */
  get chosenAvatar() {
    return this.#avatars.find(({ id }) => id === this.chosen);
  }

  /** @param {string} id */
  choose(id) {
    this.#wanted = id;
    this.#check(id); // if it is not in the list yet, load() does it
  }

  async load() {
    /** @type {AvatarView[]} */
    let avatars;
    try {
      avatars = await api("GET", "api/avatars");
    } catch (error) {
      if (!(error instanceof PortalError)) throw error;
      this.isMissed = true; // tried again when the feed of jobs has news, which means that the server is back
      return;
    }
    this.isMissed = false;
    const now = JSON.stringify(avatars);
    if (now === this.#shown) return;
    this.#shown = now;
    this.#avatars = avatars;
    const chosen = this.#wanted || this.chosen;
    this.place.replaceChildren(...avatars.map((avatar) => this.#speaker(avatar)));
    this.empty.hidden = avatars.length > 0;
    const first = avatars.find((avatar) => avatar.id === chosen) ?? avatars[0];
    if (first) this.#check(first.id);
  }

  get #radios() {
    return [...this.place.querySelectorAll("input")];
  }

  /** @param {string} id */
  #check(id) {
    const radio = this.#radios.find(({ value }) => value === id);
    if (!radio) return;
    radio.checked = true;
    this.onChoice();
  }

  /** @param {AvatarView} avatar */
  #speaker(avatar) {
    const picture = centreOnFace(make("img", { src: posterOf(avatar), alt: "" }), avatar);
    const radio = make("input", { type: "radio", name: "avatar", value: avatar.id });
    return make("label", {}, radio, picture, make("span", {}, avatar.name));
  }
}

/** The form that orders a clip. */
class OrderForm extends DeskForm {
  /**
   * @param {Desk} desk
   * @param {HTMLFormElement} form
   */
  constructor(desk, form) {
    super(desk, form);
    this.text = find(form, "[name=text]", HTMLTextAreaElement);
    this.voice = find(form, "[name=voice]", HTMLSelectElement);
    this.drop = bindDrop(find(form, ".vv-drop", HTMLElement));
    this.format = find(form, "[name=format]", HTMLSelectElement);
    this.formatNote = find(form, "#vv-format-note", HTMLElement);
    this.speakers = new Speakers(find(form, ".vv-speakers", HTMLElement), () => this.#showFormats());
    this.format.onchange = () => this.#showFormats();
    this.#fillVoices();
    for (const choice of form.querySelectorAll("input")) {
      if (choice.name === "source") choice.onchange = () => this.#chooseSource();
    }
  }

  /** Whether a text is to be spoken, rather than a recording. */
  get speaksText() {
    return new FormData(this.form).get("source") === "text";
  }

  translate() {
    this.voice.options[0].textContent = this.desk.t("voiceDefault");
    this.tellEmpty();
    this.#showFormats();
  }

  /** Say, while there are no avatars, whether one is being made. */
  tellEmpty() {
    this.speakers.empty.textContent = this.desk.noAvatarWords;
  }

  /**
   * Show what the format means for the chosen avatar. Without mattes, which the other formats need, there is MP4 only.
   */
  #showFormats() {
    const avatar = this.speakers.chosenAvatar;
    const isKnown = Boolean(avatar?.mattes);
    for (const option of this.format.options) option.disabled = option.value !== "mp4" && !isKnown;
    if (!isKnown && avatar) this.format.value = "mp4";
    const notes = { mp4: isKnown ? "formatMp4Note" : "formatUnknown", webm: "", mov: "formatMovNote" };
    const note = avatar && notes[/** @type {keyof typeof notes} */ (this.format.value)];
    this.formatNote.textContent = note ? this.desk.t(note, { avatar: avatar.name }) : "";
    this.formatNote.hidden = !note;
  }

  #fillVoices() {
    const { voices } = this.desk.settings;
    this.voice.append(make("option", { value: "" }), ...voices.map((voice) => make("option", { value: voice }, voice)));
    if (this.voice.parentElement) this.voice.parentElement.hidden = voices.length < 2;
  }

  #chooseSource() {
    find(this.form, ".vv-from-text", HTMLElement).hidden = !this.speaksText;
    find(this.form, ".vv-from-audio", HTMLElement).hidden = this.speaksText;
  }

  async submit() {
    const { desk, speaksText } = this;
    if (!this.speakers.chosen) await this.speakers.load(); // the button may be pressed before the list is loaded
    const avatar = this.speakers.chosen;
    const { file } = this.drop;
    if (!avatar) return desk.tell(this.note, desk.t("avatarFirst"));
    if (speaksText && !this.text.value.trim()) return desk.tell(this.note, desk.t("textFirst"));
    const body = new FormData();
    body.append("avatar", avatar);
    body.append("format", this.format.value);
    if (speaksText) {
      body.append("text", this.text.value);
      body.append("voice", this.voice.value);
    } else {
      if (!file) return desk.tell(this.note, desk.t("audioFirst"));
      body.append("audio", file);
      body.append("name", file.name);
    }
    const done = () => {
      this.text.value = "";
      this.drop.clear();
    };
    await this.send("api/clips", body, { isLarge: !speaksText, done, words: () => desk.t("makeClip") });
  }
}

export class VivavoceStudio extends Desk {
  /** @type {{order: OrderForm, cards: JobCards}?} */
  #parts = null;
  #making = 0; // number of avatars that were being made at the last look

  build() {
    this.#parts = {
      order: new OrderForm(this, find(this, "form", HTMLFormElement)),
      cards: new JobCards(this, find(this, ".vv-jobs", HTMLElement)),
    };
  }

  opened() {
    super.opened();
    this.#parts?.order.speakers.load();
  }

  translated() {
    this.#parts?.order.translate();
  }

  /**
   * Choose an avatar whose details were open on the Avatars tab.
   * @param {string} id
   */
  choose(id) {
    this.#parts?.order.speakers.choose(id);
    this.#parts?.order.text.focus();
  }

  /** @param {JobView[]} jobs */
  show(jobs) {
    if (!this.#parts) return;
    const { order, cards } = this.#parts;
    const clips = jobs.filter((job) => job.kind === "clip" && !job.id.startsWith("test-"));
    cards.show(clips);
    order.tellEmpty();
    find(this, ".vv-clips .vv-empty", HTMLElement).hidden = clips.length > 0;
    const making = jobs.filter((job) => job.kind === "prepare" && isActive(job)).length;
    if (making !== this.#making || order.speakers.isMissed) order.speakers.load();
    this.#making = making;
  }
}

customElements.define("vivavoce-studio", VivavoceStudio);
