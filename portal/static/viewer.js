/**
 * The person before the page, as far as a page can tell.
 *
 * Events, between watch() and unwatch(): "gesture" (in it the browser lets sound begin), "look" (the page is on show
 * again, perhaps after a long sleep), "online" (there is a network again).
 */

import { Teller } from "./teller.js";

const GESTURES = ["pointerup", "touchend", "click", "keydown"]; // those in which browsers let sound begin

/** @extends {Teller<{gesture: void, look: void, online: void}>} */
export class Viewer extends Teller {
  #onGesture = () => this.tell("gesture");
  #onShown = () => {
    if (!document.hidden) this.tell("look");
  };
  #onOnline = () => this.tell("online");

  /** Once is enough; more does no harm. */
  watch() {
    for (const type of GESTURES) window.addEventListener(type, this.#onGesture, { capture: true, passive: true });
    document.addEventListener("visibilitychange", this.#onShown);
    window.addEventListener("online", this.#onOnline);
  }

  unwatch() {
    for (const type of GESTURES) window.removeEventListener(type, this.#onGesture, { capture: true });
    document.removeEventListener("visibilitychange", this.#onShown);
    window.removeEventListener("online", this.#onOnline);
  }
}
