/** Which avatar is the choice, before and during a session; and its way onto the picture, when it is another one. */

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
   * @param {{chosen: (avatar: AvatarView) => void, missed: () => void}} page chosen: it is seen as the choice; missed: one
   *     of the list is gone
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

  /** The choice is seen as such; call it when something may have changed it. */
  show() {
    const { choice } = this.state;
    if (choice) this.page.chosen(choice);
  }

  /**
   * What is being said is cut off by it; the viewer reads that once the other avatar is there.
   * @param {string} id
   */
  swap(id) {
    this.state.learn({ isCutting: this.state.isTalking });
    this.player.changes.swapAvatar(id);
  }

  /** @param {Lacking} lacking */
  swapWhenPrepared(lacking) {
    this.opening.prepared(lacking).then(
      () => this.swap(lacking.avatar),
      () => this.chooseShown(), // it has been told
    );
  }

  /**
   * The lip-sync of this session is to be another one, for which whoever is on show is being prepared.
   * @param {Lacking} lacking
   */
  changeWhenPrepared({ lipsync, ...lacking }) {
    this.opening.prepared({ lipsync, ...lacking }).then(
      () => this.player.changes.change({ ...this.player.changes.chosen, lipsync }),
      () => {}, // it has been told
    );
  }

  /** Whoever is on show is the choice, unless another is on the way. */
  chooseShown() {
    const { changes, session, welcome } = this.player;
    if (!session || !welcome || changes.wanted || this.state.coming) return;
    this.choose(welcome.avatar.id);
  }

  /** One of the list is gone: whoever is on show is the choice again, and the list is read anew. */
  miss() {
    const { session, welcome } = this.player;
    this.choose(session && welcome ? welcome.avatar.id : undefined);
    this.page.missed();
  }
}
