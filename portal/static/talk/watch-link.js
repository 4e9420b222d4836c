/**
 * The link with which others watch this session without taking part. It is shown, and copied if the browser allows it.
 */

import { find } from "../dom.js";
import { portalUrl } from "../server.js";

/** @typedef {import("../types/api.d.ts").Texts} Texts */

export class WatchLink {
  #token = "";

  /**
   * @param {ParentNode} panel
   * @param {{texts: () => Texts, toast: (text: string) => void}} page
   */
  constructor(panel, page) {
    this.page = page;
    this.place = find(panel, ".vv-share", HTMLElement);
    this.field = find(this.place, "input", HTMLInputElement);
    find(this.place, "button", HTMLButtonElement).onclick = () => void this.#copy();
  }

  /** @param {string} token of the session; "": there is no session, or the operator does not allow watching */
  show(token) {
    if (token === this.#token) return;
    this.#token = token;
    this.place.hidden = !token;
    this.field.hidden = true;
    // Browsers do not send the part after the #, so the token appears in no server's log.
    this.field.value = token && portalUrl(`watch#${token}`);
  }

  async #copy() {
    this.field.hidden = false;
    this.field.select();
    try {
      await navigator.clipboard.writeText(this.field.value); // throws without HTTPS, and may be refused
      this.page.toast(this.page.texts().watchCopied);
    } catch {
      this.page.toast(this.page.texts().watchCopyYourself);
    }
  }
}
