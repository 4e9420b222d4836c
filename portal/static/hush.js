/**
 * How long sound is held back after an interruption. What is heard now left the server a while ago, and that while may
 * grow to seconds (a busy machine, a full line): so nothing is assumed of it. The server says when the turn is over, and
 * whoever plays the sound says how long what is heard now has been under way.
 */

const SLACK_MS = 100; // what was sent last may be overtaken by the word that it was the last
const USUAL_MS = 400; // under way, where the browser does not tell
const AT_MOST_MS = 5000; // whatever happens, nobody stays mute for longer

export class Hush {
  /** @param {number} now ms, as all times here, on one clock */
  constructor(now) {
    this.since = now;
    /** @type {number?} the server said that the turn is over */
    this.overAt = null;
    /** @type {number?} another turn began to speak */
    this.nextAt = null;
  }

  /** @param {number} now */
  turnOver(now) {
    this.overAt ??= now;
  }

  /**
   * A turn speaks. It is the next one only if the one before is known to be over.
   * @param {number} now
   */
  speaking(now) {
    if (this.overAt !== null) this.nextAt ??= now;
  }

  /**
   * How many ms it still takes until what is heard is no longer what was interrupted; Infinity while the server has
   * not said so.
   * @param {number} now
   * @param {number?} underWayMs how long what is heard now has been on its way here and in buffers; null: unknown
   */
  remainingMs(now, underWayMs) {
    const atMost = this.since + AT_MOST_MS - now;
    if (this.overAt === null) return atMost > 0 ? Infinity : 0;
    // Nothing of the next turn may be missed, so only what lies before it is held back.
    const slack = this.nextAt === null ? SLACK_MS : Math.min(SLACK_MS, (this.nextAt - this.overAt) / 2);
    const unknown = this.nextAt === null ? USUAL_MS : 0;
    return Math.max(0, Math.min(this.overAt + slack + (underWayMs ?? unknown) - now, atMost));
  }
}
