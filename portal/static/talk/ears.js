/** The microphone's controls: the button with its level, the space bar, and the choices in the panel. */

import { find } from "../dom.js";
import { microphones } from "../microphone.js";

/**
 * @typedef {import("../errors.js").PortalError} PortalError
 * @typedef {import("../listening.js").ListenChoice} ListenChoice
 * @typedef {import("../listening.js").Listening} Listening
 * @typedef {import("../types/api.d.ts").Language} Language
 * @typedef {import("../types/api.d.ts").Texts} Texts
 * @typedef {import("../types/messages.d.ts").ListenMode} ListenMode
 *
 * What a viewer has chosen. way: "open" or "hold" (hold the button to talk); spoken: the spoken language, "page" for
 * the page's language, or "" to have it recognised.
 * @typedef {{device?: string, way?: string, spoken?: string}} EarsWish
 */

const FAINT_DB = -60;
const LOUD_DB = -12;
const INTERACTIVE = "a, button, input, select, textarea, summary, video, [contenteditable], [role=tab]";

export class EarsControl {
  /**
   * @param {HTMLElement} root the Talk tab
   * @param {Listening} listening
   * @param {{
   *   wished: EarsWish, changed: (wish: EarsWish) => void, listen: (mode: ListenMode, choice: ListenChoice) => Promise<void>,
   *   isOpen: () => boolean, language: () => Language, fault: (error: PortalError) => void,
   * }} page wished: what was chosen on an earlier visit; isOpen: whether there is a session; fault: called with the
   *     reason when listening fails
   * @param {AbortSignal} signal aborted when the tab is gone
   */
  constructor(root, listening, page, signal) {
    this.listening = listening;
    this.page = page;
    this.button = find(root, "#vv-mic", HTMLButtonElement);
    this.panel = find(root, ".vv-ears", HTMLFieldSetElement);
    this.meter = find(this.panel, "meter", HTMLMeterElement);
    /** @type {Texts} */
    this.texts = {};
    this.isHeld = false;
    this.menu("way").value = page.wished.way === "hold" ? "hold" : "open";
    this.menu("spoken").value = ["page", "en", "zh", ""].find((one) => one === page.wished.spoken) ?? "page";
    this.panel.onchange = (event) => {
      event.stopPropagation(); // these choices are handled here, not with those around them
      this.change();
    };
    this.button.onclick = ({ detail }) => {
      // A screen reader can press a button but not hold it (detail is 0 then), so each press begins or ends the speech.
      if (this.isOpenWay || detail === 0) this.set(this.listening.mode === "off");
    };
    this.button.onpointerdown = (event) => {
      if (this.isOpenWay || event.button !== 0) return;
      this.button.setPointerCapture(event.pointerId);
      this.hold();
    };
    this.button.onpointerup = this.button.onpointercancel = () => this.letGo();
    this.button.oncontextmenu = (event) => event.preventDefault(); // no menu after a long touch
    addEventListener("keydown", (event) => this.pressKey(event), { capture: true, signal });
    addEventListener("keyup", (event) => this.releaseKey(event), { capture: true, signal });
    addEventListener("blur", () => this.letGo(), { signal });
    listening.on("changed", () => this.show());
    listening.on("level", (level) => this.showLevel(level));
    listening.on("fault", (fault) => page.fault(fault));
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this.fillDevices(), { signal });
  }

  get isOpenWay() {
    return this.menu("way").value === "open";
  }

  /** @returns {ListenChoice} */
  get choice() {
    const spoken = this.menu("spoken").value;
    return { device: this.menu("microphone").value, language: spoken === "page" ? this.page.language() : spoken };
  }

  /** @param {"microphone" | "way" | "spoken"} name */
  menu(name) {
    return find(this.panel, `[name=${name}]`, HTMLSelectElement);
  }

  /** @param {Texts} texts */
  speak(texts) {
    this.texts = texts;
    this.fillDevices();
    this.show();
  }

  /** Switch the microphone on or off. Throws a PortalError. @param {boolean} on */
  async listen(on) {
    await this.page.listen(on ? (this.isOpenWay ? "open" : "hold") : "off", this.choice);
    this.fillDevices(); // once a microphone is allowed, the browser tells the names of all
  }

  /** @param {boolean} on */
  async set(on) {
    try {
      await this.listen(on);
    } catch (error) {
      this.isHeld = false;
      this.page.fault(/** @type {PortalError} */ (error));
    }
  }

  hold() {
    if (this.isHeld) return;
    this.isHeld = true;
    this.set(true);
  }

  letGo() {
    if (!this.isHeld) return;
    this.isHeld = false;
    this.set(false);
  }

  /**
   * The space bar is held to talk, unless it has another use where the focus is.
   * @param {KeyboardEvent} event
   */
  pressKey(event) {
    if (event.code !== "Space" || event.isComposing || this.isOpenWay || !this.page.isOpen()) return;
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey || !this.isFree(event.target)) return;
    event.preventDefault();
    if (!event.repeat) this.hold();
  }

  /** @param {KeyboardEvent} event */
  releaseKey(event) {
    if (event.code !== "Space" || !this.isHeld) return;
    event.preventDefault();
    this.letGo();
  }

  /**
   * Whether the space bar is free at an element: it types no text and presses no button there. In an empty text box it
   * is free, too, since leading spaces are cut off anyway.
   * @param {EventTarget?} target
   */
  isFree(target) {
    if (!this.button.checkVisibility() || !(target instanceof Element)) return false;
    if (target instanceof HTMLTextAreaElement) return !target.value;
    return target === this.button || !target.closest(INTERACTIVE);
  }

  /** Remember the choices. If the microphone is on, restart it with them. */
  async change() {
    const { listening } = this;
    this.page.changed({
      device: this.menu("microphone").value,
      way: this.menu("way").value,
      spoken: this.menu("spoken").value,
    });
    this.show();
    if (listening.mode === "off") return;
    await this.set(false);
    if (this.isOpenWay) await this.set(true);
  }

  async fillDevices() {
    const menu = this.menu("microphone");
    const chosen = menu.value || this.page.wished.device || "";
    const found = await microphones();
    menu.replaceChildren(
      new Option(this.texts.micDefault ?? "", ""),
      ...found.map(({ id, label }) => new Option(label, id)),
    );
    menu.value = found.some(({ id }) => id === chosen) ? chosen : "";
  }

  show() {
    const { button, listening, texts } = this;
    const isOn = listening.mode !== "off";
    button.setAttribute("aria-pressed", String(isOn));
    button.dataset.state = listening.state;
    button.title = texts[this.isOpenWay ? (isOn ? "micOff" : "micOn") : "micHold"] ?? "";
    button.setAttribute("aria-label", button.title);
    this.meter.hidden = !isOn;
    find(this.panel, ".vv-told", HTMLElement).textContent = texts[this.isOpenWay ? "tellOpen" : "tellHold"] ?? "";
    if (!isOn) this.showLevel(0);
  }

  /** @param {number} level RMS */
  showLevel(level) {
    const share = Math.max(0, Math.min(1, (20 * Math.log10(Math.max(level, 1e-5)) - FAINT_DB) / (LOUD_DB - FAINT_DB)));
    this.button.style.setProperty("--vv-level", share.toFixed(2));
    this.meter.value = share;
  }
}
