/**
 * Reports to the server how a session arrives here: statistics every 10 s, and how long after its release the first
 * picture of each turn was seen.
 */

/**
 * @typedef {import("./types/messages.d.ts").Stats} Stats
 * @typedef {import("./types/messages.d.ts").Subtitle} Subtitle
 *
 * Access to a session. released and seen: media time, in seconds, of the picture that the server releases now and of
 * the picture that is seen now; null while it is unknown.
 * @typedef {{
 *   stats: () => Omit<Stats, "type" | "delayMs">, released: () => number?, seen: () => number?,
 *   send: (message: import("./types/messages.d.ts").ClientMessage) => void,
 * }} Seen
 */

const REPORT_EVERY_MS = 10000;
const LOOK_AGAIN_MS = 40; // the duration of one picture

export class Reports {
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #reporter = undefined;
  /** @type {ReturnType<typeof setTimeout> | undefined} fires when a turn's first picture may be seen */
  #looker = undefined;
  #seenTurn = 0; // the last turn whose first picture was reported or is waited for

  /** @param {Seen} session */
  constructor(session) {
    this.session = session;
  }

  begin() {
    this.#reporter = setInterval(() => this.#report(), REPORT_EVERY_MS);
  }

  end() {
    clearInterval(this.#reporter);
    clearTimeout(this.#looker);
  }

  /** Start over for another session, whose turns count from 1 again. */
  forgetTurns() {
    clearTimeout(this.#looker);
    this.#seenTurn = 0;
  }

  /**
   * A turn's pictures are on their way. When the first one is seen, tell the server how long that took.
   * @param {Subtitle} subtitle
   */
  expect(subtitle) {
    if (subtitle.turn <= this.#seenTurn) return;
    this.#seenTurn = subtitle.turn;
    clearTimeout(this.#looker);
    this.#look(subtitle);
  }

  /** @param {Subtitle} subtitle the first subtitle of its turn */
  #look(subtitle) {
    const { start, turn } = subtitle;
    const [released, seen] = [this.session.released(), this.session.seen()];
    if (released === null || seen === null) return;
    if (seen >= start) this.session.send({ type: "seen", turn, delayMs: Math.round((released - seen) * 1000) });
    else this.#looker = setTimeout(() => this.#look(subtitle), Math.max(LOOK_AGAIN_MS, (start - seen) * 1000));
  }

  #report() {
    const { transport, fps, frames, firstFrameMs, avSkewMs } = this.session.stats();
    const [released, seen] = [this.session.released(), this.session.seen()];
    const delayMs = released === null || seen === null ? null : Math.round((released - seen) * 1000);
    this.session.send({ type: "stats", transport, fps, frames, firstFrameMs, avSkewMs, delayMs });
  }
}
