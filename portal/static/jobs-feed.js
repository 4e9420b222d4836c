/** The jobs of the server's queue. All code on the page that needs jobs gets them from this one feed. */

import { listOf } from "./server.js";

const LOOK_EVERY_MS = 1000; // while a job is under way
const RETRY_MS = 5000; // while the server is away
const HIDDEN_EVERY_MS = 30_000; // while the page is hidden: only code that waits for a job needs news then

/** @typedef {import("./types/api.d.ts").JobView} JobView */

/** @param {Pick<JobView, "state">} job */
export function isActive(job) {
  return job.state === "queued" || job.state === "running";
}

/**
 * Asks the server for jobs while somebody watches, and either a job is under way or a watcher wants news anyway.
 * Events: "jobs" after each answer, "ordered" when this page has asked for a new job.
 */
class JobFeed extends EventTarget {
  /** @type {JobView[]?} null: not known yet */
  jobs = null;
  /** @type {Map<object, () => boolean>} watcher -> whether it wants news even if no job is under way */
  #watchers = new Map();
  #isAway = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #asked = 0; // number of requests so far
  #answered = 0; // number of the newest request that was answered

  constructor() {
    super();
    document.addEventListener("visibilitychange", () => !document.hidden && this.#watchers.size && this.refresh());
  }

  /**
   * Keep the feed going for a watcher, until unwatch().
   * @param {object} watcher
   * @param {() => boolean} wants whether it wants news even if no job is under way
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
    if (look < this.#answered) return; // answers may overtake each other, and a newer one is in
    this.#answered = look;
    this.#isAway = !jobs;
    if (jobs) this.jobs = jobs;
    if (jobs) this.dispatchEvent(new Event("jobs"));
    clearTimeout(this.#timer); // another request may have set it meanwhile
    const againMs = this.#againMs();
    if (againMs) this.#timer = setTimeout(() => this.refresh(), againMs);
  }

  /** Return the ms until the next request; 0: none is needed. */
  #againMs() {
    const isWanted = this.#isAway || this.jobs?.some(isActive) || [...this.#watchers.values()].some((wants) => wants());
    if (!this.#watchers.size || !isWanted) return 0;
    if (document.hidden) return HIDDEN_EVERY_MS;
    return this.#isAway ? RETRY_MS : LOOK_EVERY_MS;
  }
}

export const feed = new JobFeed();
