/** Choosing what of a photo or clip becomes the avatar: all of it, or a square about one face. */

import { make } from "../dom.js";

const SMALLEST = 0.15; // side of the square in parts of the shorter side of the picture
const USUAL = 0.6;
const UPPER = 0.4; // where faces usually are
const KEY_STEP = 0.02;
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Binds the fieldset of the upload form (portal/ui/avatars.py). */
export class Framing {
  #url = "";
  #picture = null;
  #middle = [0.5, UPPER];

  constructor(element) {
    this.element = element;
    this.stage = element.querySelector(".vv-framing-stage");
    this.part = element.querySelector(".vv-framing-part");
    this.square = element.querySelector(".vv-framing-square");
    this.size = element.querySelector("[type=range]");
    this.choices = [...element.querySelectorAll("[name=framing]")];
    for (const choice of this.choices) choice.onchange = () => this.#draw();
    this.size.min = SMALLEST;
    this.size.oninput = () => this.#draw();
    this.stage.onpointerdown = (event) => {
      event.preventDefault();
      this.stage.setPointerCapture(event.pointerId);
      this.square.focus();
      this.#moveTo(event);
    };
    this.stage.onpointermove = (event) => this.stage.hasPointerCapture(event.pointerId) && this.#moveTo(event);
    this.square.onkeydown = (event) => {
      const step = KEYS[event.key];
      if (!step) return;
      event.preventDefault();
      this.#move(this.#middle[0] + KEY_STEP * step[0], this.#middle[1] + KEY_STEP * step[1]);
    };
  }

  /** Begin with another file; with none, or one of which the browser can show nothing, there is no choice. */
  show(file) {
    URL.revokeObjectURL(this.#url);
    this.#picture?.remove();
    this.#picture = null;
    this.element.hidden = true;
    const kind = file?.type.split("/")[0];
    if (kind !== "image" && kind !== "video") return;
    this.#url = URL.createObjectURL(file);
    const picture = kind === "image" ? make("img", { alt: "" }) : make("video", { muted: true, playsInline: true });
    picture.onload = picture.onloadeddata = () => this.#begin(picture);
    picture.src = this.#url;
    this.#picture = picture;
  }

  /** "x,y,width,height" in parts of the picture; empty for all of it. */
  get value() {
    if (this.element.hidden || !this.#wanted) return "";
    return this.#box().map((number) => number.toFixed(4)).join();
  }

  get #wanted() {
    return this.choices.find(({ checked }) => checked)?.value === "part";
  }

  #begin(picture) {
    if (picture !== this.#picture) return; // another file was chosen meanwhile
    this.stage.prepend(picture);
    this.element.hidden = false;
    this.choices[0].checked = true;
    this.size.value = USUAL;
    this.#middle = [0.5, UPPER];
    this.#draw();
  }

  #moveTo({ clientX, clientY }) {
    const { left, top, width, height } = this.stage.getBoundingClientRect();
    this.#move((clientX - left) / width, (clientY - top) / height);
  }

  #move(x, y) {
    this.#middle = [x, y];
    const [left, top, width, height] = this.#box();
    this.#middle = [left + width / 2, top + height / 2]; // not beyond the edge, from where it would not come back
    this.#draw();
  }

  /** x, y, width, height of the square, within the picture. */
  #box() {
    const picture = this.#picture;
    const [across, down] = [picture.naturalWidth || picture.videoWidth, picture.naturalHeight || picture.videoHeight];
    const side = this.size.valueAsNumber * Math.min(across, down);
    const [width, height] = [side / across, side / down];
    const within = (middle, length) => Math.min(1 - length, Math.max(0, middle - length / 2));
    return [within(this.#middle[0], width), within(this.#middle[1], height), width, height];
  }

  #draw() {
    this.part.hidden = !this.#wanted;
    if (this.part.hidden) return;
    const [left, top, width, height] = this.#box().map((number) => `${100 * number}%`);
    Object.assign(this.square.style, { left, top, width, height });
  }
}
