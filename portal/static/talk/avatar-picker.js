/** The strip of avatars: a group of radio buttons with one tab stop. */

import { centreOnFace } from "../faces.js";
import { posterOf } from "../server.js";

/** @typedef {import("../types/api.d.ts").AvatarView} AvatarView */

export class AvatarPicker {
  /**
   * @param {HTMLElement} strip
   * @param {{picked: (id: string) => void, chooses: () => boolean}} page picked: a button was pressed; chooses: whether
   *     the arrow keys also choose, or only move the focus
   */
  constructor(strip, { picked, chooses }) {
    this.strip = strip;
    this.picked = picked;
    this.chooses = chooses;
    strip.onkeydown = (event) => this.move(event);
  }

  get buttons() {
    return /** @type {HTMLElement[]} */ ([...this.strip.children]);
  }

  /** @param {AvatarView[]} avatars */
  show(avatars) {
    const hadFocus = this.strip !== document.activeElement && this.strip.contains(document.activeElement);
    this.strip.replaceChildren(...avatars.map((avatar) => this.button(avatar)));
    if (hadFocus) queueMicrotask(() => this.buttons.find(({ tabIndex }) => tabIndex === 0)?.focus());
  }

  /**
   * Mark the choice, and scroll the strip so that it is visible. (scrollIntoView would also scroll the page.)
   * @param {string} id
   */
  choose(id) {
    const { strip } = this;
    for (const button of this.buttons) {
      const checked = button.dataset.id === id;
      button.setAttribute("aria-checked", String(checked));
      button.tabIndex = checked ? 0 : -1;
      if (!checked) continue;
      strip.scrollLeft = button.offsetLeft - (strip.clientWidth - button.offsetWidth) / 2;
      strip.scrollTop = button.offsetTop - (strip.clientHeight - button.offsetHeight) / 2; // the strip may be vertical
    }
  }

  /** @param {AvatarView} avatar */
  button(avatar) {
    const { id, name } = avatar;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "vv-avatar";
    button.dataset.id = id;
    button.setAttribute("role", "radio");
    button.title = name;
    const face = new Image();
    face.src = posterOf(avatar);
    face.alt = "";
    centreOnFace(face, avatar);
    const label = document.createElement("span");
    label.textContent = name;
    button.append(face, label);
    button.onclick = () => this.picked(id);
    return button;
  }

  /**
   * Handle arrow keys as in any group of radio buttons. During a session they only move the focus, since each choice
   * would cut off the answer.
   * @param {KeyboardEvent} event
   */
  move(event) {
    const { buttons } = this;
    if (event.altKey || event.ctrlKey || event.metaKey) return; // shortcuts of the browser: back, forward
    const here = buttons.findIndex((button) => button.contains(/** @type {Node} */ (event.target)));
    /** @type {Record<string, number>} */
    const goes = {
      ArrowRight: here + 1,
      ArrowDown: here + 1,
      ArrowLeft: here - 1,
      ArrowUp: here - 1,
      Home: 0,
      End: buttons.length - 1,
    };
    if (here < 0 || !(event.key in goes)) return;
    event.preventDefault();
    const there = buttons[(goes[event.key] + buttons.length) % buttons.length];
    for (const button of buttons) button.tabIndex = button === there ? 0 : -1;
    there.focus();
    if (this.chooses()) there.click();
  }
}
