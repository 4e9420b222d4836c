/**
 * What the Talk tab knows, in one place: its parts read it here, and whoever learns something says so by learn(). What
 * follows from it is not kept beside it but asked of it.
 */

/**
 * @typedef {import("../types/player.d.ts").PlayerState} PlayerState
 * @typedef {import("../types/api.d.ts").AvatarView} AvatarView
 * @typedef {import("../types/api.d.ts").Catalogue} Catalogue
 * @typedef {import("../types/api.d.ts").Texts} Texts
 * @typedef {import("../types/messages.d.ts").TurnState} TurnState
 *
 * What is waited for: the player's states, and those of a page without a session.
 * @typedef {PlayerState | "waiting" | "preparing" | "loading" | "making" | "none"} Phase
 */

/** @type {TurnState[]} */
const TALKING = ["speaking", "thinking", "queued"];
/** @type {Phase[]} nothing has begun that could be stopped */
const AT_REST = ["idle", "loading", "making", "none"];

export class TalkState {
  /** @type {Texts} of the page's language */
  texts = {};
  /** @type {Catalogue} */
  catalogue = { tts: [], lipsync: [], defaults: {} };
  /** @type {AvatarView[]} */
  avatars = [];
  isListRead = false; // it is known whether there are any
  isMoreExpected = true; // an avatar that is being made may still come, as far as is known
  isFirstStart = false; // there is no avatar yet, or none any more
  /** @type {string | undefined} id of the avatar that was chosen; it may be gone */
  picked = undefined;
  /** @type {PlayerState} */
  session = "idle";
  /** @type {TurnState} */
  turn = "idle";
  /** @type {import("../types/messages.d.ts").EarsState} */
  ears = "off"; // what the server says of it
  isListening = false; // the viewer's microphone is on
  place = 0; // in the line before a full house; 0: none
  /** @type {import("./preparation.js").Coming?} the avatar that is being prepared for a session */
  coming = null;
  isTextOnly = false; // no voice speaks what is being answered
  isCutting = false; // another avatar was asked for while this one spoke

  #changed;

  /** @param {() => void} changed something was learned */
  constructor(changed) {
    this.#changed = changed;
  }

  /** @param {Partial<TalkState>} news */
  learn(news) {
    Object.assign(this, news);
    this.#changed();
  }

  /** The avatar that is shown as the choice: without one, or if it is gone, the portal's own choice. */
  get choice() {
    /** @param {string | undefined} wanted */
    const known = (wanted) => this.avatars.find(({ id }) => id === wanted);
    return known(this.picked) ?? known(this.catalogue.defaults.avatar) ?? this.avatars[0];
  }

  get isLive() {
    return this.session === "live";
  }

  /** Whether something is being said, or about to be. */
  get isTalking() {
    return TALKING.includes(this.turn);
  }

  /** Whether there is no avatar that could hear something, and none that could be started. */
  get isNobodyThere() {
    return this.isFirstStart && this.session === "idle";
  }

  get isAtRest() {
    return AT_REST.includes(this.phase);
  }

  /** @returns {Phase} */
  get phase() {
    if (this.place) return "waiting";
    if (this.session !== "idle") return this.session;
    if (this.coming) return "preparing";
    if (!this.isListRead) return "loading";
    if (!this.isFirstStart) return "idle";
    return this.isMoreExpected ? "making" : "none";
  }

  /** The name of the state as it stands on the picture. */
  get label() {
    if (!this.isLive) return this.phase;
    if (!this.isTalking) return this.earsLabel;
    return this.turn === "queued" ? "thinking" : this.turn;
  }

  /** While nothing is being said: what becomes of the viewer's own speech. */
  get earsLabel() {
    if (this.isListening && this.ears === "off") return "waking";
    return this.ears === "hearing" || this.ears === "recognising" ? this.ears : "listening";
  }

  /** What the page waits for, or that it is the viewer's turn. */
  get line() {
    if (this.place) return this.texts.waiting.replace("{place}", String(this.place));
    return this.isLive ? this.texts["state.listening"] : this.texts[`status.${this.phase}`];
  }

  /** Why there is no avatar to show; "": there is one, or it is not known yet. */
  get whyNone() {
    if (this.phase === "making") return this.texts.preparing;
    return this.phase === "none" ? this.texts["status.none"] : "";
  }

  /** What is being prepared; "": nothing. */
  get comingLine() {
    if (!this.coming) return "";
    const { avatar, lipsync } = this.coming;
    return this.texts.preparingFor
      .replace("{avatar}", () => this.nameOf(avatar))
      .replace("{lipsync}", () => this.texts[`lipsync.${lipsync}`] || lipsync);
  }

  /** @param {string} avatar id */
  nameOf(avatar) {
    return this.avatars.find(({ id }) => id === avatar)?.name ?? avatar;
  }

  /**
   * The server speaks of avatars by their ids; a viewer knows their names.
   * @param {string} message
   */
  named(message) {
    return this.avatars.reduce((text, { id, name }) => text.replaceAll(`'${id}'`, () => `'${name}'`), message);
  }
}
