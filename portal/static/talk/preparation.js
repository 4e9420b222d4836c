/** An avatar that is being prepared for a lip-sync: at most one is waited for. */

import { jobDone } from "../job.js";

export class Preparation {
  /** @param {() => void} changed it begins to be waited for, or no longer is */
  constructor(changed) {
    this.changed = changed;
    this.coming = null; // {avatar, lipsync, share, aborting}
  }

  /** Resolves when the avatar is prepared; rejects with a PortalError if it will not be ("stopped": forgotten). */
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
