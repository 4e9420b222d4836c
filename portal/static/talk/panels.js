/** The panels that lie over the page. Clicking beside one closes it, and so does Escape. */

const SHEETS = "(max-width: 820px), (max-height: 560px)"; // windows where panels are sheets over the page (styles.css)

export class Panels {
  #settings;
  #timing;

  /**
   * @param {HTMLDetailsElement} settings
   * @param {HTMLDetailsElement} timing stays open during the talk, except where it covers the chat
   * @param {AbortSignal} left aborted when the tab is gone
   */
  constructor(settings, timing, left) {
    this.#settings = settings;
    this.#timing = timing;
    document.addEventListener("pointerdown", ({ target }) => this.#closeOthers(/** @type {Node} */ (target)), {
      signal: left,
    });
  }

  /** Close the panel that is open. Returns whether there was one. */
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
