/**
 * Form fields for the parameters of a network. Each has a name, an element, a value that can be read and set, and
 * wrong(), which shows what is invalid and returns where.
 */

import { make } from "../dom.js";

/**
 * @typedef {import("../types/api.d.ts").Parameters} Parameters
 * @typedef {import("./desk.js").Desk} Desk
 *
 * wrong: shows what is invalid, if anything, and returns the input that has the invalid value.
 * @typedef {{name: string, element: HTMLElement, value: Parameters[string], wrong: () => HTMLElement | undefined}} Field
 */

/**
 * The ranges of the sliders. The number beside a slider may lie outside, as far as the server accepts it.
 * @type {Record<string, {min: string, max: string, step: string}>}
 */
const SLIDERS = {
  bbox_shift: { min: "-50", max: "50", step: "1" },
  extra_margin: { min: "0", max: "100", step: "1" },
  left_cheek_width: { min: "0", max: "256", step: "1" },
  right_cheek_width: { min: "0", max: "256", step: "1" },
  upper_boundary_ratio: { min: "0", max: "0.95", step: "0.01" },
};
const MODES = ["jaw", "raw", "neck"];
const SIDES = ["above", "below", "left", "right"];
const NOT_WHOLE = ["upper_boundary_ratio"];
const OF_THE_JAW = ["left_cheek_width", "right_cheek_width"];

/**
 * Whether a parameter has an effect, given the others: the jaw's matter only in the mode "jaw".
 * @param {string} name
 * @param {Parameters} parameters
 */
export function counts(name, parameters) {
  return parameters.parsing_mode === "jaw" || !OF_THE_JAW.includes(name);
}

/**
 * @param {Desk} desk
 * @param {string} backend
 * @param {string} name
 * @returns {Field}
 */
export function fieldOf(desk, backend, name) {
  const id = `vv-${backend}-${name}`;
  if (name === "parsing_mode") return modeField(desk, id, name);
  if (name === "smooth") return tickField(desk, id, name);
  return name === "pads" ? padsField(desk, id, name) : numberField(desk, id, name);
}

/**
 * @param {Desk} desk
 * @param {string} id
 * @param {string} name
 */
function labelOf(desk, id, name) {
  return make("label", { for: id, id: `${id}-label` }, desk.t(`parameter.${name}`), " ", make("code", {}, name));
}

/**
 * @param {Desk} desk
 * @param {string} id
 * @param {string} name
 */
function about(desk, id, name) {
  return make("small", { id: `${id}-about` }, desk.t(`about.${name}`));
}

/** The number inputs of one field, with a line that says which values are valid when one of them is not. */
class Numbers {
  /**
   * @param {Desk} desk
   * @param {string} name
   * @param {number} count
   * @param {Record<string, string>} attributes
   */
  constructor(desk, name, count, attributes = {}) {
    const [min, max] = desk.settings.ranges[name];
    const step = NOT_WHOLE.includes(name) ? "0.01" : "1";
    const limits = { min: String(min), max: String(max), step };
    this.inputs = Array.from({ length: count }, () => make("input", { type: "number", ...limits, ...attributes }));
    this.line = make("small", { class: "vv-fault", role: "alert", hidden: true });
    this.words = desk.t(NOT_WHOLE.includes(name) ? "anyNumber" : "wholeNumber", { min, max });
    /** @param {number} value */
    this.fits = (value) => value >= min && value <= max && (NOT_WHOLE.includes(name) || Number.isInteger(value));
  }

  /** Mark the invalid inputs, and return the first. An empty one is invalid, too. */
  wrong() {
    for (const input of this.inputs) input.setAttribute("aria-invalid", String(!this.fits(input.valueAsNumber)));
    const wrong = this.inputs.find(({ valueAsNumber }) => !this.fits(valueAsNumber));
    if (this.line.hidden !== !wrong) {
      this.line.textContent = wrong ? this.words : ""; // a change of the text makes screen readers read it
      this.line.hidden = !wrong;
    }
    return wrong;
  }
}

/**
 * @param {string} name
 * @param {HTMLElement} element
 * @param {() => Parameters[string]} read
 * @param {(value: Parameters[string]) => unknown} write
 * @param {() => HTMLElement | undefined} wrong left out if every choice is valid
 * @returns {Field}
 */
function field(name, element, read, write, wrong = () => undefined) {
  return {
    name,
    element,
    wrong,
    get value() {
      return read();
    },
    set value(value) {
      write(value);
    },
  };
}

/**
 * Make a slider with a number input, which also takes values outside the slider's range.
 * @param {Desk} desk
 * @param {string} id
 * @param {string} name
 */
function numberField(desk, id, name) {
  const described = { "aria-describedby": `${id}-about` };
  const slider = make("input", { type: "range", ...SLIDERS[name], "aria-labelledby": `${id}-label`, ...described });
  const numbers = new Numbers(desk, name, 1, { id, ...described });
  const [number] = numbers.inputs;
  const both = make("div", { class: "vv-slide" }, slider, number);
  const parts = [labelOf(desk, id, name), both, numbers.line, about(desk, id, name)];
  slider.oninput = () => (number.value = slider.value);
  number.oninput = () => {
    if (number.value) slider.value = number.value; // an empty value would move the slider to the middle
  };
  return field(
    name,
    make("div", { class: "vv-parameter" }, ...parts),
    () => number.valueAsNumber,
    (value) => (number.value = slider.value = String(value)),
    () => numbers.wrong(),
  );
}

/**
 * @param {Desk} desk
 * @param {string} id
 * @param {string} name
 */
function modeField(desk, id, name) {
  const options = MODES.map((mode) => make("option", { value: mode }, desk.t(`mode.${mode}`)));
  const select = make("select", { id, "aria-describedby": `${id}-about` }, ...options);
  const element = make("div", { class: "vv-parameter" }, labelOf(desk, id, name), select, about(desk, id, name));
  const write = (/** @type {Parameters[string]} */ value) => (select.value = String(value));
  return field(name, element, () => select.value, write);
}

/**
 * @param {Desk} desk
 * @param {string} id
 * @param {string} name
 */
function tickField(desk, id, name) {
  const box = make("input", { type: "checkbox", id, "aria-describedby": `${id}-about` });
  const tick = make("div", { class: "vv-tick" }, box, labelOf(desk, id, name));
  const element = make("div", { class: "vv-parameter" }, tick, about(desk, id, name));
  return field(name, element, () => box.checked, (value) => (box.checked = Boolean(value)));
}

/**
 * Make a field of four numbers, one for each side.
 * @param {Desk} desk
 * @param {string} id
 * @param {string} name
 */
function padsField(desk, id, name) {
  const numbers = new Numbers(desk, name, SIDES.length);
  const { inputs, line } = numbers;
  const labels = SIDES.map((side, i) => make("label", {}, make("span", {}, desk.t(`side.${side}`)), inputs[i]));
  const element = make(
    "fieldset",
    { class: "vv-parameter", "aria-describedby": `${id}-about` },
    make("legend", {}, desk.t(`parameter.${name}`), " ", make("code", {}, name)),
    make("div", { class: "vv-pads" }, ...labels),
    line,
    about(desk, id, name),
  );
  /** @param {Parameters[string]} value */
  const write = (value) => {
    const pads = Array.isArray(value) ? value : [];
    inputs.forEach((number, i) => (number.value = String(pads[i])));
  };
  return field(
    name,
    element,
    () => inputs.map((number) => number.valueAsNumber),
    write,
    () => numbers.wrong(),
  );
}
