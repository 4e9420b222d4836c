/** A link on which others watch this session, without taking part: shown to be copied, and copied where that may be. */

import { find } from "../dom.js";
import { beside } from "../server.js";

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

  /** @param {string} token of the session; "": there is none, or the operator does not allow it */
  show(token) {
    if (token === this.#token) return;
    this.#token = token;
    this.place.hidden = !token;
    this.field.hidden = true;
    // Behind the #, it is sent to no server, and stands in no log.
    this.field.value = token && beside(`watch#${token}`);
  }

  async #copy() {
    this.field.hidden = false;
    this.field.select();
    try {
      await navigator.clipboard.writeText(this.field.value); // is missing without https, and may be refused
      this.page.toast(this.page.texts().watchCopied);
    } catch {
      this.page.toast(this.page.texts().watchCopyYourself);
    }
  }
}
