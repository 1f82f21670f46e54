// @ts-check
/** What differs between texts, word by word. */

/** @import {Parts} from "./messages.js" */

/**
 * What differs between two texts, word by word.
 * @param {string} before @param {string} after @returns {Parts}
 */
export function diffWords(before, after) {
  const a = before.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];
  const b = after.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const [x, y] = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
  /** @type {Parts} */
  const parts = [];
  const add = (/** @type {"same"|"del"|"ins"} */ kind, /** @type {string} */ text) => {
    const last = parts[parts.length - 1];
    if (last?.kind === kind) last.text += text;
    else if (text) parts.push({ kind, text });
  };
  const rest = a.slice(a.length - end).join("");
  add("same", a.slice(0, start).join(""));
  if (x.length * y.length > 9e6) {
    add("del", x.join(""));
    add("ins", y.join(""));
    add("same", rest);
    return parts;
  }
  // Longest common subsequence.
  const wide = y.length + 1;
  const best = new Uint16Array((x.length + 1) * wide);
  const at = (/** @type {number} */ i, /** @type {number} */ j) => best[i * wide + j] ?? 0;
  for (let i = x.length - 1; i >= 0; i--)
    for (let j = y.length - 1; j >= 0; j--)
      best[i * wide + j] = x[i] === y[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  let [i, j] = [0, 0];
  while (i < x.length || j < y.length) {
    if (i < x.length && j < y.length && x[i] === y[j]) [add("same", x[i] ?? ""), i++, j++];
    else if (i < x.length && (j === y.length || at(i + 1, j) >= at(i, j + 1))) add("del", x[i++] ?? "");
    else add("ins", y[j++] ?? "");
  }
  add("same", rest);
  return smooth(parts);
}

/**
 * Changes as phrases: white space between two changes belongs to both, so that they are not chopped into words.
 * @param {Parts} parts @returns {Parts}
 */
function smooth(parts) {
  /** @type {Parts} */
  const made = [];
  let [del, ins] = ["", ""];
  const flush = () => {
    if (del) made.push({ kind: "del", text: del });
    if (ins) made.push({ kind: "ins", text: ins });
    [del, ins] = ["", ""];
  };
  parts.forEach((part, n) => {
    const between = part.kind === "same" && /^[^\S\n]+$/.test(part.text) && (del || ins) && (parts[n + 1]?.kind ?? "same") !== "same";
    if (part.kind === "del" || between) del += part.text;
    if (part.kind === "ins" || between) ins += part.text;
    if (part.kind !== "same" || between) return;
    flush();
    made.push(part);
  });
  flush();
  return made;
}
