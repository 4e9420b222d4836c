/** Text that was not played, shown faintly. */

import { make } from "../dom.js";

/**
 * Show what comes after so many characters faintly.
 * @param {HTMLElement} element
 * @param {number} length
 */
export function fadeFrom(element, length) {
  const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  /** @type {Text[]} */
  const faint = [];
  let before = 0;
  while (texts.nextNode()) {
    const text = /** @type {Text} */ (texts.currentNode);
    const { length: characters } = text.data;
    if (before + characters > length) faint.push(before >= length ? text : text.splitText(length - before));
    if (before < length && before + characters > length) texts.nextNode(); // what was split off
    before += characters;
  }
  for (const text of faint) {
    const span = make("span", { class: "vv-unplayed" });
    text.replaceWith(span);
    span.append(text);
  }
}
