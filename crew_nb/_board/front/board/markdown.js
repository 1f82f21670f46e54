// @ts-check
import { h } from "../shared/elements.js";

/** HTML that Python has rendered from Markdown and sanitized: the only place where HTML is taken. @param {string} html */
export function sanitized(html) {
  const node = h("div", { class: "cnb-md", dir: "auto" });
  node.innerHTML = html;
  return node;
}
