/** What went wrong, in the language of the page. The words by their codes are those of portal/ui/error_texts.py. */

import { make, withCode } from "./dom.js";

/**
 * @typedef {import("./types/api.d.ts").ErrorView} ErrorView
 * @typedef {import("./types/api.d.ts").Texts} Texts
 */

/** What went wrong, as the server tells it. */
export class PortalError extends Error {
  /**
   * Of an avatar that has to be prepared for a lip-sync first: `job`, `avatar`, `lipsync`. Of a source without a usable
   * face: `report`.
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
 * What an answer without an error of ours means, by its HTTP status: something between the page and the server spoke.
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
 * An answer that was refused, as an error.
 * @param {number} status
 * @param {{error?: ErrorView} | null} answer its JSON, or null if it had none
 * @returns {ErrorView}
 */
export function errorOf(status, answer) {
  if (answer?.error?.code) return answer.error;
  return { code: OF_OTHERS[status] ?? "http_error", message: `HTTP ${status}`, hint: "" };
}

/**
 * The cause and the remedy for a person. Where the page's language is not the server's, they are told by the code, and
 * the server's own sentences are `detail`, to be folded away. `cause` says which of several things a code stands for;
 * one that is newer than the texts is told by the code alone.
 * @param {ErrorView} error
 * @param {Texts} texts of the page's language
 */
export function told({ code, message = "", hint = "", cause = "" }, texts) {
  const key = texts[`error.${code}.${cause}`] ? `${code}.${cause}` : code;
  const [own, unknown] = [texts[`error.${key}`], texts["error.unknown"]];
  const sentences = `${message} ${hint}`.trim();
  const remedy = texts[`hint.${key}`] ?? (unknown ? "" : hint);
  if (own) return { cause: own, remedy, detail: unknown ? sentences : "" };
  if (!unknown) return { cause: message, remedy: hint, detail: "" };
  return { cause: unknown.replace("{code}", () => code), remedy: texts["hint.unknown"], detail: sentences };
}

/**
 * The same as elements.
 * @param {ErrorView} error
 * @param {Texts} texts of the page's language
 */
export function explained(error, texts) {
  const { cause, remedy, detail } = told(error, texts);
  const summary = make("summary", {}, texts.details);
  const elements = [make("strong", {}, cause)];
  if (remedy) elements.push(make("span", {}, ...withCode(remedy)));
  if (detail) elements.push(make("details", {}, summary, make("small", { lang: "en" }, detail)));
  return elements;
}
