/** An avatar as it moves, in the gallery and in the closer look. */

import { make } from "../dom.js";
import { beside, posterOf } from "../server.js";

/**
 * Its preview, or its still where there is none or where moving pictures wait until they are asked for.
 * @param {import("../types/api.d.ts").AvatarView} avatar
 * @returns {HTMLImageElement | HTMLVideoElement}
 */
export function movingPicture(avatar) {
  const poster = posterOf(avatar);
  const isStillWanted = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (!avatar.preview || isStillWanted) return make("img", { src: poster, alt: "" });
  const src = beside(avatar.preview);
  return make("video", { src, poster, muted: true, autoplay: true, loop: true, playsInline: true });
}
