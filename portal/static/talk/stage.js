/**
 * The frame of the picture. It shows the avatar's still until the player shows pictures, and what lies over them.
 *
 * Event: "avatar" (the avatar whose still is shown).
 */

import { find } from "../dom.js";
import { portalUrl, posterOf } from "../server.js";
import { Teller } from "../teller.js";

/** @typedef {import("../types/api.d.ts").AvatarView} AvatarView */

const SHARP_PX = 480; // a moving preview with fewer rows of pixels looks worse than the still
const FILL_WITHIN = 1.4; // pictures are cropped to the frame if their shapes differ by no more than this factor

/** @extends {Teller<{avatar: AvatarView}>} */
export class Stage extends Teller {
  /** @param {HTMLElement} frame */
  constructor(frame) {
    super();
    this.frame = frame;
    this.preview = find(frame, ".vv-preview", HTMLVideoElement);
    this.poster = find(frame, ".vv-poster", HTMLImageElement);
    this.backdrop = find(frame, ".vv-backdrop", HTMLImageElement);
    this.subtitle = find(frame, ".vv-subtitle", HTMLElement);
    this.state = find(frame, ".vv-state", HTMLElement);
    this.coming = find(frame, ".vv-coming", HTMLElement);
    this.preparing = find(frame, ".vv-preparing", HTMLElement);
    /** @type {AvatarView?} */
    this.avatar = null;
    this.onResized = new ResizeObserver(() => this.fit());
    this.onResized.observe(frame);
  }

  close() {
    this.onResized.disconnect();
  }

  /** @param {"webrtc"|"websocket"|"none"} name the media whose pictures are seen; none: the still is seen */
  showMedia(name) {
    this.frame.dataset.media = name;
  }

  /** @param {AvatarView} avatar */
  showAvatar(avatar) {
    this.avatar = avatar;
    const { poster, backdrop } = this;
    const still = posterOf(avatar);
    if (poster.src !== still) poster.src = backdrop.src = still;
    poster.alt = avatar.name;
    this.fit();
    this.playPreview(avatar.preview ? portalUrl(avatar.preview) : "");
    this.tell("avatar", avatar);
  }

  /**
   * Play the moving preview in place of the still, unless it is too coarse or the viewer prefers reduced motion.
   * @param {string} moving address; "": there is none
   */
  playPreview(moving) {
    const { preview } = this;
    if (preview.dataset.src === moving) return;
    preview.dataset.src = moving;
    preview.classList.remove("vv-on");
    if (!moving || matchMedia("(prefers-reduced-motion: reduce)").matches) return preview.removeAttribute("src");
    preview.src = moving;
    preview.onloadedmetadata = () => {
      if (preview.videoHeight < SHARP_PX) preview.removeAttribute("src");
      else preview.play().catch(() => {}); // if it is not allowed or not playable, the still stays
    };
    preview.onplaying = () => preview.classList.add("vv-on");
  }

  /** Choose whether pictures fill the area of the poster, which on some screens is only a part of the frame. */
  fit() {
    const { avatar, poster } = this;
    if (!avatar || !poster.clientHeight) return;
    const factor = (avatar.width / avatar.height) * (poster.clientHeight / poster.clientWidth);
    this.frame.classList.toggle("vv-cover", factor < FILL_WITHIN && factor > 1 / FILL_WITHIN);
  }

  /**
   * Show, in place of an avatar, why there is none.
   * @param {boolean} isNone
   * @param {string} why
   */
  showNone(isNone, why) {
    this.frame.classList.toggle("vv-none", isNone);
    this.preparing.textContent = why;
  }

  /**
   * Show the state.
   * @param {string} name
   * @param {string} label
   * @returns {boolean} whether the state has changed
   */
  showState(name, label) {
    const isOther = this.state.dataset.state !== name;
    this.state.dataset.state = name;
    this.state.textContent = label;
    return isOther;
  }

  /** @param {string} text */
  showSubtitle(text) {
    if (this.subtitle.textContent !== text) this.subtitle.textContent = text;
  }

  /**
   * Show the progress of a preparation.
   * @param {string} text what is being prepared; "": nothing
   * @param {number} share how much is done, 0 to 1
   */
  showComing(text, share) {
    const words = find(this.coming, "span", HTMLElement);
    const bar = find(this.coming, "progress", HTMLProgressElement);
    this.coming.hidden = !text;
    if (words.textContent !== text) words.textContent = text;
    bar.value = share;
  }
}
