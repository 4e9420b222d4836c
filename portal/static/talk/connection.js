/** The panel that shows how this browser reaches the server: a row for each way, with its state and the reason. */

import { find, make } from "../dom.js";

/**
 * @typedef {import("../types/api.d.ts").Texts} Texts
 * @typedef {import("../ways.js").WayReport} WayReport
 */

export class ConnectionPanel {
  /** @type {Texts} */
  #texts = {};
  /** @type {WayReport[]} */
  #ways = [];
  #shown = "";

  /** @param {Element} element contains the panel */
  constructor(element) {
    this.panel = find(element, ".vv-connection", HTMLDetailsElement);
    this.rows = find(this.panel, "ul", HTMLElement);
    this.none = find(this.panel, ".vv-no-ways", HTMLElement);
    this.panel.addEventListener("toggle", () => this.#draw());
  }

  /** @param {Texts} texts */
  speak(texts) {
    this.#texts = texts;
    this.#draw();
  }

  /** @param {WayReport[]} ways */
  show(ways) {
    this.#ways = ways;
    if (this.panel.open) this.#draw();
  }

  /** Draw the rows, only if one of them has changed: a person or a screen reader may be reading them. */
  #draw() {
    const rows = this.#ways.map((report) => this.#words(report));
    const shown = JSON.stringify(rows);
    this.none.hidden = rows.length > 0;
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.rows.replaceChildren(
      ...rows.map(({ standing, name, said, why }) => {
        const words = [make("span", {}, name), make("b", {}, said), ...(why ? [make("small", {}, why)] : [])];
        return make("li", { "data-standing": standing }, ...words);
      }),
    );
  }

  /** @param {WayReport} report */
  #words({ way, standing, why, roundMs }) {
    const texts = this.#texts;
    const ms = standing === "used" && roundMs ? `, ${Math.round(roundMs)} ms` : "";
    const reason = why && (texts[`why.${why}`] ?? texts[`reason.${why}`]);
    return { standing, name: texts[`way.${way}`], said: `${texts[`standing.${standing}`]}${ms}`, why: reason };
  }
}
