/**
 * Changes that the viewer asks of a running session: another avatar, voice, lip-sync or persona. Requests that were
 * lost with a socket are sent once more. A new session after a server restart begins with the changes made so far.
 */

/**
 * @typedef {import("./session.js").SessionSocket} SessionSocket
 * @typedef {import("./types/player.d.ts").Chosen} Chosen
 */

export class Changes {
  /** @type {string?} id of an avatar that was asked for and is not shown yet */
  wanted = null;
  /** @type {Chosen[]} other changes that were asked for and not answered yet, oldest first */
  unanswered = [];

  /** @param {() => SessionSocket?} session returns the running session */
  constructor(session) {
    this.session = session;
  }

  /** Drop all requests, since another session begins. */
  forget() {
    this.wanted = null;
    this.unanswered = [];
  }

  /** @param {string} id */
  swapAvatar(id) {
    const session = this.session();
    if (!session) return;
    this.wanted = id;
    session.send({ type: "avatar", id }); // without a socket, askAgain() sends it later
  }

  /**
   * Go on with another voice, lip-sync or persona.
   * @param {Chosen} chosen
   */
  change({ tts, voice, speed, lipsync, prompt, greeting }) {
    const chosen = { tts, voice, speed, lipsync, prompt, greeting };
    if (!this.session() || isSame(chosen, this.unanswered.at(-1) ?? this.chosen)) return;
    this.unanswered.push(chosen);
    this.#askFor(chosen); // without a socket, askAgain() sends it later
  }

  /** The choices that the session was asked for and accepted. */
  get chosen() {
    const { tts, voice, speed, lipsync, prompt, greeting } = this.session()?.hello ?? {};
    return { tts, voice, speed, lipsync, prompt, greeting };
  }

  /**
   * The server answered the oldest open request.
   * @param {boolean} changed false: the server refused the change
   */
  answered(changed) {
    const asked = this.unanswered.shift();
    const session = this.session();
    if (changed && asked && session) Object.assign(session.hello, asked);
  }

  /** @param {string} avatar id of the avatar that is shown now */
  shown(avatar) {
    const session = this.session();
    if (session) session.hello.avatar = avatar;
    if (this.wanted === avatar) this.wanted = null;
  }

  /** The server refused the avatar that was asked for. */
  refused() {
    this.wanted = null;
  }

  /**
   * After a welcome, send what was chosen while there was no socket, and requests whose answers were lost with one.
   * @param {string} avatar id of the avatar that is shown
   */
  askAgain(avatar) {
    this.unanswered.splice(0, this.unanswered.length - 1); // each request has all choices, so the newest one is enough
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
  return JSON.stringify(one) === JSON.stringify(other); // works because both have their fields in the same order
}
