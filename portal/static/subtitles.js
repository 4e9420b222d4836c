/** Subtitles on their way to their moment. Times are those of the media clock, in seconds. */

/** @typedef {import("./types/messages.d.ts").Subtitle} Subtitle */

const MOST = 50; // waiting; beyond it the oldest is forgotten
const LINGERS_S = 0.4; // after the end of its sentence

export class Subtitles {
  /** @type {Subtitle[]} */
  #waiting = [];

  /** @param {Subtitle} subtitle */
  add(subtitle) {
    this.#waiting.push(subtitle);
    if (this.#waiting.length > MOST) this.#waiting.shift();
  }

  /** @param {number} turn none of it is shown any more */
  forget(turn) {
    this.#waiting = this.#waiting.filter((subtitle) => subtitle.turn !== turn);
  }

  clear() {
    this.#waiting = [];
  }

  /**
   * The sentence that is being heard at that time, or "".
   * @param {number} now
   */
  at(now) {
    this.#waiting = this.#waiting.filter(({ end }) => end + LINGERS_S > now);
    return this.#waiting.findLast(({ start }) => start <= now)?.text ?? "";
  }
}
