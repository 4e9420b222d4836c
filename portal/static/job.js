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
    const job = await ask(address, signal);
    if (signal.aborted) break; // whatever the answer was, nobody waits for it
    if (job.state === "done") return;
    if (job.state === "failed") throw new SessionError(job.error);
    if (job.state === "cancelled") throw cancelled();
    told(job.progress || 0);
    await pause(ASK_EVERY_MS, signal);
  }
  throw new SessionError({ code: "stopped", message: "Nobody waits for the job any more." });
}

/** Over at once when nobody waits any more. */
function pause(ms, signal) {
  return new Promise((passed) => {
    const over = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", over);
      passed();
    };
    const timer = setTimeout(over, ms);
    signal.addEventListener("abort", over);
  });
}

async function ask(address, signal) {
  let answer;
  try {
    answer = await fetch(address, { signal });
  } catch {
    return {}; // the server is away; the job goes on when it is back
  }
  if (answer.status === 404) throw cancelled();
  return answer.ok ? answer.json().catch(() => ({})) : {}; // it may break off, too
}

function cancelled() {
  return new SessionError({
    code: "job_cancelled",
    message: "The preparation was cancelled.",
    hint: "Press Start to begin it again.",
  });
}
