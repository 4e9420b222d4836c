/** The language of the page, and what it remembers of a viewer. */

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
 * Storage is refused in some embedded pages; then the choice lasts as long as the page.
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
    // Nothing to do: it holds for this page.
  }
}

/** What this visit has left behind, the conversation above all: whoever comes next is somebody else. */
export function forgetVisit() {
  try {
    sessionStorage.clear();
  } catch {
    // Refused storage keeps nothing.
  }
}

/**
 * What was remembered as JSON. Anybody may have written there, so nothing of it is certain but that it is an object.
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
