/** The Jobs tab: a table of every job. */

import { make, percent } from "../dom.js";
import { isActive } from "../jobs-feed.js";
import { beside } from "../server.js";
import { Desk, jobActions, jobFailure } from "./desk.js";

class VivavoceJobs extends Desk {
  build() {
    this.table = this.querySelector("table");
    this.rows = new Map();
  }

  show(jobs) {
    this.querySelector(".vv-empty").hidden = jobs.length > 0;
    this.table.hidden = !jobs.length;
    const wanted = new Set(jobs.map((job) => job.id));
    for (const [id, row] of this.rows) {
      if (wanted.has(id)) continue;
      row.element.remove();
      this.rows.delete(id);
    }
    const body = this.table.tBodies[0];
    jobs.forEach((job, place) => {
      const row = this.rows.get(job.id) ?? { element: make("tr", { "data-job": job.id }), shown: "" };
      this.rows.set(job.id, row);
      this.fill(row, job);
      if (body.children[place] !== row.element) body.insertBefore(row.element, body.children[place] ?? null);
    });
  }

  fill(row, job) {
    this.fillStill(row, job);
    const times = this.times(job);
    const moved = JSON.stringify([this.code, job, times]);
    if (moved === row.moved) return;
    row.moved = moved;
    row.progress.replaceChildren(...this.progress(job));
    row.times.replaceChildren(...times.map((text) => make("div", {}, text)));
  }

  /** What does not move is built once: a button, or why it was refused, must not vanish at each look. */
  fillStill(row, job) {
    const { progress, stage, started_at, ...still } = job;
    const shown = JSON.stringify([this.code, still]);
    if (shown === row.shown) return;
    row.shown = shown;
    row.moved = "";
    const cell = (key, ...content) => make("td", { "data-label": key ? this.t(key) : "" }, ...content);
    const failure = job.state === "failed" || job.state === "cancelled" ? jobFailure(this, job) : [];
    row.progress = cell("col.progress");
    row.times = cell("col.times");
    row.element.dataset.state = job.state;
    row.element.replaceChildren(
      cell("col.name", make("strong", {}, this.jobName(job)), ...failure),
      cell("col.kind", this.t(`job.${job.kind}`)),
      cell("col.state", make("span", { class: "vv-chip", "data-state": job.state }, this.t(`state.${job.state}`))),
      row.progress,
      row.times,
      cell("", make("span", { class: "vv-actions" }, ...this.result(job), ...jobActions(this, job))),
    );
  }

  progress(job) {
    if (job.state === "done") return [percent(1)];
    if (!isActive(job)) return []; // nothing moves any more
    const stage = make("div", { class: "vv-soft" }, this.t(`stage.${job.stage}`));
    return [make("progress", { max: 1, value: job.progress }), stage];
  }

  times(job) {
    const times = [this.t("asked", { time: this.clock(job.created_at) })];
    if (job.started_at && job.finished_at) {
      times.push(this.t("took", { duration: this.duration(job.finished_at - job.started_at) }));
    } else if (job.state === "running" && job.started_at) {
      times.push(this.t("since", { duration: this.duration(Date.now() / 1000 - job.started_at) }));
    }
    return times;
  }

  result(job) {
    if (job.state !== "done" || job.kind !== "clip") return [];
    return [make("a", { class: "vv-quiet", href: beside(job.result.clip), target: "_blank" }, this.t("open"))];
  }
}

customElements.define("vivavoce-jobs", VivavoceJobs);
