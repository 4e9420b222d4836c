/** Finds and makes elements, and fills in their texts. */

/** @typedef {import("./types/api.d.ts").Texts} Texts */

/** @typedef {Node | string | null} Child null: none */

/**
 * Return the element at a selector. Throws if it is missing or of another kind, since then markup and script differ.
 * @template {Element} Kind
 * @param {ParentNode} root
 * @param {string} selector
 * @param {new () => Kind} kind
 */
export function find(root, selector, kind) {
  const found = root.querySelector(selector);
  if (!(found instanceof kind)) throw new Error(`The page has no ${kind.name} at ${selector}.`);
  return found;
}

/**
 * Fill in every text of `root` (data-t, data-t-title, data-t-placeholder) in the language of `texts`.
 * @param {ParentNode} root
 * @param {Texts} texts
 */
export function translate(root, texts) {
  /** @param {string} attribute */
  const all = (attribute) => /** @type {NodeListOf<HTMLInputElement>} */ (root.querySelectorAll(`[${attribute}]`));
  for (const element of all("data-t")) element.textContent = texts[element.dataset.t ?? ""];
  for (const element of all("data-t-title")) {
    element.title = texts[element.dataset.tTitle ?? ""];
    element.setAttribute("aria-label", element.title);
  }
  for (const element of all("data-t-placeholder")) element.placeholder = texts[element.dataset.tPlaceholder ?? ""];
}

/**
 * Make an element with attributes and children. Values that are not strings are set as properties.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, unknown>} [attributes]
 * @param {Child[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "string") element.setAttribute(name, value);
    else Reflect.set(element, name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/**
 * Format a share from 0 to 1 as a percentage, which both languages of the page write alike.
 * @param {number} share
 */
export function percent(share) {
  return `${Math.round(100 * share)}%`;
}

/**
 * Split a text at its backquotes. The parts between them become <code> elements, so that commands are easy to copy.
 * @param {string} text
 * @returns {(string | HTMLElement)[]}
 */
export function withCode(text) {
  return text.split("`").map((part, place) => (place % 2 ? make("code", {}, part) : part));
}
