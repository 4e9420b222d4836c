/** Shows text that was not played faintly. */

import { make } from "../dom.js";

/**
 * Show the text of an element faintly from a position on.
 * @param {HTMLElement} element
 * @param {number} length number of characters before that position
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
    if (before < length && before + characters > length) texts.nextNode(); // skip the part that splitText() split off
    before += characters;
  }
  for (const text of faint) {
    const span = make("span", { class: "vv-unplayed" });
    text.replaceWith(span);
    span.append(text);
  }
}
