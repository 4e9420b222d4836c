/** The header: the language, light or dark, and the tabs by their names. */

import { translate } from "./dom.js";
import { language, remember, remembered, setLanguage } from "./page.js";
import { header as TEXTS } from "./texts.js";

const DARK = "vivavoce.dark";
const TABS = "#vv-tabs [data-tab-id]";

class VivavoceHeader extends HTMLElement {
  connectedCallback() {
    if (remembered(DARK)) document.body.classList.toggle("dark", remembered(DARK) === "yes");
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
    translate(this, TEXTS[code]);
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
      const name = TEXTS[this.code][`tab.${tab.dataset.tabId}`];
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
