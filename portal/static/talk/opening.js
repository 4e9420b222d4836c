/** Starting sessions. An avatar that lacks what the lip-sync needs of it is prepared first. */

import { lackingOf } from "./preparation.js";

/**
 * @typedef {import("../errors.js").PortalError} PortalError
 * @typedef {import("../player.js").Player} Player
 * @typedef {import("../types/player.d.ts").Start} Start
 * @typedef {import("./preparation.js").Lacking} Lacking
 * @typedef {import("./preparation.js").Preparation} Preparation
 */

export class Opening {
  /** @type {Promise<void>?} the session that is being started, until that has come to an end */
  current = null;
  /** @type {Start} what that session, or the one that goes on, was started with */
  #wished = {};

  /**
   * @param {Player} player
   * @param {Preparation} preparation
   * @param {{wish: () => Start, wished: (options: Start) => void, note: (error: PortalError) => void}} page wish: what is
   *     chosen on the page; wished: a script asks for something else; note: what went wrong is told
   */
  constructor(player, preparation, page) {
    this.player = player;
    this.preparation = preparation;
    this.page = page;
  }

  /**
   * Resolves at the first picture.
   * @param {Start} options what is not as it is chosen on the page
   */
  start(options = {}) {
    return this.#follow(this.#open(options));
  }

  /**
   * The server came back without what the lip-sync needs of the avatar: the session goes on when it is made again.
   * @param {Lacking} lacking
   */
  reopen(lacking) {
    const { avatar } = lacking;
    this.#wished = { ...this.page.wish(), ...this.#wished, avatar };
    this.page.wished({ avatar });
    this.#follow(this.#openWhenPrepared(lacking, this.#wished)).catch(() => {}); // it has been told
  }

  stop() {
    this.preparation.forget();
    this.current = null;
    this.player.stop();
  }

  /**
   * Resolves when the avatar has been prepared; rejects, after telling why, if it will not be.
   * @param {Lacking} lacking
   */
  async prepared(lacking) {
    try {
      await this.preparation.wait(lacking);
    } catch (thrown) {
      const error = /** @type {PortalError} */ (thrown);
      if (error.code !== "stopped") this.page.note(error);
      throw error;
    }
  }

  /** @param {Promise<void>} opening */
  #follow(opening) {
    const over = () => {
      if (this.current === opening) this.current = null;
    };
    this.current = opening;
    opening.then(over, over);
    return opening;
  }

  /** @param {Start} options */
  async #open(options) {
    this.preparation.forget();
    this.page.wished(options);
    const wished = { ...this.page.wish(), ...options };
    this.#wished = wished;
    try {
      await this.player.start(wished);
    } catch (error) {
      const lacking = lackingOf(/** @type {PortalError} */ (error));
      if (!lacking) throw error;
      await this.#openWhenPrepared(lacking, wished);
    }
  }

  /**
   * @param {Lacking} lacking
   * @param {Start} wished
   */
  async #openWhenPrepared(lacking, wished) {
    await this.prepared(lacking);
    try {
      await this.player.start(wished);
    } catch (thrown) {
      const error = /** @type {PortalError} */ (thrown);
      if (lackingOf(error)) this.page.note(error); // once is enough
      throw error;
    }
  }
}
