/**
 * Renews the login of a page in a frame. The embedding page passes a new token, which is exchanged for a new cookie of
 * the portal. It is asked for one when the portal no longer accepts the old login, which shows when a viewer
 * reconnects.
 */

import { portalUrl } from "../server.js";

const ASKED_FOR_MS = 10_000;
const KEPT_WITHIN_MS = 10_000;

export class FreshToken {
  /** @type {((taken: boolean) => void)[]} callbacks that wait for a new token */
  #asking = [];
  #ask;

  /** @param {() => void} ask tells the embedding page that a token is needed */
  constructor(ask) {
    this.#ask = ask;
  }

  /**
   * Take a token of the embedding page. If the portal refuses it, the old login stays.
   * @param {string} token
   */
  async take(token) {
    const taken = token !== "" && (await keptAsCookie(token));
    for (const answer of this.#asking.splice(0)) answer(taken);
  }

  /**
   * Ask for a token. Resolves to whether there is a new login; to false, too, if the embedding page does not answer.
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
 * Exchange a token for a cookie. Request the stage view with the token in its address: if the token is valid, the
 * answer sets the cookie and redirects to the address without it.
 * @param {string} token
 */
async function keptAsCookie(token) {
  const address = new URL(portalUrl("stage"));
  address.searchParams.set("token", token);
  const headers = { accept: "text/html" };
  const signal = AbortSignal.timeout(KEPT_WITHIN_MS);
  const answer = await fetch(address, { headers, redirect: "manual", signal }).catch(() => null);
  return answer?.type === "opaqueredirect";
}
