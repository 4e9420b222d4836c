/** Waits for a job of the server's queue. */

import { PortalError } from "./errors.js";
import { feed } from "./jobs-feed.js";
import { portalUrl } from "./server.js";

/** @typedef {import("./types/api.d.ts").JobView} JobView */

/**
 * Resolves when the job is done. Rejects with a PortalError if the job failed, was cancelled or removed, or if `signal`
 * was aborted.
 * @param {string} id of the job
 * @param {AbortSignal} signal
 * @param {(share: number) => void} onProgress called with the share that is done, 0 to 1
 */
export async function jobDone(id, signal, onProgress) {
  const watcher = {};
  feed.watch(watcher, () => true);
  try {
    while (!signal.aborted) {
      await nextLook(signal);
      if (signal.aborted) break;
      const job = feed.jobs?.find((one) => one.id === id) ?? (await ask(id, signal));
      if (signal.aborted) break; // aborted during the request, so its answer no longer matters
      if (job.state === "done") return;
      if (job.state === "failed") throw job.error ? new PortalError(job.error) : cancelled();
      if (job.state === "cancelled") throw cancelled();
      onProgress(job.progress || 0);
    }
  } finally {
    feed.unwatch(watcher);
  }
  throw new PortalError({ code: "stopped", message: "Nobody waits for the job any more." });
}

/**
 * Resolves when the feed has news, or at once when `signal` is aborted.
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
function nextLook(signal) {
  return new Promise((passed) => {
    const over = () => {
      feed.removeEventListener("jobs", over);
      signal.removeEventListener("abort", over);
      passed();
    };
    feed.addEventListener("jobs", over);
    signal.addEventListener("abort", over);
  });
}

/**
 * Ask for a job that is not in the feed, which has only the newest jobs: this one is older, or gone. Resolves to an
 * empty object while the server does not answer. Rejects with a PortalError if the job does not exist.
 * @param {string} id
 * @param {AbortSignal} signal
 * @returns {Promise<Partial<JobView>>}
 */
async function ask(id, signal) {
  let answer;
  try {
    answer = await fetch(portalUrl(`api/jobs/${id}`), { signal });
  } catch {
    return {}; // the server is unreachable; the job goes on when it is back
  }
  if (answer.status === 404) throw cancelled();
  return answer.ok ? answer.json().catch(() => ({})) : {}; // the body may break off, too
}

function cancelled() {
  return new PortalError({
    code: "job_cancelled",
    message: "The preparation was cancelled.",
    hint: "Press Start to begin it again.",
  });
}
