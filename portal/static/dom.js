/** Making elements, and putting words into them. */

/** Put every text of `root` (data-t, data-t-title, data-t-placeholder) into a language. */
export function translate(root, texts) {
  for (const element of root.querySelectorAll("[data-t]")) element.textContent = texts[element.dataset.t];
  for (const element of root.querySelectorAll("[data-t-title]")) {
    element.title = texts[element.dataset.tTitle];
    element.setAttribute("aria-label", element.title);
  }
  for (const element of root.querySelectorAll("[data-t-placeholder]")) {
    element.placeholder = texts[element.dataset.tPlaceholder];
  }
}

/** An element with attributes (or properties, for those that are no strings) and children. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "string") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** A share of 0 to 1, as both languages of the page write it. */
export function percent(share) {
  return `${Math.round(100 * share)}%`;
}

/** A text whose `commands` stand out, to be copied. */
export function withCode(text) {
  return text.split("`").map((part, place) => (place % 2 ? make("code", {}, part) : part));
}
