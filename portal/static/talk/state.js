/**
 * The state of the Talk tab, in one place. The tab's parts read it here, and code that has news calls learn(). Values
 * that follow from others are getters, so they are never stored twice.
 */

/**
 * @typedef {import("../types/player.d.ts").PlayerState} PlayerState
 * @typedef {import("../types/api.d.ts").AvatarView} AvatarView
 * @typedef {import("../types/api.d.ts").Catalogue} Catalogue
 * @typedef {import("../types/api.d.ts").Texts} Texts
 * @typedef {import("../types/messages.d.ts").TurnState} TurnState
 *
 * What the page waits for: the player's states, and states of a page without a session.
 * @typedef {PlayerState | "waiting" | "preparing" | "loading" | "making" | "none"} Phase
 */

/** @type {TurnState[]} */
const TALKING = ["speaking", "thinking", "queued"];
/** @type {Phase[]} phases in which nothing has begun that could be stopped */
const AT_REST = ["idle", "loading", "making", "none"];

export class TalkState {
  /** @type {Texts} of the page's language */
  texts = {};
  /** @type {Catalogue} */
  catalogue = { tts: [], lipsync: [], defaults: {} };
  /** @type {AvatarView[]} */
  avatars = [];
  isListRead = false; // whether the list of avatars was read
  isMoreExpected = true; // whether more avatars may be in the making; true while that is unknown
  isFirstStart = false; // whether the list has no avatars
  /** @type {string | undefined} id of the avatar that was chosen; it may no longer exist */
  picked = undefined;
  /** @type {PlayerState} */
  session = "idle";
  /** @type {TurnState} */
  turn = "idle";
  /** @type {import("../types/messages.d.ts").EarsState} */
  ears = "off"; // what the server does with the microphone's sound
  isListening = false; // whether the viewer's microphone is on
  place = 0; // place in the waiting line; 0: not waiting
  /** @type {import("./preparation.js").Coming?} the avatar that is being prepared for a session */
  coming = null;
  isTextOnly = false; // whether no voice speaks the current answer
  isCutting = false; // whether another avatar was asked for while this one spoke

  #changed;

  /** @param {() => void} changed called when something was learned */
  constructor(changed) {
    this.#changed = changed;
  }

  /** @param {Partial<TalkState>} news */
  learn(news) {
    Object.assign(this, news);
    this.#changed();
  }

  /** The chosen avatar. If none was chosen, or it no longer exists, this is the portal's own choice. */
  get choice() {
    /** @param {string | undefined} wanted */
    const known = (wanted) => this.avatars.find(({ id }) => id === wanted);
    return known(this.picked) ?? known(this.catalogue.defaults.avatar) ?? this.avatars[0];
  }

  get isLive() {
    return this.session === "live";
  }

  /** Whether the avatar speaks or is about to. */
  get isTalking() {
    return TALKING.includes(this.turn);
  }

  /** Whether there is no session and no avatar to start one with. */
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

  /** The name of the state that is shown on the picture. */
  get label() {
    if (!this.isLive) return this.phase;
    if (!this.isTalking) return this.earsLabel;
    return this.turn === "queued" ? "thinking" : this.turn;
  }

  /** The state that is shown while the avatar does not speak: what happens to the viewer's own speech. */
  get earsLabel() {
    if (this.isListening && this.ears === "off") return "waking";
    return this.ears === "hearing" || this.ears === "recognising" ? this.ears : "listening";
  }

  /** A line that says what the page waits for, or that it is the viewer's turn. */
  get line() {
    if (this.place) return this.texts.waiting.replace("{place}", String(this.place));
    return this.isLive ? this.texts["state.listening"] : this.texts[`status.${this.phase}`];
  }

  /** The reason why there is no avatar to show; "": there is one, or that is not known yet. */
  get whyNone() {
    if (this.phase === "making") return this.texts.preparing;
    return this.phase === "none" ? this.texts["status.none"] : "";
  }

  /** A line that says what is being prepared; "": nothing. */
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
   * Replace the ids of avatars in a message of the server with their names, which viewers know.
   * @param {string} message
   */
  named(message) {
    return this.avatars.reduce((text, { id, name }) => text.replaceAll(`'${id}'`, () => `'${name}'`), message);
  }
}
