/** The Studio tab: an avatar speaks a text or a recording; the clip is made as a job and comes back as an MP4. */

import { find, make, percent } from "../dom.js";
import { PortalError } from "../errors.js";
import { centreOnFace } from "../faces.js";
import { feed, isActive } from "../jobs-feed.js";
import { posterOf } from "../server.js";
import { api } from "./api.js";
import { Desk } from "./desk.js";
import { bindDrop } from "./drop.js";
import { JobCards } from "./job-cards.js";

/**
 * @typedef {import("../types/api.d.ts").AvatarView} AvatarView
 * @typedef {import("../types/api.d.ts").JobView} JobView
 */

/** Who can speak: a group of radio buttons. */
class Speakers {
  #shown = "";
  #wanted = ""; // id of the one that was asked for elsewhere
  isMissed = false; // they could not be read when they should have been

  /** @param {HTMLElement} place */
  constructor(place) {
    this.place = place;
    place.onchange = () => (this.#wanted = "");
  }

  get chosen() {
    return this.#radios.find(({ checked }) => checked)?.value ?? "";
  }

  /** @param {string} id */
  choose(id) {
    this.#wanted = id;
    this.#check(id); // else it is, once the list has it
  }

  async load() {
    /** @type {AvatarView[]} */
    let avatars;
    try {
      avatars = await api("GET", "api/avatars");
    } catch (error) {
      if (!(error instanceof PortalError)) throw error;
      this.isMissed = true; // the feed of jobs tells when the server is back
      return;
    }
    this.isMissed = false;
    const now = JSON.stringify(avatars);
    if (now === this.#shown) return;
    this.#shown = now;
    const chosen = this.#wanted || this.chosen;
    this.place.replaceChildren(...avatars.map((avatar) => this.#speaker(avatar)));
    const first = avatars.find((avatar) => avatar.id === chosen) ?? avatars[0];
    if (first) this.#check(first.id);
  }

  get #radios() {
    return [...this.place.querySelectorAll("input")];
  }

  /** @param {string} id */
  #check(id) {
    const radio = this.#radios.find(({ value }) => value === id);
    if (radio) radio.checked = true;
  }

  /** @param {AvatarView} avatar */
  #speaker(avatar) {
    const picture = centreOnFace(make("img", { src: posterOf(avatar), alt: "" }), avatar);
    const radio = make("input", { type: "radio", name: "avatar", value: avatar.id });
    return make("label", {}, radio, picture, make("span", {}, avatar.name));
  }
}

/** The form by which a clip is asked for. */
class OrderForm {
  /**
   * @param {Desk} desk
   * @param {HTMLFormElement} form
   */
  constructor(desk, form) {
    this.desk = desk;
    this.form = form;
    this.note = find(form, ".vv-note", HTMLElement);
    this.text = find(form, "[name=text]", HTMLTextAreaElement);
    this.voice = find(form, "[name=voice]", HTMLSelectElement);
    this.drop = bindDrop(find(form, ".vv-drop", HTMLElement));
    this.speakers = new Speakers(find(form, ".vv-speakers > div", HTMLElement));
    this.#fillVoices();
    for (const choice of form.querySelectorAll("input")) {
      if (choice.name === "source") choice.onchange = () => this.#chooseSource();
    }
    form.onsubmit = (event) => {
      event.preventDefault();
      this.#order();
    };
  }

  /** Whether a text is spoken, and not a recording. */
  get speaksText() {
    return new FormData(this.form).get("source") === "text";
  }

  translate() {
    this.voice.options[0].textContent = this.desk.t("voiceDefault");
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

  async #order() {
    const { desk, form, speaksText } = this;
    if (!this.speakers.chosen) await this.speakers.load(); // whoever presses early need not press again
    const avatar = this.speakers.chosen;
    const { file } = this.drop;
    if (!avatar) return desk.tell(this.note, desk.t("avatarFirst"));
    if (speaksText && !this.text.value.trim()) return desk.tell(this.note, desk.t("textFirst"));
    const body = new FormData();
    body.append("avatar", avatar);
    if (speaksText) {
      body.append("text", this.text.value);
      body.append("voice", this.voice.value);
    } else {
      if (!file) return desk.tell(this.note, desk.t("audioFirst"));
      body.append("audio", file);
      body.append("name", file.name);
    }
    const submit = find(form, "[type=submit]", HTMLButtonElement);
    await desk.attempt(form, async () => {
      await api("POST", "api/clips", body, (part) => {
        if (!speaksText) submit.textContent = `${desk.t("uploading")} ${percent(part)}`;
      });
      this.text.value = "";
      this.drop.clear();
      await feed.refresh();
    });
    submit.textContent = desk.t("makeClip");
  }
}

export class VivavoceStudio extends Desk {
  /** @type {{order: OrderForm, cards: JobCards}?} */
  #parts = null;
  #making = 0; // avatars that were being made at the last look

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
   * An avatar whose details were open is to speak.
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
    find(this, ".vv-clips .vv-empty", HTMLElement).hidden = clips.length > 0;
    const making = jobs.filter((job) => job.kind === "prepare" && isActive(job)).length;
    if (making !== this.#making || order.speakers.isMissed) order.speakers.load();
    this.#making = making;
  }
}

customElements.define("vivavoce-studio", VivavoceStudio);
