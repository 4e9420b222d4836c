/** What a viewer has chosen on the Talk tab. It is kept for the next visit, too. */

import { recall, remember } from "../page.js";

/**
 * @typedef {import("./choices.js").Chosen & import("./persona.js").PersonaWish} Engines
 * @typedef {import("./ears.js").EarsWish} EarsWish
 * @typedef {Engines & import("./view.js").ViewWish & {avatar?: string, muted?: boolean, ears?: EarsWish}} Wished
 */

const KEY = "vivavoce.talk";

export class Wishes {
  /** @type {Wished} includes choices of earlier visits */
  now = recall(KEY);

  /** @param {Wished} chosen */
  keep(chosen) {
    Object.assign(this.now, chosen);
    remember(KEY, JSON.stringify(this.now));
  }
}
