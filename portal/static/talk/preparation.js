/** An avatar that is being prepared for a lip-sync: at most one is waited for. */

import { jobDone } from "../job.js";

/**
 * An avatar that lacks what a lip-sync needs of it, and the job that makes that.
 * @typedef {{avatar: string, lipsync: string, job: string}} Lacking
 *
 * An avatar that is being prepared; share: how much is done, 0 to 1.
 * @typedef {{avatar: string, lipsync: string, share: number, aborting: AbortController}} Coming
 */

/**
 * What an error or a refusal says is being prepared; null: it is about something else.
 * @param {Partial<Lacking>} refusal
 * @returns {Lacking?}
 */
export function lackingOf({ avatar, lipsync, job }) {
  return avatar && lipsync && job ? { avatar, lipsync, job } : null;
}

export class Preparation {
  /** @param {() => void} changed it begins to be waited for, or no longer is */
  constructor(changed) {
    this.changed = changed;
    /** @type {Coming?} */
    this.coming = null;
  }

  /**
   * Resolves when the avatar is prepared; rejects with a PortalError if it will not be ("stopped": forgotten).
   * @param {Lacking} lacking
   */
  async wait({ avatar, lipsync, job }) {
    const coming = { avatar, lipsync, share: 0, aborting: new AbortController() };
    this.forget();
    this.coming = coming;
    this.changed();
    try {
      await jobDone(job, coming.aborting.signal, (share) => (coming.share = share));
    } finally {
      if (this.coming === coming) this.forget();
    }
  }

  /** The job goes on, but nobody waits for it. */
  forget() {
    if (!this.coming) return;
    this.coming.aborting.abort();
    this.coming = null;
    this.changed();
  }
}
