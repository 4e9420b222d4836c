/** The gestures in the closer look at an avatar: those that it has, a look at each, and a form to add one. */

import { make, percent } from "../dom.js";
import { PortalError } from "../errors.js";
import { feed, isActive } from "../jobs-feed.js";
import { beside } from "../server.js";
import { api } from "./api.js";
import { bindDrop } from "./drop.js";
import { JobCards } from "./job-cards.js";
import { askingBack } from "./job-parts.js";

/**
 * @typedef {import("../types/api.d.ts").AvatarView} AvatarView
 * @typedef {import("../types/api.d.ts").GestureView} GestureView
 * @typedef {import("../types/api.d.ts").JobView} JobView
 * @typedef {import("./desk.js").Desk} Desk
 */

/** The section of the dialog. It stays in its place while the rest of the dialog is filled anew. */
export class Gestures {
  /** @type {{rows: HTMLElement, empty: HTMLElement, note: HTMLElement, cards: JobCards}?} */
  #places = null;
  #names = ""; // of the avatar's gestures at the last look
  #busy = ""; // ids of the jobs for this avatar that were under way at the last look

  /** @param {Desk} desk */
  constructor(desk) {
    this.desk = desk;
    /** @type {AvatarView?} */
    this.avatar = null;
    this.element = make("section", { class: "vv-gesture-list" });
  }

  /** @param {AvatarView} avatar */
  open(avatar) {
    this.close();
    this.avatar = avatar;
    const { desk } = this;
    const rows = make("div", { class: "vv-jobs" });
    const empty = make("p", { class: "vv-soft", hidden: true }, desk.t("gesturesNone"));
    const note = make("div", { class: "vv-note", role: "alert", hidden: true });
    const jobs = make("div", { class: "vv-jobs", "aria-live": "polite" });
    this.element.replaceChildren(
      make("h3", {}, desk.t("gestures")),
      make("p", { class: "vv-soft" }, desk.t("gesturesHint")),
      note,
      empty,
      rows,
      jobs,
      new GestureForm(desk, avatar).element,
    );
    this.#places = { rows, empty, note, cards: new JobCards(desk, jobs) };
    this.#names = avatar.gestures.join("\n");
    this.#busy = "";
    this.showJobs(feed.jobs ?? []);
    this.load();
  }

  close() {
    this.element.replaceChildren(); // a clip that plays ends with it
    this.#places = null;
    this.avatar = null;
  }

