/** The moving picture of an avatar, for the gallery and for its details. */

import { make } from "../dom.js";
import { portalUrl, posterOf } from "../server.js";

/**
 * Return an avatar's preview. If it has none, or the viewer prefers reduced motion, return its still.
 * @param {import("../types/api.d.ts").AvatarView} avatar
 * @returns {HTMLImageElement | HTMLVideoElement}
 */
export function movingPicture(avatar) {
  const poster = posterOf(avatar);
  const isStillWanted = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (!avatar.preview || isStillWanted) return make("img", { src: poster, alt: "" });
  const src = portalUrl(avatar.preview);
  return make("video", { src, poster, muted: true, autoplay: true, loop: true, playsInline: true });
}
