/** How a viewer wants to see and hear the avatar: volume, subtitles, mirrored, the whole screen, a window of its own. */

import { find } from "../dom.js";

/**
 * @typedef {"off" | "small" | "normal" | "large"} Subtitles
 * @typedef {{volume?: number, subtitles?: Subtitles, mirrored?: boolean}} ViewWish volume: 0 to 1
 */

/** @type {Subtitles[]} */
const SIZES = ["off", "small", "normal", "large"];

export class View {
  /**
   * @param {HTMLElement} panel
   * @param {HTMLElement} frame the picture and what lies over it
   * @param {HTMLVideoElement} video
   * @param {{wished: ViewWish, changed: (wish: ViewWish) => void, loud: (volume: number) => void}} page wished: what was
   *     chosen on an earlier visit; loud: sound is to be as loud as that
   */
  constructor(panel, frame, video, page) {
    this.frame = frame;
    this.page = page;
    const fields = find(panel, ".vv-view", HTMLElement);
    this.volume = find(fields, "[name=volume]", HTMLInputElement);
    this.subtitles = find(fields, "[name=subtitles]", HTMLSelectElement);
    this.mirrored = find(fields, "[name=mirrored]", HTMLInputElement);
    const { volume, subtitles, mirrored } = page.wished; // anybody may have written there
    this.volume.value = String(100 * (typeof volume === "number" ? Math.min(1, Math.max(0, volume)) : 1));
    this.subtitles.value = subtitles && SIZES.includes(subtitles) ? subtitles : "normal";
    this.mirrored.checked = mirrored === true;
    this.apply();
    this.volume.oninput = () => this.apply();
    fields.onchange = (event) => {
      event.stopPropagation(); // it holds at once, unlike the rest of the panel
      page.changed(this.apply());
    };
    const whole = find(fields, ".vv-whole", HTMLButtonElement);
    whole.hidden = !document.fullscreenEnabled;
    whole.onclick = () => void frame.requestFullscreen().catch(() => {}); // refused: all stays as it is
    const apart = find(fields, ".vv-apart", HTMLButtonElement);
    apart.hidden = !document.pictureInPictureEnabled;
    apart.onclick = () => void video.requestPictureInPicture().catch(() => {});
    this.apart = apart;
  }

  /** @param {string} media whose pictures are seen: only a video can have a window of its own */
  showMedia(media) {
    this.apart.disabled = media !== "webrtc";
  }

  /** @returns {ViewWish} */
  apply() {
    const volume = Number(this.volume.value) / 100;
    const subtitles = /** @type {Subtitles} */ (this.subtitles.value);
    const mirrored = this.mirrored.checked;
    this.page.loud(volume);
    this.frame.dataset.subtitles = subtitles;
    this.frame.classList.toggle("vv-mirrored", mirrored);
    return { volume, subtitles, mirrored };
  }
}
