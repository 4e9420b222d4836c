/** Tells a viewer on any tab that a job has ended which was asked for in this browser. */

import { find } from "../dom.js";
import { feed, isActive } from "../jobs-feed.js";
import { language, recall, remember } from "../page.js";
import { desk as TEXTS } from "../texts.js";
import { jobName, openTab } from "./desk.js";

/** @typedef {import("../types/api.d.ts").JobView} JobView */

const ASKED = "vivavoce.jobs";
const MAX_REMEMBERED_JOBS = 20; // jobs to remember; the oldest are forgotten, because a job that was removed never ends
/** @type {Record<JobView["kind"], "avatars" | "studio">} the tab that shows a job's result */
const TAB_OF = { prepare: "avatars", parts: "avatars", gesture: "avatars", voice: "avatars", clip: "studio" };

class VivavoceJobNotice extends HTMLElement {
  #asked = restored(); // ids of jobs that have not ended, as far as this page knows
  /** @type {JobView?} the job that the notice is about */
  #told = null;
  #title = ""; // the page's own title, while the title says that a job has ended
  #left = new AbortController();

  connectedCallback() {
    this.#left = new AbortController();
    const { signal } = this.#left;
    const onOrdered = (/** @type {Event} */ event) => this.#follow(/** @type {CustomEvent<JobView>} */ (event).detail.id);
    feed.addEventListener("ordered", onOrdered, { signal });
    feed.addEventListener("jobs", () => this.#look(feed.jobs ?? []), { signal });
    document.addEventListener("vivavoce:language", () => this.#show(), { signal });
    document.addEventListener("visibilitychange", () => document.hidden || this.#nameBack(), { signal });
    find(this, ".vv-notice-close", HTMLElement).onclick = () => this.#close();
    find(this, ".vv-notice-look", HTMLElement).onclick = () => this.#open();
    if (this.#asked.length) feed.watch(this);
  }

  disconnectedCallback() {
    this.#left.abort();
    feed.unwatch(this);
  }

  /** @param {string} id */
  #follow(id) {
    this.#keep([...this.#asked.filter((other) => other !== id), id].slice(-MAX_REMEMBERED_JOBS));
    feed.watch(this);
  }

  /** @param {JobView[]} jobs */
  #look(jobs) {
    const ended = jobs.filter((job) => this.#asked.includes(job.id) && !isActive(job));
    if (!ended.length) return;
    this.#keep(this.#asked.filter((id) => !ended.some((job) => job.id === id)));
    if (!this.#asked.length) feed.unwatch(this);
    // The feed lists the newest first. A cancelled job is no news, since somebody pressed the button.
    const newest = ended.find(({ state }) => state !== "cancelled");
    if (newest) this.#tell(newest);
  }

  /** @param {JobView} job */
  #tell(job) {
    this.#told = job;
    this.#show();
    const words = find(this, ".vv-notice-words", HTMLElement).textContent;
    // The Talk tab's announcer waits until the avatar has finished speaking. A live region here would interrupt it.
    document.dispatchEvent(new CustomEvent("vivavoce:announce", { detail: words }));
    if (!document.hidden) return;
    this.#title ||= document.title;
    document.title = `${words} · ${this.#title}`;
  }

  #show() {
    const job = this.#told;
    this.hidden = !job;
    if (!job) return;
    const texts = TEXTS[language()];
    const key = job.state === "done" ? "ended.done" : "ended.failed";
    find(this, ".vv-notice-words", HTMLElement).textContent = texts[key].replace("{name}", jobName(job, texts));
    find(this, ".vv-notice-look", HTMLElement).textContent = texts["ended.look"];
    find(this, ".vv-notice-close", HTMLElement).setAttribute("aria-label", texts["ended.close"]);
  }

  #open() {
    const job = this.#told;
    if (job) openTab(job.state === "done" ? TAB_OF[job.kind] : "jobs");
    this.#close();
  }

  #close() {
    this.#told = null;
    this.#show();
  }

  /** Put the page's own title back, since the page is visible again and so is the notice. */
  #nameBack() {
    if (this.#title) document.title = this.#title;
    this.#title = "";
  }

  /** @param {string[]} ids */
  #keep(ids) {
    this.#asked = ids;
    remember(ASKED, JSON.stringify({ ids }));
  }
}

/** @returns {string[]} ids of jobs that were asked for before the page was reloaded */
function restored() {
  const { ids } = recall(ASKED);
  return Array.isArray(ids) ? ids.filter((id) => typeof id === "string").slice(-MAX_REMEMBERED_JOBS) : [];
}

customElements.define("vivavoce-job-notice", VivavoceJobNotice);
