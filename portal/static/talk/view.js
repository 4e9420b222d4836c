/** How a viewer sees and hears the avatar: volume, subtitles, mirroring, full screen and picture-in-picture. */

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
   *     chosen on an earlier visit; loud: set the volume
   */
  constructor(panel, frame, video, page) {
    this.frame = frame;
    this.page = page;
    const fields = find(panel, ".vv-view", HTMLElement);
    this.volume = find(fields, "[name=volume]", HTMLInputElement);
    this.subtitles = find(fields, "[name=subtitles]", HTMLSelectElement);
    this.mirrored = find(fields, "[name=mirrored]", HTMLInputElement);
    const { volume, subtitles, mirrored } = page.wished; // stored values may be of any type
    this.volume.value = String(100 * (typeof volume === "number" ? Math.min(1, Math.max(0, volume)) : 1));
    this.subtitles.value = subtitles && SIZES.includes(subtitles) ? subtitles : "normal";
    this.mirrored.checked = mirrored === true;
    this.apply();
    this.volume.oninput = () => this.apply();
    fields.onchange = (event) => {
      event.stopPropagation(); // these choices are handled here, not with those around them
      page.changed(this.apply());
    };
    const whole = find(fields, ".vv-whole", HTMLButtonElement);
    whole.hidden = !document.fullscreenEnabled;
    whole.onclick = () => void frame.requestFullscreen().catch(() => {}); // if it is refused, nothing changes
    const apart = find(fields, ".vv-apart", HTMLButtonElement);
    apart.hidden = !document.pictureInPictureEnabled;
    apart.onclick = () => void video.requestPictureInPicture().catch(() => {});
    this.apart = apart;
  }

  /** @param {string} media the media in use; only WebRTC's video can go into a picture-in-picture window */
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
