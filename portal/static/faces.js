/** Crops small pictures of avatars so that the face is seen, wherever it is in the picture. */

/** @typedef {import("./types/api.d.ts").AvatarView} AvatarView */

const MIDDLE = 0.5;
const UPPER = 0.25; // the usual height of a face, for an avatar whose face box is unknown

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
 * Return the object-position, in %, that brings `centre` to the middle of the frame. `centre` and `shown`, the visible
 * part, are shares of the picture's length along one axis.
 * @param {number} centre
 * @param {number} shown
 */
function shift(centre, shown) {
  if (shown >= 1) return 50;
  const start = (centre - shown / 2) / (1 - shown);
  return Math.round(100 * Math.min(1, Math.max(0, start)));
}
