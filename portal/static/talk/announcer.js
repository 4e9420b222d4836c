/** Announces changes to a screen reader, but never while the avatar speaks. */

const MAX_WAITING = 4;
const KEPT = 3; // lines that stay in the region, for people who read back

export class Announcer {
  /** @param {HTMLElement} region a polite live region, not visible */
  constructor(region) {
    this.region = region;
    /** @type {string[]} */
    this.waiting = [];
    this.isHeld = false;
  }

  /**
   * Announce a text now, or when the avatar has finished speaking. Only the last few lines wait for that.
   * @param {string} text
   */
  tell(text) {
    if (!text) return;
    if (!this.isHeld) return this.put(text);
    this.waiting.push(text);
    if (this.waiting.length > MAX_WAITING) this.waiting.shift();
  }

  /** @param {boolean} held */
  hold(held) {
    this.isHeld = held;
    if (held) return;
    for (const text of this.waiting.splice(0)) this.put(text);
  }

  /** @param {string} text */
  put(text) {
    const line = document.createElement("p");
    line.textContent = text;
    this.region.append(line);
    while (this.region.children.length > KEPT) this.region.firstElementChild?.remove();
  }
}
