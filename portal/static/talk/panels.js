/** The panels that lie over the page. A press beside one closes it, and so does Escape. */

const SHEETS = "(max-width: 820px), (max-height: 560px)"; // where panels are sheets over the page, as styles.css has it

export class Panels {
  #settings;
  #timing;

  /**
   * @param {HTMLDetailsElement} settings
   * @param {HTMLDetailsElement} timing may be watched while one talks, unless it lies over the talk
   * @param {AbortSignal} left
   */
  constructor(settings, timing, left) {
    this.#settings = settings;
    this.#timing = timing;
    document.addEventListener("pointerdown", ({ target }) => this.#closeOthers(/** @type {Node} */ (target)), {
      signal: left,
    });
  }

  /** Close the one that is open. Returns whether there was one. */
  close() {
    const open = [this.#settings, this.#timing].find((panel) => panel.open);
    if (!open) return false;
    open.open = false;
    open.querySelector("summary")?.focus();
    return true;
  }

  /** @param {Node} pressed */
  #closeOthers(pressed) {
    for (const panel of matchMedia(SHEETS).matches ? [this.#settings, this.#timing] : [this.#settings]) {
      if (!panel.contains(pressed)) panel.open = false;
    }
  }
}
