/** A sentence over the picture, for a while. */

const SHOWN_MS = 6000;

export class Toast {
  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
    this.timer = 0;
  }

  show(text, forMs = SHOWN_MS) {
    this.element.textContent = text;
    this.element.classList.add("vv-on");
    clearTimeout(this.timer);
    if (forMs < Infinity) this.timer = setTimeout(() => this.hide(), forMs);
  }

  hide() {
    clearTimeout(this.timer);
    this.element.classList.remove("vv-on");
  }
}
