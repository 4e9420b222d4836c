/** Requests of the HTTP API. */

import { PortalError, errorOf } from "../errors.js";
import { feed } from "../jobs-feed.js";
import { portalUrl } from "../server.js";

const SILENCE_MS = 60_000; // a request is given up after this time without a byte in either direction
const JSON_TYPE = "application/json";
const ACCEPTED = 202; // with this status, the answer is a job

/**
 * Send a request to the HTTP API. A body that is not a form is sent as JSON. Rejects with a PortalError.
 * @param {"GET" | "POST" | "PATCH" | "DELETE"} method
 * @param {string} path
 * @param {object} [body]
 * @param {(share: number) => void} [sent] called with the share that is sent, 0 to 1, during the upload
 * @returns {Promise<any>} `any`: callers know what is answered there, and declare its type
 */
export function api(method, path, body, sent) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, portalUrl(path));
    request.responseType = "json";
    const silent = new Silence(() => request.abort());
    request.onerror = request.onabort = () => reject(unreachable());
    request.onprogress = () => silent.broken();
    request.onloadend = () => silent.over();
    request.onload = () => {
      if (request.status >= 400) return reject(refused(request.status, request.response));
      if (request.status === ACCEPTED) feed.ordered(request.response);
      resolve(request.response);
    };
    request.upload.onprogress = ({ loaded, total }) => {
      silent.broken();
      sent?.(total ? loaded / total : 0);
    };
    const form = body === undefined || body instanceof FormData;
    if (!form) request.setRequestHeader("Content-Type", JSON_TYPE);
    request.send(form ? body : JSON.stringify(body));
  });
}

/** Calls `then` when nothing has been heard for SILENCE_MS. */
class Silence {
  /** @param {() => void} then */
  constructor(then) {
    this.then = then;
    this.timer = setTimeout(then, SILENCE_MS);
  }

  broken() {
    clearTimeout(this.timer);
    this.timer = setTimeout(this.then, SILENCE_MS);
  }

  over() {
    clearTimeout(this.timer);
  }
}

/**
 * Request a picture that the API draws. Resolves to a Blob, rejects with a PortalError.
 * @param {string} path
 * @param {object} body
 * @param {AbortSignal} signal
 */
export async function picture(path, body, signal) {
  const headers = { "Content-Type": JSON_TYPE };
  const request = fetch(portalUrl(path), { method: "POST", headers, body: JSON.stringify(body), signal });
  const answer = await request.catch(() => Promise.reject(unreachable()));
  if (answer.ok) return answer.blob();
  throw refused(answer.status, await answer.json().catch(() => null));
}

function unreachable() {
  return new PortalError({ code: "unreachable" });
}

/**
 * @param {number} status
 * @param {{error?: import("../types/api.d.ts").ErrorView} | null} answer
 */
function refused(status, answer) {
  return new PortalError(errorOf(status, answer));
}
