/**
 * The panel of voices and lip-syncs: the menus, a line about the chosen voice, and which choices are not ready here.
 */

import { find, make, withCode } from "../dom.js";

/**
 * @typedef {import("../types/api.d.ts").Catalogue} Catalogue
 * @typedef {import("../types/api.d.ts").Choice} Choice
 * @typedef {import("../types/api.d.ts").Texts} Texts
 *
 * @typedef {"tts" | "lipsync"} Kind
 * @typedef {Kind | "voice"} Name
 * @typedef {Partial<Record<Name, string>> & {speed?: number}} Chosen missing fields: the server chooses
 */

/** @type {Kind[]} */
const KINDS = ["tts", "lipsync"];
/** @type {Name[]} */
const NAMES = ["tts", "voice", "lipsync"];

export class Choices {
  /**
   * @param {HTMLDetailsElement} panel
   * @param {{wished: Chosen, changed: (chosen: Chosen) => void, reachable: () => Promise<boolean>}} page wished: what
   *     was chosen on an earlier visit; changed: the viewer has chosen; reachable: resolves to whether online voices
   *     are available now
   */
  constructor(panel, { wished, changed, reachable }) {
    this.panel = panel;
    /** @type {Catalogue} */
    this.catalogue = { tts: [], lipsync: [], defaults: {} };
    this.wished = wished; // shown when the menus are filled
    /** @type {Texts} */
    this.texts = {};
    this.isDebugging = new URLSearchParams(location.search).has("debug");
    this.isReachable = true; // whether the service of the online voices was reachable at the last check
    this.speed = find(panel, "[name=speed]", HTMLInputElement);
    /** @type {number | undefined} undefined: the portal's own speed */
    this.wishedSpeed = typeof wished.speed === "number" ? wished.speed : undefined; // stored values may be of any type
    this.speed.oninput = () => {
      this.wishedSpeed = Number(this.speed.value);
      this.tellSpeed();
    };
    this.menu("tts").onchange = () => {
      this.fillVoices();
      this.fillSpeeds();
    };
    panel.ontoggle = () => {
      if (panel.open) this.look(reachable);
    };
    panel.onchange = () => {
      this.wished = {};
      changed(this.chosen());
    };
  }

  /**
   * Check which voices are available now, since the viewer has opened the panel.
   * @param {() => Promise<boolean>} reachable
   */
  async look(reachable) {
    const isReachable = await reachable();
    if (isReachable === this.isReachable) return;
    this.isReachable = isReachable;
    this.fill(this.catalogue, this.texts);
  }

  /** @param {Name} name */
  menu(name) {
    return find(this.panel, `[name=${name}]`, HTMLSelectElement);
  }

  /**
   * Return the choices. Those are undefined that have nothing to choose from, or are left to the server.
   * @returns {Chosen}
   */
  chosen() {
    const speed = Number(this.speed.value);
    const isOwn = this.speed.disabled || this.wishedSpeed === undefined || speed === this.usualSpeed;
    const names = Object.fromEntries(NAMES.map((name) => [name, this.menu(name).value || undefined]));
    return { ...names, speed: isOwn ? undefined : speed };
  }

  /** The portal's own speed. */
  get usualSpeed() {
    return this.catalogue.defaults.speed ?? 1;
  }

  /**
   * Show what a script has asked for, as far as the menus offer it.
   * @param {Chosen} wished
   */
  show(wished) {
    this.wished = Object.fromEntries(NAMES.filter((name) => wished[name]).map((name) => [name, wished[name]]));
    this.wishedSpeed = wished.speed ?? this.wishedSpeed;
    this.fill(this.catalogue, this.texts);
  }

  /**
   * Show what is in force as the choice, instead of what the menus say.
   * @param {Chosen} chosen
   */
  putBack(chosen) {
    this.wished = {};
    this.wishedSpeed = chosen.speed;
    for (const kind of KINDS) this.menu(kind).value = chosen[kind] ?? this.catalogue.defaults[kind] ?? "";
    this.fillVoices();
    this.menu("voice").value = chosen.voice ?? "";
    this.fillSpeeds();
  }

