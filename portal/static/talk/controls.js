/** The buttons below the picture: Start, or sound, Interrupt and Stop. */

export class Controls {
  /**
   * @param {HTMLElement} row
   * @param {{start: Function, mute: Function, interrupt: Function, stop: Function}} pressed
   */
  constructor(row, pressed) {
    this.start = row.querySelector("#vv-start");
    this.mute = row.querySelector(".vv-mute");
    this.interrupt = row.querySelector("#vv-interrupt");
    this.stop = row.querySelector("#vv-stop");
    for (const name of ["start", "mute", "interrupt", "stop"]) this[name].onclick = () => pressed[name]();
  }

  /**
   * @param {boolean} isAtRest nothing has begun that could be stopped
   * @param {boolean} isOpen there is a session
   * @param {boolean} isTalking there is something to interrupt
   */
  show(isAtRest, isOpen, isTalking) {
    this.start.hidden = !isAtRest;
    this.stop.hidden = isAtRest;
    this.mute.hidden = this.interrupt.hidden = !isOpen;
    this.interrupt.disabled = !isTalking;
  }

  showMuted(muted) {
    this.mute.setAttribute("aria-pressed", String(muted));
  }
}
