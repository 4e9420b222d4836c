/** The frame: the avatar's still until there are pictures, and what lies over them. The pictures are the player's. */

import { beside, posterOf } from "../server.js";

const SHARP_PX = 480; // a moving preview with fewer rows looks worse than the still
const FILL_WITHIN = 1.4; // pictures are cropped to the frame if their shapes differ by no more than this factor

export class Stage {
  /** @param {HTMLElement} frame */
  constructor(frame) {
    this.frame = frame;
    for (const name of ["preview", "poster", "backdrop", "subtitle", "state", "coming", "preparing"]) {
      this[name] = frame.querySelector(`.vv-${name}`);
    }
    this.avatar = null;
    this.onResized = new ResizeObserver(() => this.fit());
    this.onResized.observe(frame);
  }

  close() {
    this.onResized.disconnect();
  }

  /** @param {"webrtc"|"websocket"|"none"} name whose pictures are seen; none: the still */
  showMedia(name) {
    this.frame.dataset.media = name;
  }

  showAvatar(avatar) {
    this.avatar = avatar;
    const { poster, backdrop } = this;
    const still = posterOf(avatar);
    if (poster.src !== still) poster.src = backdrop.src = still;
    poster.alt = avatar.name;
    this.fit();
    this.playPreview(avatar.preview ? beside(avatar.preview) : "");
  }

  /** The still comes to life where that is no worse to look at, and for who does not mind motion. */
  playPreview(moving) {
    const { preview } = this;
    if (preview.dataset.src === moving) return;
    preview.dataset.src = moving;
    preview.classList.remove("vv-on");
    if (!moving || matchMedia("(prefers-reduced-motion: reduce)").matches) return preview.removeAttribute("src");
    preview.src = moving;
    preview.onloadedmetadata = () => {
      if (preview.videoHeight < SHARP_PX) preview.removeAttribute("src");
      else preview.play().catch(() => {}); // not allowed or not playable: the still stays
    };
    preview.onplaying = () => preview.classList.add("vv-on");
  }

  /** On some screens, pictures have only a part of the frame: the poster's. */
  fit() {
    const { avatar, poster } = this;
    if (!avatar || !poster.clientHeight) return;
    const factor = (avatar.width / avatar.height) * (poster.clientHeight / poster.clientWidth);
    this.frame.classList.toggle("vv-cover", factor < FILL_WITHIN && factor > 1 / FILL_WITHIN);
  }

  /** In place of an avatar, where there is none: why. */
  showNone(isNone, why) {
    this.frame.classList.toggle("vv-none", isNone);
    this.preparing.textContent = why;
  }

  /** @returns {boolean} whether it is another state */
  showState(name, label) {
    const isOther = this.state.dataset.state !== name;
    this.state.dataset.state = name;
    this.state.textContent = label;
    return isOther;
  }

  showSubtitle(text) {
    if (this.subtitle.textContent !== text) this.subtitle.textContent = text;
  }

  /** @param {string} text what is being prepared; "": nothing */
  showComing(text, share) {
    const [words, bar] = this.coming.children;
    this.coming.hidden = !text;
    if (words.textContent !== text) words.textContent = text;
    bar.value = share;
  }
}
