/**
 * Shows when the last answer reached each mark of its turn: a row for each, with a bar that starts at the one before.
 */

import { find, make } from "../dom.js";

/**
 * @typedef {import("../types/api.d.ts").Texts} Texts
 * @typedef {import("../types/messages.d.ts").Metrics} Metrics
 */

const MARKS = [
  "transcript",
  "llm_first_token",
  "first_sentence",
  "first_audio",
  "first_features",
  "first_patch",
  "first_frame",
  "first_release",
  "first_seen",
];

export class Waterfall {
  /** @type {Texts} */
  #texts = {};
  /** @type {Metrics?} */
  #shown = null;

  /** @param {HTMLDetailsElement} panel */
  constructor(panel) {
    this.panel = panel;
    this.rows = find(panel, ".vv-marks", HTMLOListElement);
    this.none = find(panel, ".vv-no-marks", HTMLElement);
  }

  /** @param {Texts} texts */
  speak(texts) {
    this.#texts = texts;
    this.#draw();
  }

  /** @param {Metrics?} metrics null: nothing has been answered yet */
  show(metrics) {
    this.#shown = metrics;
    this.#draw();
  }

  #draw() {
    const stages = this.#shown?.stages ?? {};
    const marks = MARKS.filter((mark) => mark in stages).sort((one, other) => stages[one] - stages[other]);
    const end = Math.max(1, ...marks.map((mark) => stages[mark]));
    let since = 0;
    const rows = marks.map((mark) => {
      const row = this.#row(mark, since / end, stages[mark] / end, stages[mark]);
      since = stages[mark];
      return row;
    });
    this.rows.replaceChildren(...rows);
    this.none.hidden = marks.length > 0;
  }

  /**
   * @param {string} mark
   * @param {number} from share of the whole, 0 to 1
   * @param {number} to
   * @param {number} ms
   */
  #row(mark, from, to, ms) {
    const bar = make("i");
    bar.style.marginInlineStart = `${100 * from}%`;
    bar.style.width = `${100 * (to - from)}%`;
    const track = make("span", { class: "vv-track", "aria-hidden": "true" }, bar);
    return make("li", {}, make("span", {}, this.#texts[`mark.${mark}`] ?? mark), track, make("b", {}, `${Math.round(ms)} ms`));
  }
}
