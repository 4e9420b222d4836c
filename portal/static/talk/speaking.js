/** Takes what a viewer types to the avatar. The text waits in the chat until there is a live session. */

/**
 * @typedef {import("../chat.js").Chat} Chat
 * @typedef {import("../errors.js").PortalError} PortalError
 * @typedef {import("../player.js").Player} Player
 * @typedef {import("../types/messages.d.ts").Mode} Mode
 * @typedef {import("./composer.js").Composer} Composer
 * @typedef {import("./opening.js").Opening} Opening
 * @typedef {import("./state.js").TalkState} TalkState
 */

export class Speaking {
  /**
   * @param {TalkState} state
   * @param {{player: Player, chat: Chat, composer: Composer, opening: Opening}} parts
   * @param {{begun: () => void, toast: (text: string) => void, note: (error: PortalError) => void}} page begun: the chat
   *     has begun, or is empty again; toast: show a notice over the picture; note: report an error
   */
  constructor(state, parts, page) {
    this.state = state;
    this.parts = parts;
    this.page = page;
  }

  /**
   * Send a text. It also starts a session if there is none, so that the first message needs no click on Start.
   * @param {string} text
   * @param {Mode} mode
   */
  async submit(text, mode) {
    const said = text.trim();
    if (!said) return;
    if (this.state.isNobodyThere) return this.#keep(said);
    const bubble = this.state.isLive ? null : this.#pend(said);
    try {
      if (bubble) await this.#awake();
    } catch {
      return this.#giveBack(said, bubble); // the event "ended" reports the error
    }
    try {
      this.say(said, mode, bubble);
    } catch (error) {
      this.page.note(/** @type {PortalError} */ (error));
      this.#giveBack(said, bubble);
    }
  }

  /**
   * Say a text in the running session. Throws a PortalError.
   * @param {string} text
   * @param {Mode} mode
   * @param {HTMLElement?} bubble the bubble in which the text was waiting, if any
   */
  say(text, mode = "chat", bubble = null) {
    this.parts.player.say(text, mode);
    this.parts.chat.ask(text, mode, bubble);
    this.page.begun();
  }

  /**
   * Show the text in the chat as waiting for a session.
   * @param {string} said
   */
  #pend(said) {
    const bubble = this.parts.chat.pending(said);
    this.page.begun();
    return bubble;
  }

  /** Resolves when a session is live. */
  async #awake() {
    const { opening, player } = this.parts;
    // All texts wait for the same start, which may include preparing the avatar, and are then sent in their order.
    if (opening.current) await opening.current;
    else if (player.state === "idle") await opening.start();
    if (player.state !== "live") await player.live();
  }

  /**
   * Put a text that could not be said back into the text box.
   * @param {string} said
   * @param {HTMLElement?} bubble
   */
  #giveBack(said, bubble) {
    this.parts.chat.take(bubble);
    this.page.begun();
    this.parts.composer.giveBack(said);
  }

  /**
   * There is no avatar yet. Keep the text, which may be one of the suggestions, in the text box, and say why.
   * @param {string} said
   */
  #keep(said) {
    const { isMoreExpected, texts } = this.state;
    this.parts.composer.offer(said);
    this.page.toast(isMoreExpected ? texts.kept : texts["status.none"]);
  }
}
