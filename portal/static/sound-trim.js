/**
 * Keeps the sound of a WebRTC connection in sync with its pictures where the browser does not.
 *
 * Browsers synchronise the two themselves, but tolerate 30 ms by their own estimate, which is 20 ms off for sound in
 * packets of 40 ms. So after a disturbance (a hold, a busy server) the sound may stay 60 ms ahead of its pictures for
 * as long as the connection lasts. A longer jitter buffer for the sound corrects that. Late sound is left to the
 * browser, unless the delay added here made it late.
 */

const LOOKS = 3; // number of reports, one per second, whose median decides on a change
const NOTICED_MS = 20; // smaller skews are left alone
const MAX_DELAY_MS = 400; // longest delay; sound later than that is worse than sound that is early

export class SoundTrim {
  #seen = /** @type {number[]} */ ([]);

  constructor() {
    this.targetMs = 0; // target of the jitter buffer; 0: as short as the network permits
  }

  /**
   * Take a report. Returns whether targetMs has changed.
   * @param {number} skewMs positive when the sound comes after its picture
   * @param {number} delayMs how long sound stays in its jitter buffer now
   */
  learn(skewMs, delayMs) {
    this.#seen.push(skewMs);
    if (this.#seen.length < LOOKS) return false;
    const median = [...this.#seen].sort((a, b) => a - b)[LOOKS >> 1];
    this.#seen = [];
    const before = this.targetMs;
    if (median < -NOTICED_MS) this.targetMs = Math.min(MAX_DELAY_MS, Math.round(Math.max(before, delayMs) - median));
    else if (median > NOTICED_MS) this.targetMs = Math.max(0, Math.round(before - median));
    return this.targetMs !== before;
  }
}
