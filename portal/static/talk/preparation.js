/** Waits for an avatar that is being prepared for a lip-sync. There is at most one at a time. */

import { jobDone } from "../job.js";

/**
 * An avatar that has not been prepared for a lip-sync, and the job that prepares it.
 * @typedef {{avatar: string, lipsync: string, job: string}} Lacking
 *
 * An avatar that is being prepared. share: how much is done, 0 to 1.
 * @typedef {{avatar: string, lipsync: string, share: number, aborting: AbortController}} Coming
 */

/**
 * Return the preparation that an error or a refusal tells of, or null if it is about something else.
 * @param {Partial<Lacking>} refusal
 * @returns {Lacking?}
 */
export function lackingOf({ avatar, lipsync, job }) {
  return avatar && lipsync && job ? { avatar, lipsync, job } : null;
}

export class Preparation {
  /** @param {() => void} changed called when the waiting begins or ends */
  constructor(changed) {
    this.changed = changed;
    /** @type {Coming?} */
    this.coming = null;
  }

  /**
   * Resolves when the avatar is prepared. Rejects with a PortalError if that fails, with the code "stopped" after
   * forget().
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

  /** Stop waiting. The job itself goes on. */
  forget() {
    if (!this.coming) return;
    this.coming.aborting.abort();
    this.coming = null;
    this.changed();
  }
}
