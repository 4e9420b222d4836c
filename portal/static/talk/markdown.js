/**
 * Renders the Markdown of a language model with marked. DOMPurify removes everything that could run code or load files.
 */

import { Marked } from "../vendor/marked.esm.js";
import "../vendor/purify.min.js"; // sets window.DOMPurify

/** @param {string} text */
const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");

// HTML in an answer is shown as text, since it is what somebody wrote. Headings become bold lines, so that they do not
// mix with the headings of the page. Only the text of an image remains, so that no other host is asked for it.
const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text }) => escaped(text),
    image: ({ text }) => escaped(text),
    heading({ tokens }) {
      return `<p><strong>${this.parser.parseInline(tokens)}</strong></p>`;
    },
  },
});

const ALLOWED = {
  ALLOWED_TAGS: ["p", "br", "strong", "em", "del", "code", "pre", "ul", "ol", "li", "blockquote", "a", "hr"].concat([
    "table", "thead", "tbody", "tr", "th", "td",
  ]),
  ALLOWED_ATTR: ["href", "start", "align"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

/**
 * Render a Markdown text.
 * @param {string} text
 * @returns {DocumentFragment}
 */
export function rendered(text) {
  const fragment = window.DOMPurify.sanitize(marked.parse(text), ALLOWED);
  for (const link of fragment.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
  return fragment;
}
