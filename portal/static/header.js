/** The header: the language switch, light or dark, logging out, and the names of the tabs. */

import { find, translate } from "./dom.js";
import { forgetVisit, language, remember, remembered, setLanguage } from "./page.js";
import { portalUrl } from "./server.js";
import { header as TEXTS } from "./texts.js";

const DARK = "vivavoce.dark";
/** @typedef {import("./types/api.d.ts").Language} Language */

const TAB = "[data-tab-id]";

class VivavoceHeader extends HTMLElement {
  /** @type {Language} */
  #code = "en";
  /** @type {MutationObserver?} */
  #tabs = null;
  #left = new AbortController();

  connectedCallback() {
    if (remembered(DARK)) document.body.classList.toggle("dark", remembered(DARK) === "yes");
    this.show(language());
    find(this, ".vv-language", HTMLElement).onclick = () => setLanguage(this.#code === "zh" ? "en" : "zh");
    find(this, ".vv-dark", HTMLElement).onclick = () => {
      remember(DARK, document.body.classList.toggle("dark") ? "yes" : "no");
    };
    this.#left = new AbortController();
    document.addEventListener("vivavoce:language", ({ detail }) => this.show(detail), this.#left);
    this.followTabs();
    this.showWho();
  }

  disconnectedCallback() {
    this.#left.abort();
    this.#tabs?.disconnect();
  }

  /** @param {Language} code */
  show(code) {
    this.#code = code;
    document.documentElement.lang = code === "zh" ? "zh-CN" : "en";
    translate(this, TEXTS[code]);
    this.nameTabs();
  }

  /**
   * Show who has logged in, if this portal has logins. Classes on <body> let the style sheet hide what this person may
   * not do.
   */
  async showWho() {
    const answer = await fetch(portalUrl("api/me")).catch(() => null);
    /** @type {import("./types/api.d.ts").PersonView?} */
    const me = answer?.ok ? await answer.json().catch(() => null) : null;
    if (!me?.login) return;
    document.body.classList.add("vv-logins");
    document.body.classList.toggle("vv-only-talks", me.role === "viewer");
    const button = find(this, ".vv-logout", HTMLButtonElement);
    button.hidden = false;
    if (me.name) button.title = TEXTS[this.#code].log_out_as.replace("{name}", me.name);
    button.onclick = async () => {
      await fetch(portalUrl("logout"), { method: "POST", redirect: "manual" }).catch(() => null);
      addEventListener("pagehide", forgetVisit); // not earlier: until then the running session saves the conversation
      location.assign(portalUrl(""));
    };
  }

  /** Keep the tabs named. Gradio draws them after this header, and again when the window changes its size. */
  followTabs() {
    const tabs = document.querySelector("#vv-tabs .tab-wrapper");
    if (!tabs) {
      requestAnimationFrame(() => this.followTabs());
      return;
    }
    this.#tabs = new MutationObserver(() => this.nameTabs());
    this.#tabs.observe(tabs, { childList: true, subtree: true });
    this.nameTabs();
    this.keepTab(tabs);
  }

  nameTabs() {
    for (const tab of allTabs(document)) {
      const name = TEXTS[this.#code][`tab.${tab.dataset.tabId}`];
      if (tab.textContent !== name) tab.textContent = name;
      tab.dataset.named = "";
    }
  }

  /**
   * Remember the open tab in the history entry, so that a reload comes back to it. A new visit begins at the first tab.
   * @param {Element} tabs
   */
  keepTab(tabs) {
    tabs.addEventListener("click", ({ target }) => {
      const tab = allTabs(tabs).find((one) => one.contains(/** @type {Node} */ (target)));
      if (tab) history.replaceState({ ...history.state, tab: tab.dataset.tabId }, "");
    });
    const kept = history.state?.tab;
    if (kept) allTabs(tabs).find((tab) => tab.dataset.tabId === kept)?.click();
  }
}

/** @param {ParentNode} root */
function allTabs(root) {
  return [.../** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll(TAB))];
}

customElements.define("vivavoce-header", VivavoceHeader);
