/** The language of the page, and what the page remembers about a viewer. */

/** @typedef {import("./types/api.d.ts").Language} Language */

const LANGUAGE = "vivavoce.language";

/** @returns {Language} */
export function language() {
  const asked = new URLSearchParams(location.search).get("lang") || remembered(LANGUAGE) || navigator.language;
  return asked.toLowerCase().startsWith("zh") ? "zh" : "en";
}

/** @param {Language} code */
export function setLanguage(code) {
  remember(LANGUAGE, code);
  const address = new URL(location.href);
  if (address.searchParams.has("lang")) {
    address.searchParams.delete("lang");
    history.replaceState(history.state, "", address);
  }
  document.dispatchEvent(new CustomEvent("vivavoce:language", { detail: code }));
}

/**
 * Return what was stored under a key, or null. Some embedded pages may not use storage; then a choice lasts only as
 * long as the page.
 * @param {string} key
 */
export function remembered(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/**
 * @param {string} key
 * @param {string} value
 */
export function remember(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Storage is refused, so the value is not kept beyond this page.
  }
}

/** Forget this visit, above all the conversation, since the next person here may be somebody else. */
export function forgetVisit() {
  try {
    sessionStorage.clear();
  } catch {
    // Storage is refused, so nothing was kept.
  }
}

/**
 * Return an object that was stored as JSON, or an empty one. Other scripts may have written there, so the types of its
 * fields are not certain.
 * @param {string} key
 * @returns {Record<string, unknown>}
 */
export function recall(key) {
  try {
    const kept = JSON.parse(remembered(key) ?? "null");
    return kept && typeof kept === "object" ? kept : {};
  } catch {
    return {};
  }
}
