/**
 * Keeps the sound of a WebRTC connection with its pictures where the browser leaves them apart.
 *
 * Browsers line the two up by themselves, but are content with 30 ms in their own reckoning, which is 20 ms off for sound
 * that comes in packets of 40 ms. So after a rough moment (a hold, a busy server) the sound may stay 60 ms ahead of its
 * pictures for as long as the connection lasts. A longer jitter buffer for the sound mends that. Sound that is late is
 * left to the browser, unless it is late by what was added here.
 */

const LOOKS = 3; // reports, one a second, that are looked at before something is changed
const NOTICED_MS = 20;
const AT_MOST_MS = 400; // of delay: sound that is later than that is worse than sound that is early

export class SoundTrim {
  #seen = /** @type {number[]} */ ([]);

  constructor() {
    this.targetMs = 0; // of the jitter buffer; 0: what the network asks for
  }

  /**
   * One more report. Returns whether targetMs has changed.
   * @param {number} skewMs positive when the sound comes after its picture
   * @param {number} delayMs how long the sound is in its jitter buffer now
   */
  learn(skewMs, delayMs) {
    this.#seen.push(skewMs);
    if (this.#seen.length < LOOKS) return false;
    const median = [...this.#seen].sort((a, b) => a - b)[LOOKS >> 1];
    this.#seen = [];
    const before = this.targetMs;
    if (median < -NOTICED_MS) this.targetMs = Math.min(AT_MOST_MS, Math.round(Math.max(before, delayMs) - median));
    else if (median > NOTICED_MS) this.targetMs = Math.max(0, Math.round(before - median));
    return this.targetMs !== before;
  }
}
