/** The jobs of the server's queue: the one place from which the page asks for them, for every tab and every wait. */

import { listOf } from "./server.js";

const LOOK_EVERY_MS = 1000; // while a job is under way
const RETRY_MS = 5000; // while the server is away
const HIDDEN_EVERY_MS = 30_000; // while nobody sees the page: all that goes on then is what waits for a job

/** @typedef {import("./types/api.d.ts").JobView} JobView */

/** @param {Pick<JobView, "state">} job */
export function isActive(job) {
  return job.state === "queued" || job.state === "running";
}

/** Tells "jobs" at each look, and "ordered" when this page has asked for a job. It looks while somebody watches and a job is under way, or a watcher wants it anyway. */
class JobFeed extends EventTarget {
  /** @type {JobView[]?} null: not known yet */
  jobs = null;
  /** @type {Map<object, () => boolean>} watcher -> whether it wants another look though no job is under way */
  #watchers = new Map();
  #isAway = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #asked = 0; // looks so far
  #answered = 0; // the newest of them that was answered

  constructor() {
    super();
    document.addEventListener("visibilitychange", () => !document.hidden && this.#watchers.size && this.refresh());
  }

  /**
   * @param {object} watcher
   * @param {() => boolean} wants another look even if no job is under way
   */
  watch(watcher, wants = () => false) {
    this.#watchers.set(watcher, wants);
    this.refresh();
  }

  /** @param {object} watcher */
  unwatch(watcher) {
    this.#watchers.delete(watcher);
  }

  /** @param {JobView} job that this page has asked for */
  ordered(job) {
    this.dispatchEvent(new CustomEvent("ordered", { detail: job }));
  }

  async refresh() {
    clearTimeout(this.#timer);
    const look = (this.#asked += 1);
    /** @type {JobView[]?} */
    const jobs = await listOf("api/jobs?limit=100");
    if (look < this.#answered) return; // a later look knows better
    this.#answered = look;
    this.#isAway = !jobs;
    if (jobs) this.jobs = jobs;
    if (jobs) this.dispatchEvent(new Event("jobs"));
    clearTimeout(this.#timer); // another look may have begun meanwhile
    const againMs = this.#againMs();
    if (againMs) this.#timer = setTimeout(() => this.refresh(), againMs);
  }

  /** 0: not by itself. */
  #againMs() {
    const isWanted = this.#isAway || this.jobs?.some(isActive) || [...this.#watchers.values()].some((wants) => wants());
    if (!this.#watchers.size || !isWanted) return 0;
    if (document.hidden) return HIDDEN_EVERY_MS;
    return this.#isAway ? RETRY_MS : LOOK_EVERY_MS;
  }
}

export const feed = new JobFeed();
