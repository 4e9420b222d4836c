/** Small pictures of avatars show the face, wherever it is in the picture. */

/** @typedef {import("./types/api.d.ts").AvatarView} AvatarView */

const MIDDLE = 0.5;
const UPPER = 0.25; // where faces usually are, for an avatar of which nothing is known

/**
 * Centre a picture that is cropped to its frame (object-fit: cover) on the avatar's face.
 * @template {{style: {objectPosition: string}}} Picture
 * @param {Picture} element img or video
 * @param {Pick<AvatarView, "width" | "height" | "face">} avatar
 * @param {number} aspect width / height of the frame
 * @returns {Picture} the element
 */
export function centreOnFace(element, { width, height, face }, aspect = 1) {
  const [x, y] = face ? [face[0] + face[2] / 2, face[1] + face[3] / 2] : [MIDDLE, UPPER];
  const shownWidth = Math.min(1, (aspect * height) / width);
  const shownHeight = Math.min(1, width / aspect / height);
  element.style.objectPosition = `${shift(x, shownWidth)}% ${shift(y, shownHeight)}%`;
  return element;
}

/**
 * Where object-position puts a picture of which the part `shown` is seen, so that `centre` comes to the middle; in %.
 * @param {number} centre
 * @param {number} shown
 */
function shift(centre, shown) {
  if (shown >= 1) return 50;
  const start = (centre - shown / 2) / (1 - shown);
  return Math.round(100 * Math.min(1, Math.max(0, start)));
}
