/** Knows which loop position each frame of a session shows, from the server's "place" messages. */

/** @typedef {import("../types/messages.d.ts").Place} Place */

const FPS = 25;
const KEPT = 100; // more messages than arrive during the longest delay of pictures, which is some seconds

export class Places {
  /** @type {Place[]} in the order of their frame numbers */
  #runs = [];

  /** @param {Place} run */
  learn(run) {
    this.#runs = this.#runs.filter(({ number }) => number < run.number).slice(-KEPT); // a new session counts from 0
    this.#runs.push(run);
  }

  forget() {
    this.#runs = [];
  }

  /**
   * Return the loop position that is shown at a time.
   * @param {number} mediaS seconds on the media clock
   * @param {number} loop number of positions in the avatar's loop; positions of gestures come after them
   * @returns {number?} null before anything is known
   */
  at(mediaS, loop) {
    const number = Math.floor(mediaS * FPS + 0.01); // a little more, because the times of pictures are rounded
    const run = this.#runs.findLast((one) => one.number <= number) ?? this.#runs[0];
    if (!run) return null;
    const place = Math.max(0, run.place + run.step * Math.max(0, number - run.number));
    // The message that the loop starts again may arrive after the first picture of that round.
    return run.place < loop && place >= loop ? place % loop : place;
  }
}
