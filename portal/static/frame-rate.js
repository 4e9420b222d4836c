/** Measures the pictures per second over the last two seconds. */

const OVER_MS = 2000;
const MOST = 256; // limit on the notes kept, however many pictures come

export class FrameRate {
  /** @type {{at: number, frames: number}[]} frames: number of pictures shown by then */
  #seen = [];

  /**
   * A picture was shown.
   * @param {number} at ms by performance.now()
   * @param {number} frames number shown so far, including this one
   */
  note(at, frames) {
    this.#seen.push({ at, frames });
    if (this.#seen.length > MOST) this.#seen.shift();
  }

  /**
   * Return the rate in pictures per second, or 0 if too few were shown.
   * @param {number} now ms by performance.now()
   */
  at(now) {
    this.#seen = this.#seen.filter(({ at }) => at > now - OVER_MS);
    if (this.#seen.length < 2) return 0;
    const first = this.#seen[0];
    const last = this.#seen[this.#seen.length - 1];
    return ((last.frames - first.frames) * 1000) / (last.at - first.at);
  }
}
