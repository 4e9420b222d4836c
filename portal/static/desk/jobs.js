/** The Jobs tab: a table of every job. */

import { find, make, percent } from "../dom.js";
import { isActive } from "../jobs-feed.js";
import { portalUrl } from "../server.js";
import { Desk } from "./desk.js";
import { InStep } from "./in-step.js";
import { jobActions, jobFailure } from "./job-parts.js";

/** @typedef {import("../types/api.d.ts").JobView} JobView */

class VivavoceJobs extends Desk {
  build() {
    this.table = find(this, "table", HTMLTableElement);
    this.rows = new InStep(this.table.tBodies[0], (job) => new JobRow(this, job));
  }

  /** @param {JobView[]} jobs */
  show(jobs) {
    find(this, ".vv-empty", HTMLElement).hidden = jobs.length > 0;
    if (this.table) this.table.hidden = !jobs.length;
    this.rows?.show(jobs);
  }
}

class JobRow {
  #still = "";
  #moving = "";

  /**
   * @param {Desk} desk
   * @param {JobView} job
   */
  constructor(desk, job) {
    this.desk = desk;
    this.element = make("tr", { "data-job": job.id });
    this.progress = make("td");
    this.times = make("td");
  }

  /** @param {JobView} job */
  show(job) {
    this.#showStill(job);
    const times = this.#timesOf(job);
    const moving = JSON.stringify([this.desk.code, job, times]);
    if (moving === this.#moving) return;
    this.#moving = moving;
    this.progress.replaceChildren(...this.#progressOf(job));
    this.times.replaceChildren(...times.map((text) => make("div", {}, text)));
  }

  /**
   * Show what rarely changes. It is rebuilt only on changes, because a button or its note must not vanish at each
   * update.
   * @param {JobView} job
   */
  #showStill(job) {
    const { desk } = this;
    const { progress, stage, started_at, ...still } = job;
    const shown = JSON.stringify([desk.code, still]);
    if (shown === this.#still) return;
    this.#still = shown;
    this.#moving = "";
    /**
     * @param {string} key of its label
     * @param {(Node | string)[]} content
     */
    const cell = (key, ...content) => make("td", { "data-label": key ? desk.t(key) : "" }, ...content);
    const failure = job.state === "failed" || job.state === "cancelled" ? jobFailure(desk, job) : [];
    this.progress = cell("col.progress");
    this.times = cell("col.times");
    this.element.dataset.state = job.state;
    this.element.replaceChildren(
      cell("col.name", make("strong", {}, desk.jobName(job)), ...failure),
      cell("col.kind", desk.t(`job.${job.kind}`)),
      cell("col.state", make("span", { class: "vv-chip", "data-state": job.state }, desk.t(`state.${job.state}`))),
      this.progress,
      this.times,
      cell("", make("span", { class: "vv-actions" }, ...this.#resultOf(job), ...jobActions(desk, job))),
    );
  }

  /**
   * @param {JobView} job
   * @returns {(Node | string)[]}
   */
  #progressOf(job) {
    if (job.state === "done") return [percent(1)];
    if (!isActive(job)) return []; // failed or cancelled
    const stage = make("div", { class: "vv-soft" }, this.desk.t(`stage.${job.stage}`));
    return [make("progress", { max: 1, value: job.progress }), stage];
  }

  /** @param {JobView} job */
  #timesOf(job) {
    const { desk } = this;
    const times = [desk.t("asked", { time: desk.clock(job.created_at) })];
    if (job.started_at && job.finished_at) {
      times.push(desk.t("took", { duration: desk.duration(job.finished_at - job.started_at) }));
    } else if (job.state === "running" && job.started_at) {
      times.push(desk.t("since", { duration: desk.duration(Date.now() / 1000 - job.started_at) }));
    }
    return times;
  }

  /** @param {JobView} job */
  #resultOf(job) {
    if (job.state !== "done" || !job.result?.clip) return [];
    return [make("a", { class: "vv-quiet", href: portalUrl(job.result.clip), target: "_blank" }, this.desk.t("open"))];
  }
}

customElements.define("vivavoce-jobs", VivavoceJobs);
