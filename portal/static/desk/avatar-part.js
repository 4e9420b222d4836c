/** The base of the sections for gestures and the voice sample in an avatar's details. Jobs add to what they show. */

import { make } from "../dom.js";
import { PortalError } from "../errors.js";
import { feed, isActive } from "../jobs-feed.js";
import { api } from "./api.js";
import { JobCards } from "./job-cards.js";

/**
 * @typedef {import("../types/api.d.ts").AvatarView} AvatarView
 * @typedef {import("../types/api.d.ts").JobView} JobView
 * @typedef {import("./desk.js").Desk} Desk
 */

/** A section of the dialog. It stays in place while the rest of the dialog is rebuilt. */
export class AvatarPart {
  #kind;
  /** @type {JobCards?} */
  #cards = null; // new ones each time the dialog opens; null while it is closed
  #busy = ""; // ids of this avatar's jobs that were active at the last look
  #shown = ""; // the answer on show, as JSON
  #loads = 0;

  /**
   * @param {Desk} desk
   * @param {string} kind of its jobs
   * @param {string} look its CSS class
   */
  constructor(desk, kind, look) {
    this.desk = desk;
    this.#kind = kind;
    /** @type {AvatarView?} */
    this.avatar = null;
    this.note = make("div", { class: "vv-note", role: "alert", hidden: true });
    this.element = make("section", { class: look });
  }

  /**
   * @param {AvatarView} avatar
   * @returns {string} the API address of what the section shows
   */
  address(avatar) {
    throw new Error(`${avatar.id}: a subclass says where it is`);
  }

  /**
   * Show the server's answer from the address.
   * @param {AvatarView} _avatar
   * @param {any} _answer
   */
  fill(_avatar, _answer) {}

  /**
   * Show the section for an avatar.
   * @param {AvatarView} avatar
   * @param {{title: string, hint: string, own: HTMLElement[], form: HTMLElement}} content own: the elements that fill()
   *     fills
   */
  begin(avatar, { title, hint, own, form }) {
    this.close();
    this.avatar = avatar;
    this.note.hidden = true;
    const jobs = make("div", { class: "vv-jobs", "aria-live": "polite" });
    const about = make("p", { class: "vv-soft" }, hint);
    this.element.replaceChildren(make("h3", {}, title), about, this.note, ...own, jobs, form);
    this.#cards = new JobCards(this.desk, jobs);
    this.#busy = this.#shown = "";
    this.showJobs(feed.jobs ?? []);
    void this.load();
  }

  /**
   * Take the avatar as it is now.
   * @param {AvatarView} avatar
   * @param {boolean} hasChanged whether this section has to be loaded again
   */
  follow(avatar, hasChanged) {
    this.avatar = avatar;
    if (hasChanged) void this.load();
  }

  close() {
    this.element.replaceChildren(); // also stops a video that is playing
    this.#cards = null;
    this.avatar = null;
  }

  /** @param {JobView[]} jobs */
  showJobs(jobs) {
    const { avatar } = this;
    if (!avatar || !this.#cards) return;
    const mine = jobs.filter(({ kind, avatar: of }) => kind === this.#kind && of === avatar.id);
    this.#cards.show(mine.filter((job) => isActive(job) || job.state === "failed"));
    const busy = mine.filter(isActive).map(({ id }) => id);
    const before = this.#busy;
    this.#busy = busy.join("\n");
    if (before && before !== this.#busy) void this.load(); // the avatar itself may look unchanged
  }

  async load() {
    const { avatar } = this;
    const cards = this.#cards;
    if (!avatar || !cards) return;
    const load = ++this.#loads;
    try {
      const answer = await api("GET", this.address(avatar));
      // The dialog was closed, and may show another avatar; or a later answer is on its way.
      if (cards !== this.#cards || load !== this.#loads) return;
      this.note.hidden = true;
      // What is on show stays if nothing has changed: a video that plays, words that are being typed.
      if (this.shows(answer)) this.fill(avatar, answer);
    } catch (error) {
      if (!(error instanceof PortalError)) throw error;
      if (cards === this.#cards) this.desk.tell(this.note, ...this.desk.explain(error));
    }
  }

  /**
   * Note that this answer is on show from now on.
   * @param {unknown} answer
   * @returns {boolean} whether another one was until now
   */
  shows(answer) {
    const before = this.#shown;
    this.#shown = JSON.stringify(answer);
    return this.#shown !== before;
  }

  /**
   * Return the action of a button that deletes something of this section.
   * @param {string} address
   * @param {HTMLElement} note shows what went wrong
   */
  deleting(address, note) {
    /** @param {HTMLButtonElement} button */
    return async (button) => {
      button.disabled = true;
      try {
        await api("DELETE", address);
        await this.load();
      } catch (error) {
        if (!(error instanceof PortalError)) throw error;
        this.desk.tell(note, ...this.desk.explain(error));
        button.disabled = false;
      }
    };
  }
}
