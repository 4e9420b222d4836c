/** Elements that show facts about a job and what can be done with it, for all places that show jobs. */

import { make } from "../dom.js";
import { PortalError } from "../errors.js";
import { feed, isActive } from "../jobs-feed.js";
import { portalUrl } from "../server.js";
import { api } from "./api.js";

/**
 * @typedef {import("../types/api.d.ts").JobView} JobView
 * @typedef {import("./desk.js").Desk} Desk
 */

/**
 * Return the notices of a job that succeeded.
 * @param {Desk} desk
 * @param {import("../types/api.d.ts").JobResult} result
 */
export function noticesOf(desk, { notices = [], notice_codes: codes = [] }) {
  return notices.map((message, place) =>
    make("p", { class: "vv-warning" }, ...desk.explain({ code: codes[place] ?? "notice", message })),
  );
}

/**
 * Return the cause and the remedy of a failure, the strip of pictures if the face was the cause, and the reason if the
 * job cannot be tried again.
 * @param {Desk} desk
 * @param {JobView} job
 */
export function jobFailure(desk, job) {
  /** @type {HTMLElement[]} */
  const parts = [];
  const report = job.error?.report; // a cancelled job has no error
  if (job.error) parts.push(make("div", { class: "vv-failure" }, ...desk.explain(job.error)));
  if (report) parts.push(desk.strip(report, (file) => portalUrl(`api/avatars/${job.avatar}/report/${file}`)));
  if (job.gone) parts.push(make("p", { class: "vv-soft" }, desk.t(`gone.${job.gone}`)));
  return parts;
}

/**
 * Return buttons for what can be done with a job now, and a note that says why something was refused.
 * @param {Desk} desk
 * @param {JobView} job
 * @returns {HTMLElement[]}
 */
export function jobActions(desk, job) {
  const note = make("div", { class: "vv-note", role: "alert", hidden: true });
  /**
   * @param {"POST" | "DELETE"} method
   * @param {string} path
   */
  const act = (method, path) => async (/** @type {HTMLButtonElement} */ element) => {
    element.disabled = true;
    note.hidden = true;
    try {
      await api(method, path);
    } catch (error) {
      if (!(error instanceof PortalError)) throw error;
      desk.tell(note, ...desk.explain(error));
    }
    await feed.refresh();
    element.disabled = false; // if the button still exists, it can be pressed again
  };
  const path = `api/jobs/${job.id}`;
  /**
   * @param {string} key
   * @param {"POST" | "DELETE"} method
   * @param {string} at
   */
  const button = (key, method, at) => {
    const element = make("button", { type: "button", class: "vv-quiet" }, desk.t(key));
    element.onclick = () => act(method, at)(element);
    return element;
  };
  if (isActive(job)) return [button("cancel", "DELETE", path), note];
  if (job.state === "done" && job.kind === "clip") {
    return [askingBack(desk, { ask: "forget", question: "forgetClip", act: act("DELETE", path) }), note];
  }
  const forget = button("forget", "DELETE", path);
  return job.retryable ? [button("retry", "POST", `${path}/retry`), forget, note] : [forget, note];
}

/**
 * Make a button that asks for confirmation before it does something that cannot be undone. `ask` and `question` are
 * keys of texts. `act` is called with the button that was pressed.
 * @param {Desk} desk
 * @param {{ask: string, question: string, act: (button: HTMLButtonElement) => void}} what
 */
export function askingBack(desk, { ask, question, act }) {
  /**
   * @param {string} key
   * @param {string} kind
   */
  const button = (key, kind) => make("button", { type: "button", class: kind }, desk.t(key));
  const first = button(ask, "vv-quiet vv-danger");
  const [sure, keep] = [button("deleteSure", "vv-button vv-danger"), button("keep", "vv-quiet")];
  const place = make("span", { class: "vv-actions vv-asking" }, first);
  first.onclick = () => {
    place.replaceChildren(make("span", {}, desk.t(question)), sure, keep);
    keep.focus();
  };
  keep.onclick = () => {
    place.replaceChildren(first);
    first.focus();
  };
  sure.onclick = () => act(sure);
  return place;
}
