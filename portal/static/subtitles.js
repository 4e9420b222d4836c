/** Keeps subtitles until they are due. Times are those of the media clock, in seconds. */

/** @typedef {import("./types/messages.d.ts").Subtitle} Subtitle */

const MOST = 50; // subtitles that may wait; beyond that the oldest is dropped
const LINGERS_S = 0.4; // how long a subtitle stays after the end of its sentence

export class Subtitles {
  /** @type {Subtitle[]} */
  #waiting = [];

  /** @param {Subtitle} subtitle */
  add(subtitle) {
    this.#waiting.push(subtitle);
    if (this.#waiting.length > MOST) this.#waiting.shift();
  }

  /** @param {number} turn its subtitles are dropped */
  forget(turn) {
    this.#waiting = this.#waiting.filter((subtitle) => subtitle.turn !== turn);
  }

  clear() {
    this.#waiting = [];
  }

  /**
   * Return the sentence that is heard at a time, or "". Subtitles that have ended by then are dropped.
   * @param {number} now
   */
  at(now) {
    this.#waiting = this.#waiting.filter(({ end }) => end + LINGERS_S > now);
    return this.#waiting.findLast(({ start }) => start <= now)?.text ?? "";
  }
}
