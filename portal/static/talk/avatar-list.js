/** The list of this portal's avatars. It is read when the tab is shown, and repeatedly while more are being made. */

import { feed, isActive } from "../jobs-feed.js";
import { listOf } from "../server.js";

/** @typedef {import("../types/api.d.ts").AvatarView} AvatarView */

const AGAIN_MS = 2500;

export class AvatarList {
  /** @param {() => void} looked called when the list was read, and after each look at the jobs that make avatars */
  constructor(looked) {
    this.looked = looked;
    /** @type {AvatarView[]} stays the same array while nothing has changed */
    this.all = [];
    /** @type {string?} ids of the jobs that make avatars, joined; null: not known yet */
    this.making = null;
    this.isRead = false; // whether the list was ever read
    this.isMissed = true; // whether the last reading failed
    this.readAt = 0;
    this.isWatched = false;
    this.onJobs = () => this.look();
    feed.addEventListener("jobs", this.onJobs);
  }

  close() {
    this.unwatch();
    feed.removeEventListener("jobs", this.onJobs);
  }

  /** Keep the list up to date, because the tab is visible. */
  watch() {
    this.isWatched = true;
    this.read();
    feed.watch(this, () => this.isMissed || !this.all.length);
  }

  unwatch() {
    this.isWatched = false;
    feed.unwatch(this);
  }

  /** Whether more avatars may be in the making; true while that is unknown. */
  get isMoreExpected() {
    return this.making !== "";
  }

  async look() {
    const mine = (feed.jobs ?? []).filter((job) => job.kind === "prepare" && isActive(job));
    const making = mine.map(({ id }) => id).join();
    const isNews = making !== this.making || this.isMissed; // a job began, or ended with a new avatar
    const isDue = this.isWatched && (making || !this.all.length) && performance.now() - this.readAt > AGAIN_MS;
    this.making = making;
    if (isNews || isDue) await this.read();
    else this.looked();
  }

  async read() {
    this.readAt = performance.now();
    /** @type {AvatarView[]?} */
    const avatars = await listOf("api/avatars");
    this.isMissed = !avatars;
    this.isRead ||= Boolean(avatars);
    if (avatars && JSON.stringify(avatars) !== JSON.stringify(this.all)) this.all = avatars;
    this.looked();
  }
}
