/**
 * A sentence over the picture, for some seconds. A sentence without a time limit comes back after others that were
 * shown over it.
 */

const SHOWN_MS = 6000;

export class Toast {
  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
    this.standing = "";
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
  }

  /**
   * @param {string} text
   * @param {number} forMs Infinity: it stays until hide()
   */
  show(text, forMs = SHOWN_MS) {
    clearTimeout(this.timer);
    if (forMs < Infinity) this.timer = setTimeout(() => this.pass(), forMs);
    else this.standing = text;
    this.put(text);
  }

  hide() {
    clearTimeout(this.timer);
    this.standing = "";
    this.element.classList.remove("vv-on");
  }

  pass() {
    if (this.standing) this.put(this.standing);
    else this.hide();
  }

  /** @param {string} text */
  put(text) {
    this.element.textContent = text;
    this.element.classList.add("vv-on");
  }
}
