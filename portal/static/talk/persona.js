/** Who the avatar is: what the language model is told, and the greeting. For this viewer, or kept for the avatar. */

import { api } from "../desk/api.js";
import { find } from "../dom.js";
import { listOf } from "../server.js";

/**
 * @typedef {import("../errors.js").PortalError} PortalError
 * @typedef {import("../types/api.d.ts").AvatarView} AvatarView
 * @typedef {import("../types/api.d.ts").PersonaView} PersonaView
 *
 * @typedef {{prompt?: string, greeting?: string}} PersonaWish what is left out, the avatar has itself
 */

export class PersonaFields {
  /**
   * @param {HTMLElement} panel
   * @param {{wished: PersonaWish, avatar: () => AvatarView | undefined, kept: (avatar: AvatarView) => void,
   *     failed: (error: PortalError) => void}} page wished: what was typed on an earlier visit
   */
  constructor(panel, page) {
    this.page = page;
    this.fields = find(panel, ".vv-persona", HTMLDetailsElement);
    this.prompt = find(this.fields, "[name=prompt]", HTMLTextAreaElement);
    this.greeting = find(this.fields, "[name=greeting]", HTMLInputElement);
    this.prompt.value = page.wished.prompt ?? "";
    this.greeting.value = page.wished.greeting ?? "";
    this.fields.addEventListener("toggle", () => {
      if (this.fields.open) void this.showOwn();
    });
    this.keeping = find(this.fields, ".vv-keep", HTMLButtonElement);
    this.keeping.onclick = () => void this.keep();
  }

  /** @returns {PersonaWish} */
  chosen() {
    return { prompt: this.prompt.value.trim() || undefined, greeting: this.greeting.value.trim() || undefined };
  }

  /** Where nothing is typed, what the avatar has itself is seen. */
  async showOwn() {
    const avatar = this.page.avatar();
    /** @type {PersonaView?} */
    const own = avatar ? await listOf(`api/avatars/${avatar.id}/persona`) : null;
    this.keeping.hidden = avatar !== undefined && !avatar.changeable; // somebody else's, which is only shared, stays as it is
    this.prompt.placeholder = own?.prompt ?? "";
    this.greeting.placeholder = own?.greeting ?? "";
  }

  /** What is typed becomes the avatar's own, for everybody. */
  async keep() {
    const avatar = this.page.avatar();
    const { prompt, greeting } = this.chosen();
    if (!avatar || (!prompt && !greeting)) return;
    try {
      await api("PATCH", `api/avatars/${avatar.id}/persona`, { prompt, greeting });
    } catch (error) {
      return this.page.failed(/** @type {PortalError} */ (error));
    }
    this.prompt.value = this.greeting.value = "";
    this.page.kept(avatar);
    await this.showOwn();
  }
}
