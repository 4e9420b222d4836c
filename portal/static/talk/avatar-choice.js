/** Keeps which avatar is chosen, before and during a session, and swaps the shown avatar when the choice changes. */

/**
 * @typedef {import("../player.js").Player} Player
 * @typedef {import("../types/api.d.ts").AvatarView} AvatarView
 * @typedef {import("./opening.js").Opening} Opening
 * @typedef {import("./preparation.js").Lacking} Lacking
 * @typedef {import("./state.js").TalkState} TalkState
 */

export class AvatarChoice {
  /**
   * @param {TalkState} state
   * @param {Player} player
   * @param {Opening} opening
   * @param {{chosen: (avatar: AvatarView) => void, missed: () => void}} page chosen: show this avatar as the choice;
   *     missed: an avatar of the list no longer exists
   */
  constructor(state, player, opening, page) {
    this.state = state;
    this.player = player;
    this.opening = opening;
    this.page = page;
  }

  /** @param {string | undefined} id undefined: the portal's own choice */
  choose(id) {
    this.state.learn({ picked: id });
    this.show();
  }

  /** Show which avatar is chosen. Call this when something may have changed it. */
  show() {
    const { choice } = this.state;
    if (choice) this.page.chosen(choice);
  }

  /**
   * Swap the avatar during a session. That cuts off what is being said, and the viewer is told so when the new avatar
   * is shown.
   * @param {string} id
   */
  swap(id) {
    this.state.learn({ isCutting: this.state.isTalking });
    this.player.changes.swapAvatar(id);
  }

  /**
   * Swap the avatar as soon as it has been prepared.
   * @param {Lacking} lacking
   */
  swapWhenPrepared(lacking) {
    this.opening.prepared(lacking).then(
      () => this.swap(lacking.avatar),
      () => this.chooseShown(), // prepared() has reported the error
    );
  }

  /**
   * Change this session's lip-sync as soon as the shown avatar has been prepared for it.
   * @param {Lacking} lacking
   */
  changeWhenPrepared({ lipsync, ...lacking }) {
    this.opening.prepared({ lipsync, ...lacking }).then(
      () => this.player.changes.change({ ...this.player.changes.chosen, lipsync }),
      () => {}, // prepared() has reported the error
    );
  }

  /** Make the shown avatar the choice, unless another one is on the way. */
  chooseShown() {
    const { changes, session, welcome } = this.player;
    if (!session || !welcome || changes.wanted || this.state.coming) return;
    this.choose(welcome.avatar.id);
  }

  /** An avatar of the list no longer exists. Make the shown avatar the choice again, and have the list read again. */
  miss() {
    const { session, welcome } = this.player;
    this.choose(session && welcome ? welcome.avatar.id : undefined);
    this.page.missed();
  }
}