  /**
   * @param {Catalogue} catalogue
   * @param {Texts} texts
   */
  fill(catalogue, texts) {
    this.catalogue = catalogue;
    this.texts = texts;
    for (const kind of KINDS) {
      const menu = this.menu(kind);
      const before = menu.value;
      menu.replaceChildren(...this.offered(kind).map((backend) => this.option(kind, backend)));
      /** @param {string | undefined} name */
      const fits = (name) => [...menu.options].some(({ value, disabled }) => value && !disabled && value === name);
      menu.value = [this.wished[kind], before, catalogue.defaults[kind]].find(fits) ?? "";
    }
    this.fillVoices();
    this.fillSpeeds();
    this.fillLacking();
  }

  /** Give the slider the range of the chosen synthesizer. */
  fillSpeeds() {
    const tts = this.catalogue.tts.find(({ name }) => name === this.menu("tts").value);
    const [slowest, fastest] = tts?.speeds ?? [1, 1];
    this.speed.disabled = slowest === fastest;
    this.speed.min = String(slowest);
    this.speed.max = String(fastest);
    this.speed.value = String(this.wishedSpeed ?? this.usualSpeed); // the browser takes the nearest value in the range
    this.tellSpeed();
  }

  tellSpeed() {
    const times = Number(this.speed.value).toFixed(2).replace(/0$/, "");
    const told = this.speed.disabled ? this.texts.oneSpeed : this.texts.speedTimes?.replace("{times}", times);
    this.speed.setAttribute("aria-valuetext", told ?? "");
    find(this.panel, ".vv-speed output", HTMLElement).textContent = told ?? "";
  }

  /**
   * Return the backends to offer. Those that only serve measurements are offered with ?debug in the page's address. The
   * portal's own choice is always offered.
   * @param {Kind} kind
   */
  offered(kind) {
    const { defaults } = this.catalogue;
    return this.catalogue[kind].filter(
      ({ name, measuring }) => !measuring || this.isDebugging || name === defaults[kind],
    );
  }

  /**
   * @param {Kind} kind
   * @param {Choice} choice
   */
  option(kind, { name, ready }) {
    const label = this.nameOf(kind, name);
    const option = new Option(ready ? label : `${label} · ${this.texts.notReady}`, name);
    option.disabled = !ready;
    return option;
  }

  /**
   * @param {Kind} kind
   * @param {string} name
   */
  nameOf(kind, name) {
    return this.texts[`${kind}.${name}`] || name;
  }

  fillVoices() {
    const name = this.menu("tts").value;
    const tts = this.catalogue.tts.find((one) => one.name === name);
    const menu = this.menu("voice");
    const chosen = this.wished.voice || menu.value || this.catalogue.defaults.voice || "";
    const voices = tts?.voices ?? [];
    const options = voices.map((voice) => this.voiceOption(voice, tts?.online));
    menu.replaceChildren(new Option(this.texts.voiceDefault, ""), ...options);
    menu.value = voices.includes(chosen) ? chosen : ""; // kept while it cannot be reached, since that may pass
    find(this.panel, ".vv-told", HTMLElement).textContent = this.texts[`told.${name}`] ?? "";
  }

  /**
   * @param {string} voice
   * @param {string[]} [online] voices that need a service on the network
   */
  voiceOption(voice, online = []) {
    const isAway = !this.isReachable && online.includes(voice);
    const option = new Option(isAway ? `${voice} · ${this.texts.unreachable}` : voice, voice);
    option.disabled = isAway;
    return option;
  }

  /** List the choices that are not ready here, and what to do about each. */
  fillLacking() {
    const lacking = KINDS.flatMap((kind) =>
      this.offered(kind).filter(({ ready }) => !ready).map((backend) => this.lackingItem(kind, backend)),
    );
    const part = find(this.panel, ".vv-lacking", HTMLElement);
    const [summary, list] = part.children;
    part.hidden = !lacking.length;
    summary.textContent = this.texts.lacking.replace("{count}", String(lacking.length));
    list.replaceChildren(...lacking);
  }

  /**
   * @param {Kind} kind
   * @param {Choice} choice
   */
  lackingItem(kind, { name, remedy, fetched }) {
    // The server's own sentence is more exact, but English. Only the Chinese page has texts of its own for this.
    const own = fetched ? this.texts["hint.unready"] : this.texts["hint.backend_unavailable"];
    const told = own ? own.replaceAll("{backend}", () => name) : remedy;
    return make("li", {}, make("strong", {}, this.nameOf(kind, name)), make("p", {}, ...withCode(told)));
  }
}
