/** The base of the Avatars, Studio and Jobs tabs: their texts, their visibility, and how errors are shown. */

import { find, make, translate } from "../dom.js";
import { PortalError, errorElements } from "../errors.js";
import { feed, isActive } from "../jobs-feed.js";
import { language } from "../page.js";
import { desk as TEXTS } from "../texts.js";

/**
 * @typedef {import("../types/api.d.ts").ErrorView} ErrorView
 * @typedef {import("../types/api.d.ts").FaceReport} FaceReport
 * @typedef {import("../types/api.d.ts").JobView} JobView
 * @typedef {import("../types/api.d.ts").Language} Language
 *
 * The settings that the server wrote into the markup. ranges: minimum and maximum of each parameter.
 * @typedef {{voices: string[], ranges: Record<string, [number, number]>}} Settings
 */

const TAB_WITHIN_MS = 5000;

/**
 * Open a tab of the page. Resolves to its element, which is built if the tab was never open; null if that takes too
 * long.
 * @param {"talk" | "avatars" | "studio" | "jobs"} name
 */
export async function openTab(name) {
  /** @type {HTMLElement?} */ (document.querySelector(`#vv-tabs [data-tab-id="${name}"]`))?.click();
  const deadline = performance.now() + TAB_WITHIN_MS;
  while (!document.querySelector(`vivavoce-${name}`) && performance.now() < deadline) {
    await new Promise((drawn) => requestAnimationFrame(drawn));
  }
  return document.querySelector(`vivavoce-${name}`);
}

/**
 * Return a job's name. That is the name that the person gave, except for test clips, which the server names by itself.
 * @param {Pick<JobView, "id" | "name" | "speaker">} job
 * @param {Record<string, string>} texts
 */
export function jobName({ id, name, speaker }, texts) {
  return speaker && id.startsWith("test-") ? texts.testOf.replace("{avatar}", speaker) : name;
}

/** Base of the tabs' elements. */
export class Desk extends HTMLElement {
  /** @type {Language} */
  code = "en";
  /** @type {Settings} */
  settings = { voices: [], ranges: {} };
  inView = false;
  /** @type {AbortController?} null: this element is not on the page */
  #left = null;

