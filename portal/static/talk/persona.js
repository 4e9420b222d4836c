/**
 * The fields for the avatar's persona: the instructions to the language model, and the greeting. They hold for this
 * viewer, or can be stored as the avatar's own.
 */

import { api } from "../desk/api.js";
import { find } from "../dom.js";
import { listOf } from "../server.js";

/**
 * @typedef {import("../errors.js").PortalError} PortalError
 * @typedef {import("../types/api.d.ts").AvatarView} AvatarView
 * @typedef {import("../types/api.d.ts").PersonaView} PersonaView
 *
 * @typedef {{prompt?: string, greeting?: string}} PersonaWish missing fields: the avatar's own are used
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

  /** Show the avatar's own persona in the fields that are empty. */
  async showOwn() {
    const avatar = this.page.avatar();
    /** @type {PersonaView?} */
    const own = avatar ? await listOf(`api/avatars/${avatar.id}/persona`) : null;
    this.keeping.hidden = avatar !== undefined && !avatar.changeable; // a shared avatar is changed by its owner only
    this.prompt.placeholder = own?.prompt ?? "";
    this.greeting.placeholder = own?.greeting ?? "";
  }

  /** Store what is typed as the avatar's own persona, for everybody. */
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
