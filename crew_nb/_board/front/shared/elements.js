// @ts-check
/** Elements of the page, made of plain values: text is only ever set as text. */

/** @typedef {Node | string | number | null | undefined | false} Child */
/** @typedef {Record<string, string | number | boolean | null | undefined | ((event: any) => void)>} Attributes */

/**
 * An element; what is false or null is left out, and a function listens to the event of its name.
 * @param {string} tag @param {Attributes} [attributes] @param {...(Child | Child[])} children
 */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat())
    if (child !== null && child !== undefined && child !== false)
      node.append(child instanceof Node ? child : String(child));
  return node;
}

/** A button that keeps the focus: where it cannot be used it is marked so, and not disabled. @param {string} key @param {Attributes} attributes @param {string} name @param {boolean} off */
export function action(key, attributes, name, off) {
  return h("button", { type: "button", "data-key": key, ...attributes, "aria-disabled": off ? "true" : null }, name);
}

/** Words in which code stands between backticks, with the code as elements. @param {string} text @returns {Child[]} */
export function coded(text) {
  return text.split(/`([^`\n]+)`/).map((part, n) => (n % 2 ? h("code", {}, part) : part));
}
