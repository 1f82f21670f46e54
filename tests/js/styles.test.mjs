// What one view of the board styles by its class alone, no other view does.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";

const board = new URL("../../crew_nb/_board/front/board/", import.meta.url).pathname;
const sheets = readdirSync(board, { recursive: true }).map(String).filter((path) => /^[^/]+\/.*\.css$/.test(path));
/** @param {string} sheet */
const selectors = (sheet) =>
  [...sheet.replace(/\/\*.*?\*\//gs, "").matchAll(/([^{};]+)\{/g)]
    .map((found) => found[1].trim())
    .filter((selector) => !selector.startsWith("@"))
    .flatMap((list) => list.split(/,(?![^(]*\))/));

test("a class that a view styles by itself is not styled by another view", () => {
  /** @type {Map<string, Set<string>>} */
  const views = new Map();
  for (const path of sheets)
    for (const selector of selectors(readFileSync(join(board, path), "utf8"))) {
      const named = [...new Set(selector.match(/\.cnb-[\w-]+/g))].filter((name) => name !== ".cnb-board");
      if (named.length === 1) views.set(named[0], (views.get(named[0]) ?? new Set()).add(path.split("/")[0]));
    }
  assert.ok(views.size > 50, "no rules found");
  assert.deepEqual([...views].filter(([, of]) => of.size > 1), []);
});
