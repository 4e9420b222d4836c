/**
 * The networks in an avatar's details: which ones it is prepared for, and a way to prepare it with chosen parameters.
 */

import { make, percent, withCode } from "../dom.js";
import { PortalError } from "../errors.js";
import { feed, isActive } from "../jobs-feed.js";
import { Adjustment } from "./adjustment.js";
import { api } from "./api.js";
import { counts } from "./fields.js";
import { jobActions, jobFailure, noticesOf } from "./job-parts.js";

/**
 * @typedef {import("../types/api.d.ts").AvatarView} AvatarView
 * @typedef {import("../types/api.d.ts").BackendView} BackendView
 * @typedef {import("../types/api.d.ts").JobView} JobView
 * @typedef {import("../types/api.d.ts").Parameters} Parameters
 * @typedef {import("./adjustment.js").Network} Network
 * @typedef {import("./desk.js").Desk} Desk
 */

/**
 * The section of the dialog, with a row for each network. Those that cannot run here are folded together below the
 * others. It stays in place while the rest of the dialog is rebuilt.
 */
export class Networks {
  #rows = /** @type {NetworkRow[]} */ ([]);
  #jobs = /** @type {JobView[]} */ ([]);
  /** @type {{rows: HTMLElement, unready: HTMLElement, folded: HTMLElement, summary: HTMLElement}?} */
  #places = null;

  /** @param {Desk} desk */
  constructor(desk) {
    this.desk = desk;
    /** @type {AvatarView?} */
    this.avatar = null;
    this.element = make("section", { class: "vv-networks" });
  }

  /**
   * Show the networks for an avatar. The backends are requested each time, since weights may have been installed
   * meanwhile.
   * @param {AvatarView} avatar
   */
  async open(avatar) {
    this.close();
    this.avatar = avatar;
    const note = make("div", { class: "vv-note", role: "alert", hidden: true });
    const rows = make("div", { class: "vv-jobs" });
    const unready = make("div", { class: "vv-jobs" });
    const summary = make("summary");
    const folded = make("details", { class: "vv-unready", hidden: true }, summary, unready);
    const hint = make("p", { class: "vv-soft" }, this.desk.t("networksHint"));
    this.element.replaceChildren(make("h3", {}, this.desk.t("networks")), hint, note, rows, folded);
    this.#places = { rows, unready, folded, summary };
    /** @type {BackendView[]} */
    let backends;
    try {
      backends = (await api("GET", "api/backends")).lipsync;
    } catch (error) {
      if (!(error instanceof PortalError)) throw error;
      return this.desk.tell(note, ...this.desk.explain(error));
    }
    if (!rows.isConnected || !this.avatar) return; // the dialog was closed meanwhile, or opened for another avatar
    const networks = /** @type {Network[]} */ (backends.filter(({ parameters }) => parameters));
    this.#rows = networks.map((backend) => new NetworkRow(this.desk, backend));
    this.show(this.avatar);
  }

