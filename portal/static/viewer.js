/**
 * The person before the page, as far as a page can tell, and what they are missing there.
 *
 * Events, between watch() and leave(): "gesture" (in it the browser lets sound begin), "look" (the page is on show
 * again, perhaps after a long sleep), "online" (there is a network again), "blocked" (the browser wants a gesture before
 * sound, or it paused the video), "unblocked" (it sounds), "return" (see leave()).
 */

import { Teller } from "./teller.js";

const GESTURES = ["pointerup", "touchend", "click", "keydown"]; // those in which browsers let sound begin

/** @extends {Teller<{gesture: void, look: void, online: void, blocked: void, unblocked: void, return: void}>} */
export class Viewer extends Teller {
  isBlocked = false; // sound waits for a gesture
  isAway = false; // the session was ended by the server, and nobody has come back yet

  #onGesture = () => this.#notice("gesture");
  #onShown = () => {
    if (!document.hidden) this.#notice("look");
  };
  #onOnline = () => this.tell("online");

  /** A session begins. Once is enough; more does no harm. */
  watch() {
    this.isAway = false;
    for (const type of GESTURES) window.addEventListener(type, this.#onGesture, { capture: true, passive: true });
    document.addEventListener("visibilitychange", this.#onShown);
    window.addEventListener("online", this.#onOnline);
  }

  /**
   * The session has ended.
   * @param {boolean} isAway nobody wished it: "return" tells that somebody is here again, once
   */
  leave(isAway = false) {
    this.isBlocked = false;
    this.isAway = isAway;
    if (isAway) return;
    for (const type of GESTURES) window.removeEventListener(type, this.#onGesture, { capture: true });
    document.removeEventListener("visibilitychange", this.#onShown);
    window.removeEventListener("online", this.#onOnline);
  }

  /** Sound is not allowed, or the video was paused (a call, its own window, a key of the keyboard). */
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

  /** Unless it was a press on Start, or something else that begins a session by itself. */
  #comeBack() {
    setTimeout(() => {
      if (!this.isAway) return;
      this.leave();
      this.tell("return");
    });
  }
}
