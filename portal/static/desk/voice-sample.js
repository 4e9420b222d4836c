/** The voice sample in the closer look at an avatar: what is said in it, and a form to add or replace it. */

import { make, percent } from "../dom.js";
import { PortalError } from "../errors.js";
import { feed, isActive } from "../jobs-feed.js";
import { api } from "./api.js";
import { bindDrop } from "./drop.js";
import { JobCards } from "./job-cards.js";
import { askingBack } from "./job-parts.js";

/**
 * @typedef {import("../types/api.d.ts").AvatarView} AvatarView
 * @typedef {import("../types/api.d.ts").JobView} JobView
 * @typedef {import("../types/api.d.ts").VoiceSampleView} VoiceSampleView
 * @typedef {import("./desk.js").Desk} Desk
 */

const MOST_CHARACTERS = 1000;

/** The section of the dialog. It stays in its place while the rest of the dialog is filled anew. */
export class VoiceSample {
  /** @type {{own: HTMLElement, note: HTMLElement, cards: JobCards}?} */
  #places = null;
  #busy = ""; // ids of the jobs for this sample that were under way at the last look

  /** @param {Desk} desk */
  constructor(desk) {
    this.desk = desk;
    /** @type {AvatarView?} */
    this.avatar = null;
    this.element = make("section", { class: "vv-voice-sample" });
  }

  /** @param {AvatarView} avatar */
  open(avatar) {
    this.close();
    this.avatar = avatar;
    const { desk } = this;
    const own = make("div", { class: "vv-jobs" });
    const note = make("div", { class: "vv-note", role: "alert", hidden: true });
    const jobs = make("div", { class: "vv-jobs", "aria-live": "polite" });
    this.element.replaceChildren(
      make("h3", {}, desk.t("voiceSample")),
      make("p", { class: "vv-soft" }, desk.t("voiceSampleHint")),
      note,
      own,
      jobs,
      new SampleForm(desk, avatar).element,
    );
    this.#places = { own, note, cards: new JobCards(desk, jobs) };
    this.#busy = "";
    this.showJobs(feed.jobs ?? []);
    void this.load();
  }

  close() {
    this.element.replaceChildren(); // a recording that plays ends with it
    this.#places = null;
    this.avatar = null;
  }

  /**
   * The avatar as it is now: its sample may have come or gone, also by somebody else.
   * @param {AvatarView} avatar
   */
  show(avatar) {
    const before = this.avatar?.voice_sample;
    this.avatar = avatar;
    if (before !== avatar.voice_sample) void this.load();
  }