  /**
   * Take the avatar as it is now.
   * @param {AvatarView} avatar
   */
  show(avatar) {
    this.avatar = avatar;
    for (const row of this.#rows) row.show(avatar, this.#jobs);
    this.#arrange();
  }

  #arrange() {
    if (!this.#places) return;
    const { rows, unready, folded, summary } = this.#places;
    for (const { element, folded: within } of this.#rows) {
      const place = within ? unready : rows;
      if (element.parentElement !== place) place.append(element);
    }
    const count = unready.children.length;
    folded.hidden = !count;
    summary.textContent = this.desk.t("unready", { count });
  }

  /** @param {JobView[]} jobs */
  showJobs(jobs) {
    this.#jobs = jobs;
    if (this.avatar) this.show(this.avatar);
  }

  close() {
    for (const row of this.#rows) row.close();
    this.#rows = [];
    this.element.replaceChildren();
    this.avatar = null;
  }
}

class NetworkRow {
  #shown = "";

  /**
   * @param {Desk} desk
   * @param {Network} backend
   */
  constructor(desk, backend) {
    this.desk = desk;
    this.backend = backend;
    /** @type {AvatarView?} */
    this.avatar = null;
    this.folded = false; // whether it is among those that cannot run here
    this.state = make("span", { class: "vv-chip" });
    this.prepare = make("button", { type: "button", class: "vv-quiet" }, desk.t("prepare"));
    this.adjust = make("button", { type: "button", class: "vv-quiet", "aria-expanded": "false" }, desk.t("adjust"));
    this.bar = make("progress", { max: 1 });
    this.stage = make("span", { class: "vv-soft" });
    this.progress = make("div", { class: "vv-job-progress" }, this.bar, this.stage);
    this.body = make("div", { class: "vv-job-body" });
    this.note = make("div", { class: "vv-note", role: "alert", hidden: true });
    this.form = new Adjustment(desk, backend, this.note);
    const name = make("strong", {}, desk.t(`lipsync.${backend.name}`));
    this.ofJob = make("span", { class: "vv-actions" });
    const actions = make("span", { class: "vv-actions" }, this.prepare, this.adjust, this.ofJob);
    this.element = make(
      "article",
      { class: "vv-job vv-network", "data-backend": backend.name },
      make("header", {}, name, this.state, actions),
      this.progress,
      this.body,
      this.form.element,
      this.note,
    );
    this.prepare.onclick = () => this.queue({});
    this.adjust.onclick = () => this.unfold(Boolean(this.form.element.hidden));
    this.form.element.onsubmit = async (event) => {
      event.preventDefault();
      if (!this.form.check()) return;
      await this.queue(this.form.chosen);
      if (!this.note.hidden) return; // it was refused, and the note says why
      this.unfold(false);
      this.adjust.focus();
    };
  }

  /**
   * @param {AvatarView} avatar
   * @param {JobView[]} jobs
   */
  show(avatar, jobs) {
    this.avatar = avatar;
    const job = jobs.find(({ avatar: of, backend }) => of === avatar.id && backend === this.backend.name);
    const state = this.#stateOf(avatar, job);
    this.element.dataset.state = state;
    this.state.textContent = this.desk.t(`network.${state}`);
    this.state.dataset.state = state === "making" ? "running" : state === "prepared" ? "done" : "";
    this.folded = state === "unready" && job?.state !== "failed";
    this.state.hidden = this.folded; // the summary above them says it for all
    this.#offerUsual();
    this.adjust.hidden = !["making", "prepared", "bare"].includes(state) || !Object.keys(this.backend.parameters).length;
    this.progress.hidden = state !== "making";
    if (job && state === "making") {
      this.bar.value = job.progress;
      this.stage.textContent = `${this.desk.t(`stage.${job.stage}`)} · ${percent(job.progress)}`;
    }
    // Rebuild only on changes, because a button must not vanish under a finger at each update.
    const shown = JSON.stringify([state, avatar.prepared[this.backend.name], job?.id, job?.state]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.body.replaceChildren(...this.#content(avatar, state, job));
    const open = job && (isActive(job) || job.state === "failed");
    this.ofJob.replaceChildren(...(open ? jobActions(this.desk, job) : []));
  }

  close() {
    this.form.close();
  }

  /** @param {boolean} open */
  unfold(open) {
    this.adjust.setAttribute("aria-expanded", String(open));
    if (open && this.avatar) this.form.open(this.avatar);
    else this.form.close();
    this.#offerUsual();
  }

  /**
   * Ask for a job that prepares the avatar.
   * @param {Parameters} parameters those to use instead of the defaults
   */
  async queue(parameters) {
    const { avatar } = this;
    if (!avatar) return;
    await this.desk.attempt(this.element, async () => {
      await api("POST", `api/avatars/${avatar.id}/parts`, { backend: this.backend.name, parameters });
      await feed.refresh();
    });
  }

  /** Show the button that prepares with default parameters, unless the form for others is open. */
  #offerUsual() {
    this.prepare.hidden = this.element.dataset.state !== "bare" || !this.form.element.hidden;
  }

  /**
   * @param {AvatarView} avatar
   * @param {JobView | undefined} job the last one that prepares or prepared it
   */
  #stateOf(avatar, job) {
    const { name, ready, own_network: own } = this.backend;
    if (job && isActive(job)) return "making";
    if (!ready) return "unready";
    if (own && !avatar.networks.includes(name)) return "lacking";
    return avatar.prepared[name] ? "prepared" : "bare";
  }

  /**
   * @param {AvatarView} avatar
   * @param {string} state
   * @param {JobView | undefined} job
   */
  #content(avatar, state, job) {
    const { name, remedy } = this.backend;
    /** @type {HTMLElement[]} */
    const content = [];
    /** @param {string} text */
    const addNote = (text) => content.push(make("p", { class: "vv-soft" }, ...withCode(text)));
    if (state === "unready") {
      const own = `hint.${state}`; // exists in Chinese only: in English the server's sentence is more exact
      if (this.desk.has(own)) addNote(this.desk.t(own, { backend: name }));
      else addNote(remedy);
    }
    if (state === "lacking") addNote(this.desk.t("lackingNetwork", { avatar: avatar.id, backend: name }));
    if (state === "prepared") {
      const settings = this.#settings(avatar.prepared[name]);
      if (settings) addNote(settings);
      if (job?.result) content.push(...noticesOf(this.desk, job.result));
    }
    if (job?.state === "failed") content.push(...jobFailure(this.desk, job));
    return content;
  }

  /**
   * Return in words which parameters of a preparation differ from the defaults; "" if the network has no parameters.
   * @param {Parameters} prepared
   */
  #settings(prepared) {
    const usual = this.backend.parameters;
    if (!Object.keys(usual).length) return "";
    const used = { ...usual, ...prepared };
    const differing = Object.keys(usual).filter((name) => counts(name, used) && String(used[name]) !== String(usual[name]));
    if (!differing.length) return this.desk.t("preparedUsual");
    const words = differing.map((name) => `${this.desk.t(`parameter.${name}`)} ${this.#valueWords(used[name])}`);
    return this.desk.t("preparedWith", { settings: words.join(" · ") });
  }

  /** @param {Parameters[string]} value */
  #valueWords(value) {
    if (typeof value === "boolean") return this.desk.t(value ? "on" : "off");
    return Array.isArray(value) ? value.join(", ") : String(value);
  }
}
