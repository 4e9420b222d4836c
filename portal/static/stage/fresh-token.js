/**
 * Another login for a page in a frame: the page around has a new token of its product, and the portal's cookie becomes
 * that. It is asked for one when the portal no longer takes the old one, which happens when a viewer has to connect again.
 */

import { beside } from "../server.js";

const ASKED_FOR_MS = 10_000;
const KEPT_WITHIN_MS = 10_000;

export class FreshToken {
  /** @type {((taken: boolean) => void)[]} who waits for one */
  #asking = [];
  #ask;

  /** @param {() => void} ask tells the page around that a token is needed */
  constructor(ask) {
    this.#ask = ask;
  }

  /**
   * Of the page around. The portal refuses one that is not valid, and then the old login is left as it is.
   * @param {string} token
   */
  async take(token) {
    const taken = token !== "" && (await keptAsCookie(token));
    for (const answer of this.#asking.splice(0)) answer(taken);
  }

  /**
   * Ask for one. Resolves to whether there is a new login; false, too, if the page around says nothing.
   * @returns {Promise<boolean>}
   */
  needed() {
    return new Promise((resolve) => {
      this.#asking.push(resolve);
      setTimeout(() => resolve(false), ASKED_FOR_MS);
      this.#ask();
    });
  }
}

/**
 * As with the address of a page that carries a token: the answer sets the cookie, and leads to the page without it.
 * @param {string} token
 */
async function keptAsCookie(token) {
  const address = new URL(beside("stage"));
  address.searchParams.set("token", token);
  const headers = { accept: "text/html" };
  const signal = AbortSignal.timeout(KEPT_WITHIN_MS);
  const answer = await fetch(address, { headers, redirect: "manual", signal }).catch(() => null);
  return answer?.type === "opaqueredirect";
}
