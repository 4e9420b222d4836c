/**
 * Decides how long to mute sound after an interruption. Sound that is heard now left the server some time ago. This
 * delay can grow to seconds on a busy machine or network, so it is measured instead of assumed. The server says when
 * the turn is over, and the media that play the sound say how long it has been under way.
 */

const SLACK_MS = 100; // the message that the turn is over may overtake the turn's last sound
const USUAL_MS = 400; // the delay assumed where the browser does not report it
const MAX_MUTED_MS = 5000; // sound is never muted for longer, whatever happens

export class Hush {
  /** @param {number} now in ms; all times here are by the same clock */
  constructor(now) {
    this.since = now;
    /** @type {number?} when the server said that the turn is over */
    this.overAt = null;
    /** @type {number?} when another turn began to speak */
    this.nextAt = null;
  }

  /** @param {number} now */
  turnOver(now) {
    this.overAt ??= now;
  }

  /**
   * A turn speaks. It is the next turn only if the interrupted one is known to be over.
   * @param {number} now
   */
  speaking(now) {
    if (this.overAt !== null) this.nextAt ??= now;
  }

  /**
   * Return for how many ms the interrupted turn's sound may still arrive; Infinity until the server has said that the
   * turn is over.
   * @param {number} now
   * @param {number?} underWayMs how long the sound heard now spent on the network and in buffers; null: unknown
   */
  remainingMs(now, underWayMs) {
    const leftMs = this.since + MAX_MUTED_MS - now;
    if (this.overAt === null) return leftMs > 0 ? Infinity : 0;
    // No sound of the next turn may be lost, so only sound from before it is muted.
    const slack = this.nextAt === null ? SLACK_MS : Math.min(SLACK_MS, (this.nextAt - this.overAt) / 2);
    const unknown = this.nextAt === null ? USUAL_MS : 0;
    return Math.max(0, Math.min(this.overAt + slack + (underWayMs ?? unknown) - now, leftMs));
  }
}
