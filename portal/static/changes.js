/**
 * What a session that runs is asked to change: its avatar, and what it talks with. What is lost with a socket is asked for
 * once more, and a new session, after a restart of the server, begins with what was changed.
 */

/**
 * @typedef {import("./session.js").SessionSocket} SessionSocket
 * @typedef {import("./types/player.d.ts").Chosen} Chosen
 */

export class Changes {
  /** @type {string?} id of an avatar that was asked for and is not there yet */
  wanted = null;
  /** @type {Chosen[]} what else was asked for and not answered yet */
  unanswered = [];

  /** @param {() => SessionSocket?} session the one that runs */
  constructor(session) {
    this.session = session;
  }

  /** Another session begins. */
  forget() {
    this.wanted = null;
    this.unanswered = [];
  }

  /** @param {string} id */
  swapAvatar(id) {
    const session = this.session();
    if (!session) return;
    this.wanted = id;
    session.send({ type: "avatar", id }); // without a socket it is asked for when there is one
  }

  /**
   * Go on with another voice, lip-sync or persona.
   * @param {Chosen} chosen
   */
  change({ tts, voice, speed, lipsync, prompt, greeting }) {
    const chosen = { tts, voice, speed, lipsync, prompt, greeting };
    if (!this.session() || isSame(chosen, this.unanswered.at(-1) ?? this.chosen)) return;
    this.unanswered.push(chosen);
    this.#askFor(chosen); // without a socket it is asked for when there is one
  }

  /** What the session talks with, as far as that was asked for. */
  get chosen() {
    const { tts, voice, speed, lipsync, prompt, greeting } = this.session()?.hello ?? {};
    return { tts, voice, speed, lipsync, prompt, greeting };
  }

  /** @param {boolean} changed false: it was refused */
  answered(changed) {
    const asked = this.unanswered.shift();
    const session = this.session();
    if (changed && asked && session) Object.assign(session.hello, asked);
  }

  /** @param {string} avatar id of the one that is shown now */
  shown(avatar) {
    const session = this.session();
    if (session) session.hello.avatar = avatar;
    if (this.wanted === avatar) this.wanted = null;
  }

  /** The avatar that was asked for does not come. */
  refused() {
    this.wanted = null;
  }

  /**
   * At a welcome: what was chosen while there was no socket, or whose answer was lost with one.
   * @param {string} avatar id of the one that is shown
   */
  askAgain(avatar) {
    this.unanswered.splice(0, this.unanswered.length - 1);
    if (this.unanswered.length) this.#askFor(this.unanswered[0]);
    if (this.wanted === null) return;
    if (this.wanted === avatar) this.wanted = null;
    else this.session()?.send({ type: "avatar", id: this.wanted });
  }

  /** @param {Chosen} chosen */
  #askFor({ tts, voice, speed, lipsync, prompt }) {
    const wish = { tts, voice: voice ?? null, speed: speed ?? null, lipsync, prompt: prompt ?? null };
    this.session()?.send({ type: "change", ...wish });
  }
}

/**
 * @param {Chosen} one
 * @param {Chosen} other
 */
function isSame(one, other) {
  return JSON.stringify(one) === JSON.stringify(other); // both have their fields in the same order
}
