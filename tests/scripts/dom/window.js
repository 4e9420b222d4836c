/** A page without a browser: jsdom's, in the place of the globals that the scripts use. Import it before any of them. */

import { JSDOM } from "jsdom";

import purify from "../../../portal/static/vendor/purify.min.js";

const { window } = new JSDOM("<!doctype html><body></body>", { url: "http://localhost/" });

for (const name of [
  "document", "window", "location", "Node", "NodeFilter", "HTMLElement", "HTMLButtonElement", "HTMLDetailsElement", "HTMLFormElement",
  "HTMLInputElement", "HTMLOListElement", "HTMLSelectElement", "HTMLTextAreaElement", "Option", "CustomEvent", "Event", "EventTarget",
]) {
  globalThis[name] = name === "window" ? window : window[name];
}

window.DOMPurify = purify(window); // in a browser it puts itself there

/** Put markup into the page; gives its first element. */
export function place(markup) {
  document.body.replaceChildren(document.createRange().createContextualFragment(markup));
  return document.body.firstElementChild;
}
