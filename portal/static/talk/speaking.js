/** What a viewer types, on its way to the avatar: it waits in the chat until there is somebody to hear it. */

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
   *     has begun, or is empty again; toast: a notice over the picture; note: what went wrong is told
   */
  constructor(state, parts, page) {
    this.state = state;
    this.parts = parts;
    this.page = page;
  }

  /**
   * Enter starts the session too: the first message need not wait for a click.
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
      return this.#giveBack(said, bubble); // "ended" tells why
    }
    try {
      this.say(said, mode, bubble);
    } catch (error) {
      this.page.note(/** @type {PortalError} */ (error));
      this.#giveBack(said, bubble);
    }
  }

  /**
   * Throws a PortalError.
   * @param {string} text
   * @param {Mode} mode
   * @param {HTMLElement?} bubble in which the text was waiting
   */
  say(text, mode = "chat", bubble = null) {
    this.parts.player.say(text, mode);
    this.parts.chat.ask(text, mode, bubble);
    this.page.begun();
  }

  /**
   * What was said is seen waiting in the chat until there is somebody to hear it.
   * @param {string} said
   */
  #pend(said) {
    const bubble = this.parts.chat.pending(said);
    this.page.begun();
    return bubble;
  }

  /** Resolves when there is somebody to hear what was said. */
  async #awake() {
    const { opening, player } = this.parts;
    // All wait for the same, in their order; also for an avatar that is being prepared for the start.
    if (opening.current) await opening.current;
    else if (player.state === "idle") await opening.start();
    if (player.state !== "live") await player.live();
  }

  /**
   * What could not be said can be sent again.
   * @param {string} said
   * @param {HTMLElement?} bubble
   */
  #giveBack(said, bubble) {
    this.parts.chat.take(bubble);
    this.page.begun();
    this.parts.composer.giveBack(said);
  }

  /**
   * There is nobody yet to hear it; it may be one of the suggestions.
   * @param {string} said
   */
  #keep(said) {
    const { isMoreExpected, texts } = this.state;
    this.parts.composer.offer(said);
    this.page.toast(isMoreExpected ? texts.kept : texts["status.none"]);
  }
}
