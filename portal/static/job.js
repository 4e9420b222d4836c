/** Waiting for a job of the server's queue. */

import { SessionError } from "./session.js";

const ASK_EVERY_MS = 500;

/**
 * Resolves when the job is done; rejects with a SessionError: it failed, was cancelled or removed, or `signal` came.
 * @param {URL} address of the job
 * @param {AbortSignal} signal
 * @param {(share: number) => void} told how much is done, 0 to 1
 */
export async function jobDone(address, signal, told) {
  while (!signal.aborted) {
    const job = await ask(address);
    if (job.state === "done") return;
    if (job.state === "failed") throw new SessionError(job.error);
    if (job.state === "cancelled") throw cancelled();
    told(job.progress || 0);
    await new Promise((passed) => setTimeout(passed, ASK_EVERY_MS));
  }
  throw new SessionError({ code: "stopped", message: "Nobody waits for the job any more." });
}

async function ask(address) {
  let answer;
  try {
    answer = await fetch(address);
  } catch {
    return {}; // the server is away; the job goes on when it is back
  }
  if (answer.status === 404) throw cancelled();
  return answer.ok ? answer.json() : {};
}

function cancelled() {
  return new SessionError({
    code: "job_cancelled",
    message: "The preparation was cancelled.",
    hint: "Press Start to begin it again.",
  });
}
