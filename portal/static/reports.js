/**
 * What the server is told of how a session is seen here: how it goes, every 10 s, and how long after its release the first
 * picture of each turn was seen.
 */

/**
 * @typedef {import("./types/messages.d.ts").Stats} Stats
 * @typedef {import("./types/messages.d.ts").Subtitle} Subtitle
 *
 * What is seen of a session. released and seen: media time, in seconds, of the picture that the server releases now, and
 * of the one that is seen now; null while that is not known.
 * @typedef {{
 *   stats: () => Omit<Stats, "type" | "delayMs">, released: () => number?, seen: () => number?,
 *   send: (message: import("./types/messages.d.ts").ClientMessage) => void,
 * }} Seen
 */

const REPORT_EVERY_MS = 10000;
const LOOK_AGAIN_MS = 40; // a picture

export class Reports {
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #reporter = undefined;
  /** @type {ReturnType<typeof setTimeout> | undefined} until a first picture may be seen */
  #looker = undefined;
  #seenTurn = 0; // the last one whose first picture is reported, or waited for

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

  /** Turns of another session count from one again. */
  forgetTurns() {
    clearTimeout(this.#looker);
    this.#seenTurn = 0;
  }

  /**
   * A turn's pictures are on their way: once the first is seen, the server is told how long that took.
   * @param {Subtitle} subtitle
   */
  expect(subtitle) {
    if (subtitle.turn <= this.#seenTurn) return;
    this.#seenTurn = subtitle.turn;
    clearTimeout(this.#looker);
    this.#look(subtitle);
  }

  /** @param {Subtitle} subtitle the first of its turn */
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
