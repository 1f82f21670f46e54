// @ts-check
/** Differences marked in what is shown. */

/** @import {Child} from "../shared/elements.js" */
/** @import {Parts} from "./messages.js" */
import { h } from "../shared/elements.js";
import { plural } from "../shared/numbers.js";
import { diffWords } from "./difference.js";

/** Parts of a comparison as marked text. @param {Parts} parts @param {"ins"|"del"} mark @returns {Child[]} */
export function marked(parts, mark) {
  const seen = parts.filter((part) => part.kind === "same" || part.kind === mark);
  return seen.map((part) => (part.kind === mark ? h(mark, {}, part.text) : part.text));
}

/** What a person reads as one passage. */
const PASSAGE = "p, li, h1, h2, h3, h4, h5, h6, tr, pre, dt, dd";

/** The text of an element as it is read, a line for each passage, with where in it each text node begins. @param {Element} root */
function reading(root) {
  const walker = document.createTreeWalker(root, 4); // NodeFilter.SHOW_TEXT
  /** @type {[Text, number][]} */
  const nodes = [];
  let [text, passage] = ["", /** @type {Element | null | undefined} */ (null)];
  while (walker.nextNode()) {
    const node = /** @type {Text} */ (walker.currentNode);
    const own = node.parentElement?.closest(PASSAGE);
    if (nodes.length && own !== passage) text += "\n";
    passage = own;
    nodes.push([node, text.length]);
    text += node.data;
  }
  return { text, nodes };
}

/**
 * Mark in rendered outputs what differs, word by word: of two what is only in either, of more what is not in the first.
 * @param {Element[]} sides @param {boolean} only leave out the passages in which nothing differs
 */
export function markDifferences(sides, only) {
  const [first, ...others] = sides.map(reading);
  if (!first) return;
  others.forEach((other) => {
    const parts = diffWords(first.text, other.text);
    if (others.length === 1) mark(first.nodes, parts, "del");
    mark(other.nodes, parts, "ins");
  });
  if (only) sides.slice(others.length > 1 ? 1 : 0).forEach(leaveOut);
}

/** @param {[Text, number][]} nodes @param {Parts} parts @param {"ins"|"del"} kind */
function mark(nodes, parts, kind) {
  /** @type {[number, number][]} */
  const spans = [];
  let at = 0;
  for (const part of parts.filter((part) => part.kind === "same" || part.kind === kind)) {
    if (part.kind === kind) spans.push([at, at + part.text.length]);
    at += part.text.length;
  }
  let next = 0;
  for (const [node, begin] of nodes) {
    const end = begin + node.data.length;
    while ((spans[next]?.[1] ?? Infinity) <= begin) next++;
    /** @type {(Node | string)[]} */
    const pieces = [];
    let done = begin;
    for (let n = next; (spans[n]?.[0] ?? Infinity) < end; n++) {
      const [from, to] = /** @type {[number, number]} */ (spans[n]).map((x) => Math.max(begin, Math.min(end, x)));
      pieces.push(node.data.slice(done - begin, (from ?? 0) - begin), h(kind, {}, node.data.slice((from ?? 0) - begin, (to ?? 0) - begin)));
      done = to ?? end;
    }
    if (pieces.length) node.replaceWith(...pieces, node.data.slice(done - begin));
  }
}

/** @param {Element} side */
function leaveOut(side) {
  const passages = [...side.querySelectorAll(PASSAGE)].filter((passage) => !passage.querySelector(PASSAGE));
  const same = passages.filter((passage) => !passage.querySelector("ins, del"));
  for (const passage of same) passage.classList.add("cnb-same");
  if (passages.length) side.prepend(h("p", { class: "cnb-left" }, `${plural(same.length, "passage")} of ${passages.length} the same`));
}
