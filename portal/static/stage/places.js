/** Which place of the avatar's loop each frame of a session shows, by the server's "place" messages. */

/** @typedef {import("../types/messages.d.ts").Place} Place */

const FPS = 25;
const KEPT = 100; // more than come within the seconds that pictures may be late

export class Places {
  /** @type {Place[]} in the order of their numbers */
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
   * @param {number} mediaS seconds on the media clock
   * @param {number} loop how many places the avatar's loop has; those of gestures come after it
   * @returns {number?} null before anything is known
   */
  at(mediaS, loop) {
    const number = Math.floor(mediaS * FPS + 0.01); // times of pictures are rounded
    const run = this.#runs.findLast((one) => one.number <= number) ?? this.#runs[0];
    if (!run) return null;
    const place = Math.max(0, run.place + run.step * Math.max(0, number - run.number));
    // The message that the loop begins anew may come later than its first picture.
    return run.place < loop && place >= loop ? place % loop : place;
  }
}