  connectedCallback() {
    if (this.#left) return;
    const left = new AbortController();
    this.#left = left;
    this.settings = { ...this.settings, ...JSON.parse(this.dataset.settings ?? "{}") };
    this.build();
    this.setLanguage(language());
    document.addEventListener("vivavoce:language", ({ detail }) => this.setLanguage(detail), left);
    feed.addEventListener("jobs", () => this.show(feed.jobs ?? []), left);
    const onVisible = new IntersectionObserver(([entry]) => {
      this.inView = entry.isIntersecting;
      if (this.inView) this.opened();
      else feed.unwatch(this);
    });
    onVisible.observe(this);
    left.signal.addEventListener("abort", () => onVisible.disconnect());
    // When the viewer comes back from another window, something may have been made or deleted there.
    const onReturn = () => {
      if (this.inView && !document.hidden) this.opened();
    };
    addEventListener("focus", onReturn, left);
    document.addEventListener("visibilitychange", onReturn, left);
    for (const button of this.querySelectorAll("button")) {
      if (button.type === "submit") button.disabled = false; // until now they did nothing
    }
  }

  disconnectedCallback() {
    if (this.isConnected || !this.#left) return;
    this.#left.abort();
    this.#left = null;
    feed.unwatch(this);
  }

  /** Bind the markup. */
  build() {}

  /**
   * The feed has new answers.
   * @param {JobView[]} _jobs
   */
  show(_jobs) {}

  /** The tab became visible. */
  opened() {
    feed.watch(this);
  }

  translated() {}

  /** @param {Language} code */
  setLanguage(code) {
    this.code = code;
    translate(this, TEXTS[code]);
    const told = /** @type {NodeListOf<HTMLElement>} */ (this.querySelectorAll(".vv-note, .vv-gone"));
    for (const one of told) one.hidden = true; // its text is in the other language
    this.translated();
    if (feed.jobs) this.show(feed.jobs);
  }

  /**
   * Return a text by its key, with {values} filled in.
   * @param {string} key
   * @param {Record<string, string | number>} values
   */
  t(key, values = {}) {
    const text = TEXTS[this.code][key] ?? key;
    return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
  }

  /** The text in place of avatars while there are none. It says whether one is being made. */
  get noAvatarWords() {
    const making = feed.jobs?.some((job) => job.kind === "prepare" && isActive(job));
    return this.t(making ? "galleryMaking" : "galleryEmpty");
  }

  /** @param {string} key */
  has(key) {
    return key in TEXTS[this.code];
  }

  /** @param {number} seconds */
  duration(seconds) {
    const whole = Math.max(0, Math.round(seconds));
    if (whole < 60) return this.code === "zh" ? `${whole} 秒` : `${whole} s`;
    const [minutes, rest] = [Math.floor(whole / 60), whole % 60];
    return this.code === "zh" ? `${minutes} 分 ${rest} 秒` : `${minutes} min ${rest} s`;
  }

  /** @param {number} seconds since the epoch */
  clock(seconds) {
    const when = new Date(seconds * 1000);
    const today = when.toDateString() === new Date().toDateString();
    /** @type {Intl.DateTimeFormatOptions} */
    const time = { hour: "2-digit", minute: "2-digit" };
    /** @type {Intl.DateTimeFormatOptions} */
    const style = today ? time : { ...time, month: "short", day: "numeric" };
    return when.toLocaleString(this.code === "zh" ? "zh-CN" : "en-GB", style);
  }

  /** @param {JobView} job */
  jobName(job) {
    return jobName(job, TEXTS[this.code]);
  }

  /**
   * Return an error's cause and remedy as elements.
   * @param {ErrorView} error
   */
  explain(error) {
    return errorElements(error, TEXTS[this.code]);
  }

  /**
   * Do something that may fail. Meanwhile the buttons of `form` are disabled. An error is shown in its note.
   * @param {HTMLElement} form
   * @param {() => Promise<void>} action
   */
  async attempt(form, action) {
    const note = find(form, ".vv-note", HTMLElement);
    const buttons = form.querySelectorAll("button");
    note.hidden = true;
    for (const button of buttons) button.disabled = true;
    try {
      await action();
    } catch (error) {
      if (!(error instanceof PortalError)) throw error;
      this.tell(note, ...this.explain(error));
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  }

  /**
   * @param {HTMLElement} note
   * @param {(Node | string)[]} content
   */
  tell(note, ...content) {
    note.replaceChildren(...content);
    note.hidden = false;
  }

  /**
   * Make the strip of a face report: pictures with what was found in each.
   * @param {FaceReport} report
   * @param {(file: string) => string} addressOf returns the address of one of its files
   */
  strip(report, addressOf) {
    const figures = (report.strip ?? []).map((seen) => {
      const words = [this.t(`face.${seen.status}`)];
      if ((report.frames ?? 0) > 1) words.unshift(`${(seen.frame / 25).toFixed(1)} s`);
      if (!seen.used && seen.status === "ok") words.push(this.t("face.unused"));
      const picture = make("img", { src: addressOf(seen.file), alt: words.join(", "), loading: "lazy" });
      return make("figure", { "data-status": seen.status }, picture, make("figcaption", {}, words.join(" · ")));
    });
    return make("div", { class: "vv-strip" }, ...figures);
  }

  /**
   * Return a face report as a few sentences.
   * @param {FaceReport} report
   */
  reportWords(report) {
    if (!report.frames) return [];
    const concerns = (report.concerns ?? []).map((one) => this.t(`concern.${one}`)); // older avatars have none
    if (report.frames === 1) {
      if (report.counts.ok && concerns.length) return concerns;
      return [report.counts.ok ? this.t("oneGood") : this.t(`face.${report.runs[0][0]}`), ...concerns];
    }
    const words = [this.t("goodCount", { good: report.counts.ok, count: report.frames })];
    const [from, to] = report.used;
    if (to > from) words.push(this.t("usedPart", { from: (from / 25).toFixed(1), to: (to / 25).toFixed(1) }));
    return [...words, ...concerns];
  }
}
