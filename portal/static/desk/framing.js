/** Chooses which part of a photo or clip becomes the avatar: all of it, or a square around one face. */

import { find, make } from "../dom.js";

const SMALLEST = 0.15; // smallest side of the square, as a share of the picture's shorter side
const USUAL = 0.6; // initial side, likewise
const UPPER = 0.4; // usual height of a face, as a share of the picture's height
const KEY_STEP = 0.02;
/** @type {Record<string, [number, number]>} */
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Makes the fieldset of the upload form work (its markup is in portal/ui/avatars.py). */
export class Framing {
  #url = "";
  /** @type {HTMLImageElement | HTMLVideoElement | null} */
  #picture = null;
  #middle = [0.5, UPPER];

  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
    this.stage = find(element, ".vv-framing-stage", HTMLElement);
    this.part = find(element, ".vv-framing-part", HTMLElement);
    this.square = find(element, ".vv-framing-square", HTMLElement);
    this.size = find(element, "[type=range]", HTMLInputElement);
    this.choices = [.../** @type {NodeListOf<HTMLInputElement>} */ (element.querySelectorAll("[name=framing]"))];
    for (const choice of this.choices) choice.onchange = () => this.#draw();
    this.size.min = String(SMALLEST);
    this.size.oninput = () => this.#draw();
    this.stage.onpointerdown = (event) => {
      event.preventDefault();
      this.stage.setPointerCapture(event.pointerId);
      this.square.focus();
      this.#moveTo(event);
    };
    this.stage.onpointermove = (event) => {
      if (this.stage.hasPointerCapture(event.pointerId)) this.#moveTo(event);
    };
    this.square.onkeydown = (event) => {
      const step = KEYS[event.key];
      if (!step) return;
      event.preventDefault();
      this.#move(this.#middle[0] + KEY_STEP * step[0], this.#middle[1] + KEY_STEP * step[1]);
    };
  }

  /**
   * Begin with another file. Without one, or if the browser cannot show it, the choice is hidden.
   * @param {File | undefined} file
   */
  show(file) {
    URL.revokeObjectURL(this.#url);
    this.#picture?.remove();
    this.#picture = null;
    this.element.hidden = true;
    const kind = file?.type.split("/")[0];
    if (!file || (kind !== "image" && kind !== "video")) return;
    this.#url = URL.createObjectURL(file);
    const picture = kind === "image" ? make("img", { alt: "" }) : make("video", { muted: true, playsInline: true });
    picture.onload = picture.onloadeddata = () => this.#begin(picture);
    picture.src = this.#url;
    this.#picture = picture;
  }

  /** "x,y,width,height" as shares of the picture's size; "": all of it. */
  get value() {
    if (this.element.hidden || !this.#picture || !this.#wanted) return "";
    return this.#box(this.#picture).map((number) => number.toFixed(4)).join();
  }

  get #wanted() {
    return this.choices.find(({ checked }) => checked)?.value === "part";
  }

  /** @param {HTMLImageElement | HTMLVideoElement} picture */
  #begin(picture) {
    if (picture !== this.#picture) return; // another file was chosen meanwhile
    this.stage.prepend(picture);
    this.element.hidden = false;
    this.choices[0].checked = true;
    this.size.value = String(USUAL);
    this.#middle = [0.5, UPPER];
    this.#draw();
  }

  /** @param {PointerEvent} event */
  #moveTo({ clientX, clientY }) {
    const { left, top, width, height } = this.stage.getBoundingClientRect();
    this.#move((clientX - left) / width, (clientY - top) / height);
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  #move(x, y) {
    if (!this.#picture) return;
    this.#middle = [x, y];
    const [left, top, width, height] = this.#box(this.#picture);
    // Kept within the picture: from a point beyond its edge, arrow keys would at first seem to do nothing.
    this.#middle = [left + width / 2, top + height / 2];
    this.#draw();
  }

  /**
   * Return x, y, width and height of the square, kept within the picture, as shares of its size.
   * @param {HTMLImageElement | HTMLVideoElement} picture
   */
  #box(picture) {
    const [across, down] =
      picture instanceof HTMLVideoElement
        ? [picture.videoWidth, picture.videoHeight]
        : [picture.naturalWidth, picture.naturalHeight];
    const side = this.size.valueAsNumber * Math.min(across, down);
    const [width, height] = [side / across, side / down];
    /**
     * @param {number} middle
     * @param {number} length
     */
    const within = (middle, length) => Math.min(1 - length, Math.max(0, middle - length / 2));
    return [within(this.#middle[0], width), within(this.#middle[1], height), width, height];
  }

  #draw() {
    this.part.hidden = !this.#wanted;
    if (this.part.hidden || !this.#picture) return;
    const [left, top, width, height] = this.#box(this.#picture).map((number) => `${100 * number}%`);
    Object.assign(this.square.style, { left, top, width, height });
  }
}
