/** Tells a screen reader what has changed, but never over the avatar's voice. */

const MOST_WAITING = 4;
const KEPT = 3; // lines that stay in the region, for who reads back

export class Announcer {
  /** @param {HTMLElement} region a polite live region that nobody sees */
  constructor(region) {
    this.region = region;
    /** @type {string[]} */
    this.waiting = [];
    this.isHeld = false;
  }

  /**
   * Said now, or once the avatar has spoken; of what waits for that, the last few lines.
   * @param {string} text
   */
  tell(text) {
    if (!text) return;
    if (!this.isHeld) return this.put(text);
    this.waiting.push(text);
    if (this.waiting.length > MOST_WAITING) this.waiting.shift();
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