  /** @param {JobView[]} jobs */
  showJobs(jobs) {
    const { avatar } = this;
    if (!avatar || !this.#places) return;
    const mine = jobs.filter(({ kind, avatar: of }) => kind === "voice" && of === avatar.id);
    this.#places.cards.show(mine.filter((job) => isActive(job) || job.state === "failed"));
    const busy = mine.filter(isActive).map(({ id }) => id);
    const before = this.#busy;
    this.#busy = busy.join("\n");
    if (before && before !== this.#busy) void this.load(); // one has ended; it may have replaced a sample as long
  }

  async load() {
    const { avatar, desk } = this;
    const places = this.#places;
    if (!avatar || !places) return;
    const place = `api/avatars/${avatar.id}/voice-sample`;
    try {
      /** @type {VoiceSampleView?} */
      const sample = await api("GET", place);
      const none = make("p", { class: "vv-soft" }, desk.t("voiceSampleNone"));
      places.note.hidden = true;
      places.own.replaceChildren(sample ? this.#card(place, sample) : none);
    } catch (error) {
      if (!(error instanceof PortalError)) throw error;
      desk.tell(places.note, ...desk.explain(error));
    }
  }

  /**
   * @param {string} place of the sample in the API
   * @param {VoiceSampleView} sample
   */
  #card(place, { seconds, transcript }) {
    const { desk } = this;
    const note = make("div", { class: "vv-note", role: "alert", hidden: true });
    const words = make("textarea", { name: "said", rows: 2, maxLength: MOST_CHARACTERS });
    words.value = transcript;
    const save = make("button", { type: "submit", class: "vv-quiet" }, desk.t("transcriptSave"));
    const said = make("label", { class: "vv-field" }, make("span", {}, desk.t("transcript")), words);
    const form = make("form", { noValidate: true }, said, save, note);
    form.onsubmit = async (event) => {
      event.preventDefault();
      await desk.attempt(form, async () => {
        /** @type {VoiceSampleView} */
        const kept = await api("PATCH", place, { transcript: words.value });
        words.value = kept.transcript;
      });
    };
    /** @param {HTMLButtonElement} button */
    const act = async (button) => {
      button.disabled = true;
      try {
        await api("DELETE", place);
        await this.load();
      } catch (error) {
        if (!(error instanceof PortalError)) throw error;
        desk.tell(note, ...desk.explain(error));
        button.disabled = false;
      }
    };
    const length = make("strong", {}, desk.t("voiceSampleLength", { seconds: seconds.toFixed(1) }));
    const remove = askingBack(desk, { ask: "delete", question: "deleteVoiceSample", act });
    return make("article", { class: "vv-job" }, make("header", {}, length, remove), form);
  }
}

/** The form by which a recording becomes the voice sample. */
class SampleForm {
  /**
   * @param {Desk} desk
   * @param {AvatarView} avatar
   */
  constructor(desk, avatar) {
    this.desk = desk;
    this.avatar = avatar;
    const empty = make("span", { class: "vv-drop-empty" }, make("strong", {}, desk.t("voiceSampleDrop")));
    empty.append(make("small", {}, desk.t("voiceSampleDropHint")));
    const file = make("input", { type: "file", name: "file", accept: "audio/*" });
    const chosen = make("span", { class: "vv-drop-chosen", hidden: true });
    const zone = make("label", { class: "vv-drop" }, file, empty, chosen);
    this.words = make("textarea", { name: "transcript", rows: 2, maxLength: MOST_CHARACTERS });
    this.words.placeholder = desk.t("transcriptPlaceholder");
    this.consent = make("input", { type: "checkbox", name: "consent" });
    this.submit = make("button", { type: "submit", class: "vv-button" }, desk.t("voiceSampleMake"));
    this.note = make("div", { class: "vv-note", role: "alert", hidden: true });
    this.form = make(
      "form",
      { noValidate: true },
      zone,
      make("label", { class: "vv-field" }, make("span", {}, desk.t("transcript")), this.words),
      make("label", { class: "vv-tick" }, this.consent, make("span", {}, desk.t("voiceSampleConsent"))),
      this.submit,
      this.note,
    );
    this.drop = bindDrop(zone);
    this.form.onsubmit = (event) => {
      event.preventDefault();
      void this.#upload();
    };
    const summary = make("summary", {}, desk.t("voiceSampleAdd"));
    this.element = make("details", { class: "vv-gesture-add" }, summary, this.form);
  }

  async #upload() {
    const { desk, form, note } = this;
    if (!this.drop.file) return desk.tell(note, desk.t("voiceSampleFirst"));
    if (!this.consent.checked) return desk.tell(note, desk.t("voiceSampleTick"));
    const body = new FormData();
    body.append("file", this.drop.file);
    body.append("transcript", this.words.value);
    body.append("consent", "true");
    await desk.attempt(form, async () => {
      await api("POST", `api/avatars/${this.avatar.id}/voice-sample`, body, (part) => {
        this.submit.textContent = `${desk.t("uploading")} ${percent(part)}`;
      });
      form.reset();
      this.drop.clear();
      await feed.refresh();
    });
    this.submit.textContent = desk.t("voiceSampleMake");
  }
}
