/**
 * Follows what the viewer does with the page, and whether they are missing sound.
 *
 * Events, between watch() and leave(): "gesture" (a click or key press, during which browsers let sound begin), "look"
 * (the page is visible again, perhaps after a long sleep), "online" (there is a network again), "blocked" (the browser
 * does not allow sound before a gesture, or it paused the video), "unblocked" (there is sound), "return" (see leave()).
 */

import { Teller } from "./teller.js";

const GESTURES = ["pointerup", "touchend", "click", "keydown"]; // events during which browsers let sound begin

/** @extends {Teller<{gesture: void, look: void, online: void, blocked: void, unblocked: void, return: void}>} */
export class Viewer extends Teller {
  isBlocked = false; // sound waits for a click or key press
  isAway = false; // the session ended without the viewer's wish, and the viewer has not come back yet

  #onGesture = () => this.#notice("gesture");
  #onShown = () => {
    if (!document.hidden) this.#notice("look");
  };
  #onOnline = () => this.tell("online");

  /** Start watching, because a session begins. Repeated calls do no harm. */
  watch() {
    this.isAway = false;
    for (const type of GESTURES) window.addEventListener(type, this.#onGesture, { capture: true, passive: true });
    document.addEventListener("visibilitychange", this.#onShown);
    window.addEventListener("online", this.#onOnline);
  }

  /**
   * Stop watching, because the session has ended.
   * @param {boolean} isAway true: the viewer did not ask for the end; "return" is told once when they are back
   */
  leave(isAway = false) {
    this.isBlocked = false;
    this.isAway = isAway;
    if (isAway) return;
    for (const type of GESTURES) window.removeEventListener(type, this.#onGesture, { capture: true });
    document.removeEventListener("visibilitychange", this.#onShown);
    window.removeEventListener("online", this.#onOnline);
  }

  /** Sound is not allowed, or the video was paused (by a phone call, a picture-in-picture window or a media key). */
  block() {
    if (this.isBlocked) return;
    this.isBlocked = true;
    this.tell("blocked");
  }

  unblock() {
    if (!this.isBlocked) return;
    this.isBlocked = false;
    this.tell("unblocked");
  }

  /** @param {"gesture" | "look"} type */
  #notice(type) {
    if (this.isAway) this.#comeBack();
    else this.tell(type);
  }

  /**
   * Tell "return", unless the same click begins a session by itself, such as a click on Start. Its handlers run before
   * the timeout and call watch().
   */
  #comeBack() {
    setTimeout(() => {
      if (!this.isAway) return;
      this.leave();
      this.tell("return");
    });
  }
}
