/** Jobs as cards, on the Avatars and Studio tabs. */

import { make, percent } from "../dom.js";
import { isActive } from "../jobs-feed.js";
import { portalUrl } from "../server.js";
import { InStep } from "./in-step.js";
import { jobActions, jobFailure, noticesOf } from "./job-parts.js";

/**
 * @typedef {import("../types/api.d.ts").JobView} JobView
 * @typedef {import("./desk.js").Desk} Desk
 */

/** Cards of jobs, kept in step with the feed. */
export class JobCards extends InStep {
  /**
   * @param {Desk} desk
   * @param {Element} container
   */
  constructor(desk, container) {
    super(container, () => new JobCard(desk));
  }
}

class JobCard {
  #shown = "";

  /** @param {Desk} desk */
  constructor(desk) {
    this.desk = desk;
    this.name = make("strong");
    this.state = make("span", { class: "vv-chip" });
    this.bar = make("progress", { max: 1 });
    this.stage = make("span", { class: "vv-soft" });
    this.actions = make("span", { class: "vv-actions" });
    this.progress = make("div", { class: "vv-job-progress" }, this.bar, this.stage);
    this.body = make("div", { class: "vv-job-body" });
    this.element = make(
      "article",
      { class: "vv-job" },
      make("header", {}, this.name, this.state, this.actions),
      this.progress,
      this.body,
    );
  }

  /** @param {JobView} job */
  show(job) {
    this.element.dataset.state = job.state;
    this.name.textContent = this.desk.jobName(job);
    this.state.textContent = this.desk.t(`state.${job.state}`);
    this.state.dataset.state = job.state;
    this.bar.value = job.progress;
    this.stage.textContent = `${this.desk.t(`stage.${job.stage}`)} · ${percent(job.progress)}`;
    this.progress.hidden = !isActive(job);
    // Rebuild only on changes, because a clip that plays must not start again at each update.
    const shown = JSON.stringify([this.desk.code, job.state, job.gone]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.actions.replaceChildren(...jobActions(this.desk, job));
    this.body.replaceChildren(...this.#content(job));
  }

  /**
   * @param {JobView} job
   * @returns {HTMLElement[]}
   */
  #content(job) {
    if (job.state === "failed" || job.state === "cancelled") return jobFailure(this.desk, job);
    if (job.state !== "done" || !job.result?.clip) return [];
    const url = portalUrl(job.result.clip);
    return [
      url.endsWith(".mov")
        ? make("p", { class: "vv-soft" }, this.desk.t("notPlayed"))
        : make("video", { src: url, controls: true, playsInline: true, preload: "metadata" }),
      ...noticesOf(this.desk, job.result),
      make("a", { class: "vv-button", href: url, download: job.file_name }, this.desk.t("download")),
    ];
  }
}
