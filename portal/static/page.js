/** The language of the page, and what it remembers of a viewer. */

const LANGUAGE = "vivavoce.language";

/** @returns {"en"|"zh"} */
export function language() {
  const asked = new URLSearchParams(location.search).get("lang") || remembered(LANGUAGE) || navigator.language;
  return asked.toLowerCase().startsWith("zh") ? "zh" : "en";
}

export function setLanguage(code) {
  remember(LANGUAGE, code);
  const address = new URL(location.href);
  if (address.searchParams.has("lang")) {
    address.searchParams.delete("lang");
    history.replaceState(history.state, "", address);
  }
  document.dispatchEvent(new CustomEvent("vivavoce:language", { detail: code }));
}

/** Storage is refused in some embedded pages; then the choice lasts as long as the page. */
export function remembered(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

export function remember(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Nothing to do: it holds for this page.
  }
}

/** What was remembered as JSON, or `otherwise`: anybody may have written there. */
export function recall(key, otherwise) {
  try {
    const kept = JSON.parse(remembered(key));
    return kept && typeof kept === "object" ? kept : otherwise;
  } catch {
    return otherwise;
  }
}
