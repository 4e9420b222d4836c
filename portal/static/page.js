/** What the whole page shares: its language, whether it is light or dark, and making elements. */

const LANGUAGE = "vivavoce.language";
const DARK = "vivavoce.dark";
const TABS = "#vv-tabs [data-tab-id]";

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
  apply(code);
}

/** Put every text of `root` (data-t, data-t-title, data-t-placeholder) into a language. */
export function translate(root, texts) {
  for (const element of root.querySelectorAll("[data-t]")) element.textContent = texts[element.dataset.t];
  for (const element of root.querySelectorAll("[data-t-title]")) {
    element.title = texts[element.dataset.tTitle];
    element.setAttribute("aria-label", element.title);
  }
  for (const element of root.querySelectorAll("[data-t-placeholder]")) {
    element.placeholder = texts[element.dataset.tPlaceholder];
  }
}

/** An element with attributes (or properties, for those that are no strings) and children. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "string") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** A share of 0 to 1, as both languages of the page write it. */
export function percent(share) {
  return `${Math.round(100 * share)}%`;
}

/** A text whose `commands` stand out, to be copied. */
export function withCode(text) {
  return text.split("`").map((part, place) => (place % 2 ? make("code", {}, part) : part));
}

function apply(code) {
  document.documentElement.lang = code === "zh" ? "zh-CN" : "en";
  document.dispatchEvent(new CustomEvent("vivavoce:language", { detail: code }));
}

/** Storage is refused in some embedded pages; then the choice lasts as long as the page. */
function remembered(key) {
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

class VivavoceHeader extends HTMLElement {
  connectedCallback() {
    if (remembered(DARK)) document.body.classList.toggle("dark", remembered(DARK) === "yes");
    this.texts = JSON.parse(this.dataset.texts);
    this.show(language());
    this.querySelector(".vv-language").onclick = () => setLanguage(this.code === "zh" ? "en" : "zh");
    this.querySelector(".vv-dark").onclick = () => {
      remember(DARK, document.body.classList.toggle("dark") ? "yes" : "no");
    };
    this.onLanguage = ({ detail }) => this.show(detail);
    document.addEventListener("vivavoce:language", this.onLanguage);
    this.followTabs();
  }

  disconnectedCallback() {
    document.removeEventListener("vivavoce:language", this.onLanguage);
    if (this.tabs) this.tabs.disconnect();
  }

  show(code) {
    this.code = code;
    document.documentElement.lang = code === "zh" ? "zh-CN" : "en";
    translate(this, this.texts[code]);
    this.nameTabs();
  }

  /** Gradio draws the tabs after this header, and anew when the window changes. */
  followTabs() {
    const tabs = document.querySelector("#vv-tabs .tab-wrapper");
    if (!tabs) return requestAnimationFrame(() => this.followTabs());
    this.tabs = new MutationObserver(() => this.nameTabs());
    this.tabs.observe(tabs, { childList: true, subtree: true });
    this.nameTabs();
    this.keepTab(tabs);
  }

  nameTabs() {
    for (const tab of document.querySelectorAll(TABS)) {
      const name = this.texts[this.code][`tab.${tab.dataset.tabId}`];
      if (tab.textContent !== name) tab.textContent = name;
      tab.dataset.named = "";
    }
  }

  /** A reload comes back to the same tab; a new visit begins with the first one. */
  keepTab(tabs) {
    tabs.addEventListener("click", ({ target }) => {
      const tab = target.closest("[data-tab-id]");
      if (tab) history.replaceState({ ...history.state, tab: tab.dataset.tabId }, "");
    });
    const kept = history.state?.tab;
    if (kept) [...tabs.querySelectorAll("[data-tab-id]")].find((tab) => tab.dataset.tabId === kept)?.click();
  }
}

customElements.define("vivavoce-header", VivavoceHeader);
