/** Passes the player's events to the parts of the Talk tab that show them. */

import { lackingOf } from "./preparation.js";

/**
 * @typedef {import("../chat.js").Chat} Chat
 * @typedef {import("../errors.js").PortalError} PortalError
 * @typedef {import("../player.js").Player} Player
 * @typedef {import("../types/api.d.ts").ErrorView} ErrorView
 * @typedef {import("../types/messages.d.ts").Refusal} Refusal
 * @typedef {import("../types/messages.d.ts").Restored} Restored
 * @typedef {import("../types/messages.d.ts").Subtitle} Subtitle
 * @typedef {import("../types/messages.d.ts").Turn} Turn
 * @typedef {import("./announcer.js").Announcer} Announcer
 * @typedef {import("./avatar-choice.js").AvatarChoice} AvatarChoice
 * @typedef {import("./gesture-row.js").GestureRow} GestureRow
 * @typedef {import("./opening.js").Opening} Opening
 * @typedef {import("./preparation.js").Preparation} Preparation
 * @typedef {import("./stage.js").Stage} Stage
 * @typedef {import("./state.js").TalkState} TalkState
 * @typedef {import("./toast.js").Toast} Toast
 * @typedef {import("./view.js").View} View
 * @typedef {import("./waterfall.js").Waterfall} Waterfall
 *
 * @typedef {{
 *   announcer: Announcer, avatarChoice: AvatarChoice, chat: Chat, gestures: GestureRow, opening: Opening, player: Player,
 *   preparation: Preparation, stage: Stage, toasts: Toast, view: View, waterfall: Waterfall,
 * }} Parts
 *
 * begun: the chat has begun; putBack: show in the settings what is in force; toast: show a notice over the picture;
 * note: report a notice or an error; start: begin a session
 * @typedef {{
 *   begun: () => void, putBack: () => void, toast: (text: string, forMs?: number) => void,
 *   note: (error: ErrorView, kind: "notice" | "error") => void, start: () => void,
 * }} Page
 */

export class News {
  /**
   * @param {TalkState} state
   * @param {Parts} parts
   * @param {Page} page
   */
  constructor(state, parts, page) {
    this.state = state;
    this.parts = parts;
    this.page = page;
    this.#followSession();
    this.#followConversation();
  }

  /** The name of the avatar that is shown. */
  get #shownName() {
    return this.parts.player.welcome?.avatar.name ?? "";
  }

  /** Handle events about the session itself: its beginning, changes and end. */
  #followSession() {
    const { page, state } = this;
    const { announcer, avatarChoice, chat, gestures, player, toasts } = this.parts;
    player.on("state", (session) => state.learn({ session, turn: player.turn.state, place: 0 }));
    player.on("firstpicture", ({ transport }) => {
      this.#showMedia(transport);
      announcer.tell(state.texts["state.listening"]);
    });
    player.on("fallback", ({ code }) => {
      if (code !== "forced") page.toast(state.texts.switched.replace("{reason}", state.texts[`reason.${code}`]));
    });
    player.on("avatar", ({ avatar }) => {
      avatarChoice.chooseShown();
      if (state.isCutting) page.toast(state.texts.cut.replace("{avatar}", () => avatar.name));
      state.learn({ isCutting: false });
    });
    player.on("choice", ({ changed }) => {
      if (!player.changes.unanswered.length) page.putBack();
      if (changed) page.toast(state.texts.changed);
    });
    player.on("renewed", (restored) => {
      chat.newSession();
      avatarChoice.chooseShown();
      page.toast(restored ? this.#restoredText(restored) : state.texts.renewed);
    });
    player.on("gesture", (gestured) => gestures.mark(gestured));
    player.on("waiting", ({ place }) => state.learn({ place }));
    player.on("blocked", () => page.toast(state.texts.blocked, Infinity));
    player.on("unblocked", () => toasts.hide());
    player.on("return", () => page.start());
    player.on("error", (refusal) => this.#takeRefusal(refusal));
    player.on("ended", (error) => this.#takeEnd(error));
  }

  /** @param {Restored} restored */
  #restoredText({ cut }) {
    const { texts } = this.state;
    if (cut === null) return texts.restored;
    return `${texts.restored} ${cut ? texts.restoredCut.replace("{words}", () => cut) : texts.restoredUnheard}`;
  }

  /** Handle events about what is said, by the viewer and the avatar. */
  #followConversation() {
    const { page, state } = this;
    const { chat, player, waterfall } = this.parts;
    player.on("turn", (turn) => this.#takeTurn(turn));
    player.on("cut", (cut) => chat.cut(cut));
    player.on("text", (text) => {
      chat.text(text, this.#shownName);
      page.begun();
    });
    player.on("subtitle", (subtitle) => this.#takeSubtitle(subtitle));
    player.on("transcript", (transcript) => {
      chat.transcribe(transcript);
      page.begun();
    });
    player.on("metrics", (metrics) => waterfall.show(metrics));
    player.on("notice", (notice) => page.note(notice, "notice"));
    player.listening.on("changed", () => {
      state.learn({ ears: player.listening.state, isListening: player.listening.mode !== "off" });
    });
  }

  /** @param {"webrtc" | "websocket" | "none"} transport */
  #showMedia(transport) {
    this.parts.stage.showMedia(transport);
    this.parts.view.showMedia(transport);
  }

  /** @param {Turn} turn */
  #takeTurn(turn) {
    const { announcer, chat, player } = this.parts;
    const { isTextOnly } = this.state;
    const answer = chat.turn(turn, this.#shownName);
    this.state.learn({ turn: turn.state, isTextOnly: isTextOnly && !answer });
    if (answer && (player.muted || player.isBlocked || isTextOnly)) announcer.tell(answer); // it could not be heard
  }

  /** @param {Subtitle} subtitle */
  #takeSubtitle(subtitle) {
    const { chat } = this.parts;
    chat.heard(subtitle);
    if (subtitle.spoken !== false) return;
    this.state.learn({ isTextOnly: true });
    chat.textOnly(subtitle.turn);
  }

  /** @param {Refusal} refusal */
  #takeRefusal(refusal) {
    const { avatarChoice, player } = this.parts;
    const lacking = lackingOf(refusal);
    if (lacking && lacking.avatar === player.welcome?.avatar.id) return avatarChoice.changeWhenPrepared(lacking);
    if (lacking) return avatarChoice.swapWhenPrepared(lacking);
    this.page.note(refusal, "error");
    if (!player.changes.wanted) this.state.learn({ isCutting: false });
    avatarChoice.chooseShown();
    if (refusal.code === "avatar_not_found") avatarChoice.miss();
  }

  /** @param {PortalError?} error null: the viewer stopped the session */
  #takeEnd(error) {
    const { avatarChoice, chat, opening, preparation } = this.parts;
    this.#showMedia("none");
    chat.newSession();
    preparation.forget();
    if (!error) return;
    const lacking = lackingOf(error);
    if (error.code !== "stopped" && !lacking) this.page.note(error, "error");
    if (error.code === "avatar_not_found") avatarChoice.miss();
    if (lacking && !opening.current) opening.reopen(lacking); // an opening under way prepares it itself
  }
}
