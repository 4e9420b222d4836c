/** The buttons below the picture: Start, or microphone, sound, Interrupt and Stop. */

import { find } from "../dom.js";

export class Controls {
  /**
   * @param {HTMLElement} row
   * @param {{start: () => void, mute: () => void, interrupt: () => void, stop: () => void}} pressed
   */
  constructor(row, pressed) {
    this.start = find(row, "#vv-start", HTMLButtonElement);
    this.microphone = find(row, "#vv-mic", HTMLButtonElement);
    this.mute = find(row, ".vv-mute", HTMLButtonElement);
    this.interrupt = find(row, "#vv-interrupt", HTMLButtonElement);
    this.stop = find(row, "#vv-stop", HTMLButtonElement);
    this.start.onclick = () => pressed.start();
    this.mute.onclick = () => pressed.mute();
    this.interrupt.onclick = () => pressed.interrupt();
    this.stop.onclick = () => pressed.stop();
  }

  /**
   * @param {boolean} isAtRest whether nothing has begun that could be stopped
   * @param {boolean} isOpen whether there is a session
   * @param {boolean} isTalking whether there is something to interrupt
   */
  show(isAtRest, isOpen, isTalking) {
    this.start.hidden = !isAtRest;
    this.stop.hidden = isAtRest;
    this.microphone.hidden = this.mute.hidden = this.interrupt.hidden = !isOpen;
    this.interrupt.disabled = !isTalking;
  }

  /** @param {boolean} muted */
  showMuted(muted) {
    this.mute.setAttribute("aria-pressed", String(muted));
  }
}