  /**
   * The avatar as it is now: gestures may have come and gone, also by somebody else.
   * @param {AvatarView} avatar
   */
  show(avatar) {
    this.avatar = avatar;
    const names = avatar.gestures.join("\n");
    if (names === this.#names) return;
    this.#names = names;
    this.load();
  }

  /** @param {JobView[]} jobs */
  showJobs(jobs) {
    const { avatar } = this;
    if (!avatar || !this.#places) return;
    const mine = jobs.filter(({ kind, avatar: of }) => kind === "gesture" && of === avatar.id);
    this.#places.cards.show(mine.filter((job) => isActive(job) || job.state === "failed"));
    const busy = mine.filter(isActive).map(({ id }) => id);
    const before = this.#busy;
    this.#busy = busy.join("\n");
    if (before && before !== this.#busy) this.load(); // one has ended; it may have replaced one of its name
  }

  async load() {
    const { avatar, desk } = this;
    const places = this.#places;
    if (!avatar || !places) return;
    try {
      /** @type {GestureView[]} */
      const gestures = await api("GET", `api/avatars/${avatar.id}/gestures`);
      places.note.hidden = true;
      places.empty.hidden = gestures.length > 0;
      places.rows.replaceChildren(...gestures.map((gesture) => this.#row(avatar, gesture)));
    } catch (error) {
      if (!(error instanceof PortalError)) throw error;
      desk.tell(places.note, ...desk.explain(error));
    }
  }

  /**
   * @param {AvatarView} avatar
   * @param {GestureView} gesture
   */
  #row(avatar, { name, seconds, sound, idle, poster, preview }) {
    const { desk } = this;
    const note = make("div", { class: "vv-note", role: "alert", hidden: true });
    const picture = make("div", { class: "vv-gesture-picture" });
    if (poster) picture.append(make("img", { src: beside(poster), alt: "", loading: "lazy" }));
    const play = make("button", { type: "button", class: "vv-quiet", hidden: !preview }, desk.t("gestureTry"));
    play.onclick = () => {
      const src = beside(preview ?? "");
      picture.replaceChildren(make("video", { src, controls: true, playsInline: true, autoplay: true }));
    };
    /** @param {HTMLButtonElement} button */
    const act = async (button) => {
      button.disabled = true;
      try {
        await api("DELETE", `api/avatars/${avatar.id}/gestures/${encodeURIComponent(name)}`);
        await this.load();
      } catch (error) {
        if (!(error instanceof PortalError)) throw error;
        desk.tell(note, ...desk.explain(error));
        button.disabled = false;
      }
    };
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

/** The form by which a clip becomes a gesture. */
class GestureForm {
  /**
   * @param {Desk} desk
   * @param {AvatarView} avatar
   */
  constructor(desk, avatar) {
    this.desk = desk;
    this.avatar = avatar;
    const empty = make("span", { class: "vv-drop-empty" }, make("strong", {}, desk.t("gestureDrop")));
    empty.append(make("small", {}, desk.t("gestureDropHint")));
    const file = make("input", { type: "file", name: "file", accept: "video/*" });
    const chosen = make("span", { class: "vv-drop-chosen", hidden: true });
    const zone = make("label", { class: "vv-drop" }, file, empty, chosen);
    this.name = make("input", { type: "text", name: "gesture", maxLength: 24, autocomplete: "off" });
    this.name.placeholder = desk.t("gesturePlaceholder");
    this.sound = make("input", { type: "checkbox", name: "sound" });
    this.idle = make("input", { type: "checkbox", name: "idle" });
    this.consent = make("input", { type: "checkbox", name: "consent" });
    this.submit = make("button", { type: "submit", class: "vv-button" }, desk.t("gestureMake"));
    this.note = make("div", { class: "vv-note", role: "alert", hidden: true });
    this.form = make(
      "form",
      { noValidate: true },
      zone,
      make("label", { class: "vv-field" }, make("span", {}, desk.t("gestureName")), this.name),
      make("label", { class: "vv-tick" }, this.sound, make("span", {}, desk.t("gestureSound"))),
      make("label", { class: "vv-tick" }, this.idle, make("span", {}, desk.t("gestureIdle"))),
      make("label", { class: "vv-tick" }, this.consent, make("span", {}, desk.t("gestureConsent"))),
      this.submit,
      this.note,
    );
    this.drop = bindDrop(zone);
    this.form.onsubmit = (event) => {
      event.preventDefault();
      this.#upload();
    };
    this.element = make("details", { class: "vv-gesture-add" }, make("summary", {}, desk.t("gestureAdd")), this.form);
  }

  async #upload() {
    const { desk, form, note } = this;
    if (!this.drop.file) return desk.tell(note, desk.t("gestureFirst"));
    if (!this.name.value.trim()) return desk.tell(note, desk.t("gestureNameFirst"));
    if (!this.consent.checked) return desk.tell(note, desk.t("tickFirst"));
    const body = new FormData();
    body.append("file", this.drop.file);
    body.append("name", this.name.value);
    body.append("sound", String(this.sound.checked));
    body.append("idle", String(this.idle.checked));
    body.append("consent", "true");
    await desk.attempt(form, async () => {
      await api("POST", `api/avatars/${this.avatar.id}/gestures`, body, (part) => {
        this.submit.textContent = `${desk.t("uploading")} ${percent(part)}`;
      });
      form.reset();
      this.drop.clear();
      await feed.refresh();
    });
    this.submit.textContent = desk.t("gestureMake");
  }
}
