/** Starts sessions. An avatar that has not been prepared for the lip-sync is prepared first. */

import { lackingOf } from "./preparation.js";

/**
 * @typedef {import("../errors.js").PortalError} PortalError
 * @typedef {import("../player.js").Player} Player
 * @typedef {import("../types/player.d.ts").Start} Start
 * @typedef {import("./preparation.js").Lacking} Lacking
 * @typedef {import("./preparation.js").Preparation} Preparation
 */

export class Opening {
  /** @type {Promise<void>?} the start of a session, until it has succeeded or failed */
  current = null;
  /** @type {Start} what the last session was started with */
  #wished = {};

  /**
   * @param {Player} player
   * @param {Preparation} preparation
   * @param {{wish: () => Start, wished: (options: Start) => void, note: (error: PortalError) => void}} page wish:
   *     returns what is chosen on the page; wished: show what a script asks for instead; note: report an error
   */
  constructor(player, preparation, page) {
    this.player = player;
    this.preparation = preparation;
    this.page = page;
  }

  /**
   * Start a session. Resolves at the first picture.
   * @param {Start} options values that replace what is chosen on the page
   */
  start(options = {}) {
    return this.#follow(this.#open(options));
  }

  /**
   * The server came back without the parts that the lip-sync needs of the avatar. Open a session again when they have
   * been made.
   * @param {Lacking} lacking
   */
  reopen(lacking) {
    const { avatar } = lacking;
    this.#wished = { ...this.page.wish(), ...this.#wished, avatar };
    this.page.wished({ avatar });
    this.#follow(this.#openWhenPrepared(lacking, this.#wished)).catch(() => {}); // the error has been reported
  }

  stop() {
    this.preparation.forget();
    this.current = null;
    this.player.stop();
  }

  /**
   * Resolves when the avatar has been prepared. If that fails, reports the reason and rejects.
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
      if (lackingOf(error)) this.page.note(error); // it is not prepared a second time
      throw error;
    }
  }
}
