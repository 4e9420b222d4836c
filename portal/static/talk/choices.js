/** The panel of voices and lip-syncs: what can be chosen, what the choice means, and what is not ready here. */

import { find, make, withCode } from "../dom.js";

/**
 * @typedef {import("../types/api.d.ts").Catalogue} Catalogue
 * @typedef {import("../types/api.d.ts").Choice} Choice
 * @typedef {import("../types/api.d.ts").Texts} Texts
 *
 * @typedef {"tts" | "lipsync"} Kind
 * @typedef {Kind | "voice"} Name
 * @typedef {Partial<Record<Name, string>> & {speed?: number}} Chosen what is left out, the server chooses
 */

/** @type {Kind[]} */
const KINDS = ["tts", "lipsync"];
/** @type {Name[]} */
const NAMES = ["tts", "voice", "lipsync"];

export class Choices {
  /**
   * @param {HTMLDetailsElement} panel
   * @param {{wished: Chosen, changed: (chosen: Chosen) => void, reachable: () => Promise<boolean>}} page wished: what was
   *     chosen on an earlier visit; changed: the viewer has chosen; reachable: whether online voices can be had now
   */
  constructor(panel, { wished, changed, reachable }) {
    this.panel = panel;
    /** @type {Catalogue} */
    this.catalogue = { tts: [], lipsync: [], defaults: {} };
    this.wished = wished; // shown once it can be
    /** @type {Texts} */
    this.texts = {};
    this.isDebugging = new URLSearchParams(location.search).has("debug");
    this.isReachable = true; // the service of the online voices, as far as is known
    this.speed = find(panel, "[name=speed]", HTMLInputElement);
    /** @type {number | undefined} undefined: as the portal says */
    this.wishedSpeed = typeof wished.speed === "number" ? wished.speed : undefined; // anybody may have written there
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
   * Who looks at the voices sees which of them can be had now.
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
   * Each undefined while there is nothing to choose from or where it is the server's own.
   * @returns {Chosen}
   */
  chosen() {
    const speed = Number(this.speed.value);
    const isOwn = this.speed.disabled || this.wishedSpeed === undefined || speed === this.usualSpeed;
    const names = Object.fromEntries(NAMES.map((name) => [name, this.menu(name).value || undefined]));
    return { ...names, speed: isOwn ? undefined : speed };
  }

  /** The portal's own. */
  get usualSpeed() {
    return this.catalogue.defaults.speed ?? 1;
  }

  /**
   * What a script has asked for is seen here too, as far as it is one of the choices.
   * @param {Chosen} wished
   */
  show(wished) {
    this.wished = Object.fromEntries(NAMES.filter((name) => wished[name]).map((name) => [name, wished[name]]));
    this.wishedSpeed = wished.speed ?? this.wishedSpeed;
    this.fill(this.catalogue, this.texts);
  }

  /**
   * What is in force is seen as the choice, whatever the menus say.
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

  /** The slider goes as far as the chosen synthesizer can. */
  fillSpeeds() {
    const tts = this.catalogue.tts.find(({ name }) => name === this.menu("tts").value);
    const [slowest, fastest] = tts?.speeds ?? [1, 1];
    this.speed.disabled = slowest === fastest;
    this.speed.min = String(slowest);
    this.speed.max = String(fastest);
    this.speed.value = String(this.wishedSpeed ?? this.usualSpeed); // the nearest that there is
    this.tellSpeed();
  }

  tellSpeed() {
    const times = Number(this.speed.value).toFixed(2).replace(/0$/, "");
    const told = this.speed.disabled ? this.texts.oneSpeed : this.texts.speedTimes?.replace("{times}", times);
    this.speed.setAttribute("aria-valuetext", told ?? "");
    find(this.panel, ".vv-speed output", HTMLElement).textContent = told ?? "";
  }

  /**
   * Those that only measure are for who looks for faults; the portal's own choice is always offered.
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
    menu.value = voices.includes(chosen) ? chosen : ""; // also while it cannot be reached: that may pass
    find(this.panel, ".vv-told", HTMLElement).textContent = this.texts[`told.${name}`] ?? "";
  }

  /**
   * @param {string} voice
   * @param {string[]} [online] those that need a service on the network
   */
  voiceOption(voice, online = []) {
    const isAway = !this.isReachable && online.includes(voice);
    const option = new Option(isAway ? `${voice} · ${this.texts.unreachable}` : voice, voice);
    option.disabled = isAway;
    return option;
  }

  /** Which choices are not ready here, and what to do about it. */
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
    // In Chinese by what is known of it; in English the server's sentence is more exact.
    const own = fetched ? this.texts["hint.unready"] : this.texts["hint.backend_unavailable"];
    const told = own ? own.replaceAll("{backend}", () => name) : remedy;
    return make("li", {}, make("strong", {}, this.nameOf(kind, name)), make("p", {}, ...withCode(told)));
  }
}
