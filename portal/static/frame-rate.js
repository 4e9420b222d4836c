/** Pictures per second, of the last two seconds. */

const OVER_MS = 2000;
const MOST = 256; // what is noted of pictures, however many come

export class FrameRate {
  /** @type {{at: number, frames: number}[]} frames: shown until then */
  #seen = [];

  /**
   * A picture was shown.
   * @param {number} at performance time, ms
   * @param {number} frames shown so far, this one too
   */
  note(at, frames) {
    this.#seen.push({ at, frames });
    if (this.#seen.length > MOST) this.#seen.shift();
  }

  /** @param {number} now performance time, ms */
  at(now) {
    this.#seen = this.#seen.filter(({ at }) => at > now - OVER_MS);
    if (this.#seen.length < 2) return 0;
    const first = this.#seen[0];
    const last = this.#seen[this.#seen.length - 1];
    return ((last.frames - first.frames) * 1000) / (last.at - first.at);
  }
}
