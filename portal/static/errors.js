/** Explains errors in the language of the page. Their texts, by code, come from portal/ui/error_texts.py. */

import { make, withCode } from "./dom.js";

/**
 * @typedef {import("./types/api.d.ts").ErrorView} ErrorView
 * @typedef {import("./types/api.d.ts").Texts} Texts
 */

/** An error as the server reports it. */
export class PortalError extends Error {
  /**
   * `job`, `avatar` and `lipsync` are set if an avatar has to be prepared for a lip-sync first. `report` is set if a
   * source has no usable face.
   * @param {ErrorView & {job?: string, avatar?: string, lipsync?: string}} told
   */
  constructor({ code, message, hint, cause, job, avatar, lipsync, report }) {
    super(message);
    this.code = code;
    this.hint = hint || "";
    this.cause = cause;
    this.job = job;
    this.avatar = avatar;
    this.lipsync = lipsync;
    this.report = report;
  }
}

/**
 * Error codes, by HTTP status, for answers without an error of ours. Such an answer comes from a proxy between the page
 * and the server.
 * @type {Record<number, string>}
 */
const OF_OTHERS = {
  401: "proxy_refused",
  403: "proxy_refused",
  407: "proxy_refused",
  413: "proxy_too_large",
  429: "too_often",
  502: "gateway",
  503: "gateway",
  504: "gateway",
};

/**
 * Return the error that an HTTP answer stands for.
 * @param {number} status
 * @param {{error?: ErrorView} | null} answer its JSON, or null if it had none
 * @returns {ErrorView}
 */
export function errorOf(status, answer) {
  if (answer?.error?.code) return answer.error;
  return { code: OF_OTHERS[status] ?? "http_error", message: `HTTP ${status}`, hint: "" };
}

/**
 * Return the cause and the remedy in words for a person: the page's texts for the error's code, or else the server's
 * own sentences. On a page in another language than the server's, those sentences become `detail`, which is folded
 * away. `cause` selects one of several texts of a code; if the page does not know it yet, the code's own text is used.
 * @param {ErrorView} error
 * @param {Texts} texts of the page's language
 */
export function errorText({ code, message = "", hint = "", cause = "" }, texts) {
  const key = texts[`error.${code}.${cause}`] ? `${code}.${cause}` : code;
  const [own, unknown] = [texts[`error.${key}`], texts["error.unknown"]];
  const sentences = `${message} ${hint}`.trim();
  const remedy = texts[`hint.${key}`] ?? (unknown ? "" : hint);
  if (own) return { cause: own, remedy, detail: unknown ? sentences : "" };
  if (!unknown) return { cause: message, remedy: hint, detail: "" };
  return { cause: unknown.replace("{code}", () => code), remedy: texts["hint.unknown"], detail: sentences };
}

/**
 * Return the same as errorText(), as elements.
 * @param {ErrorView} error
 * @param {Texts} texts of the page's language
 */
export function errorElements(error, texts) {
  const { cause, remedy, detail } = errorText(error, texts);
  const summary = make("summary", {}, texts.details);
  const elements = [make("strong", {}, cause)];
  if (remedy) elements.push(make("span", {}, ...withCode(remedy)));
  if (detail) elements.push(make("details", {}, summary, make("small", { lang: "en" }, detail)));
  return elements;
}
