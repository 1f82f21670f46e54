import assert from "node:assert/strict";
import { test } from "node:test";
import { diffWords } from "../../crew_nb/_board/front/board/difference.js";
import { fields } from "../../crew_nb/_board/front/board/fields.js";
import { waiting } from "../../crew_nb/_board/front/board/happening.js";
import { markDifferences } from "../../crew_nb/_board/front/board/marking.js";
import { called, order } from "../../crew_nb/_board/front/board/rows.js";
import { stages } from "../../crew_nb/_board/front/board/stages.js";
import { marks } from "../../crew_nb/_board/front/board/timeline/scale.js";
import { clock, money, span } from "../../crew_nb/_board/front/shared/numbers.js";
import { page, row, SPECS } from "./board.mjs";

test("times are said as a person says them", () => {
  assert.deepEqual([0, 42, 727, 3723].map(clock), ["0:00", "0:42", "12:07", "1:02:03"]);
  assert.deepEqual([0.0004, 0.085, 4.21, 67].map(span), ["0 ms", "85 ms", "4.2 s", "1:07"]);
});

test("money never looks like nothing when it is something", () => {
  assert.deepEqual([0, 0.00001, 0.0042, 0.11, 1234.5].map(money), ["$0.00", "<$0.0001", "$0.0042", "$0.11", "$1,234.50"]);
});

test("asynchronous neighbours start together", () => {
  assert.deepEqual(stages(SPECS), [[0, 1], [2]]);
  assert.deepEqual(stages([{ name: "a" }, { name: "b", joins: [0] }]), [[0], [1]]);
});

test("a wait says the time that is left, and where nobody knows that, the time it has taken", () => {
  const wait = { key: "w", reason: "retry", since: 10, until: 14, detail: "429, try 2 of 3" };
  assert.equal(waiting(wait, 10), "retries in 4 s: 429, try 2 of 3");
  assert.equal(waiting(wait, 75), "waiting: 429, try 2 of 3, 1:05 so far");
  assert.equal(waiting({ ...wait, reason: "rate limit", detail: "60 requests a minute" }, 10), "goes on in 4 s: 60 requests a minute");
  assert.equal(waiting({ key: "s", reason: "slot", since: 10 }, 12), "no free place, 0:02 so far");
  assert.equal(waiting({ key: "s", reason: "pause", since: 10, detail: "the batch is paused" }, 11), "paused, 0:01 so far");
  assert.match(waiting({ key: "p", reason: "person", since: 10 }, 12), /^needs you/);
});

test("rows are filtered by every word, by problems, and sorted with ties in order", () => {
  const rows = new Map(
    [
      row(0, { status: "done", label: "topic=AI trends", tokens: 5 }),
      row(1, { status: "failed", label: "topic=AI chips", error: "RateLimitError", tokens: 5 }),
      row(2, { status: "running", label: "topic=Robots", tokens: 9 }),
    ].map((r) => [r.index, r]),
  );
  const by = { sort: "#", down: false, filter: "", problems: false };
  assert.deepEqual(order(3, rows, { ...by, filter: "ai chips" }, 0), [1]);
  assert.deepEqual(order(3, rows, { ...by, filter: "ratelimit" }, 0), [1]);
  assert.deepEqual(order(3, rows, { ...by, problems: true }, 0), [1]);
  assert.deepEqual(order(3, rows, { ...by, sort: "tokens" }, 0), [0, 1, 2]);
  assert.deepEqual(order(3, rows, { ...by, sort: "tokens", down: true }, 0), [2, 1, 0]);
  assert.deepEqual(order(4, rows, by, 0), [0, 1, 2, 3], "a row that has not come yet has its place");
});

test("rows are sorted by an input: as numbers where all are", () => {
  const rows = new Map([["10", "b"], ["9", "c"], ["-1", "a"]].map(([stars, name], i) => [i, row(i, { cells: { stars, name } })]));
  const sorted = (sort) => order(3, rows, { sort, down: false, filter: "", problems: false }, 0);
  assert.deepEqual(sorted("input:stars"), [2, 1, 0]);
  assert.deepEqual(sorted("input:name"), [2, 0, 1]);
  assert.equal(called(rows.get(0)), "10 · b");
  assert.equal(called(row(0, { cells: undefined, label: "a=1, b=2" })), "a=1, b=2");
});

test("marks of an axis are round and few", () => {
  assert.deepEqual(marks(0, 17, 5), [0, 5, 10, 15]);
  assert.deepEqual(marks(61, 100, 3), [75, 90]);
  assert.ok(marks(0, 1e6, 8).length <= 9);
});

test("a comparison gives both texts back, and marks only what differs", () => {
  const [a, b] = ["The cat sat on the mat.", "The dog sat on a mat, there."];
  const parts = diffWords(a, b);
  const side = (drop) => parts.filter((p) => p.kind !== drop).map((p) => p.text).join("");
  assert.equal(side("ins"), a);
  assert.equal(side("del"), b);
  assert.ok(parts.some((p) => p.kind === "del" && p.text === "cat"));
  assert.deepEqual(diffWords("same", "same"), [{ kind: "same", text: "same" }]);
  assert.deepEqual(diffWords("", "new"), [{ kind: "ins", text: "new" }]);
});

test("texts that are too different to compare word by word are still given back whole", () => {
  const [a, b] = [0, 1].map((n) => Array.from({ length: 4000 }, (_, i) => `w${i * 2 + n}`).join(" "));
  const parts = diffWords(a, b);
  assert.equal(parts.filter((p) => p.kind !== "ins").map((p) => p.text).join(""), a);
});

test("rendered outputs are marked where they differ, and nowhere else", () => {
  const window = page();
  const sides = [
    "<h4>Cats</h4><ul><li><strong>One</strong> sleeps a lot</li><li>the same</li></ul>",
    "<h4>Cats</h4><ul><li><strong>Two</strong> sleep a lot</li><li>the same</li></ul>",
  ].map((html) => Object.assign(document.createElement("div"), { innerHTML: html }));
  const whole = sides.map((side) => side.textContent);
  markDifferences(sides, true);
  const marksOf = (side) => [...side.querySelectorAll("ins, del")].map((e) => `${e.localName} ${e.textContent}`);
  assert.deepEqual(sides.map(marksOf), [["del One", "del  sleeps"], ["ins Two", "ins  sleep"]]);
  assert.equal(sides[0].querySelector("strong del").textContent, "One", "what is bold stays bold");
  assert.equal(sides[0].firstChild.textContent, "2 passages of 3 the same");
  assert.deepEqual([...sides[1].querySelectorAll(".cnb-same")].map((e) => e.textContent), ["Cats", "the same"]);
  sides.forEach((side) => side.firstChild.remove());
  assert.deepEqual(sides.map((side) => side.textContent), whole);
  window.close();
});

test("of more than two outputs each is compared with the first", () => {
  const window = page();
  const sides = ["a b", "a c", "a b"].map((text) => Object.assign(document.createElement("div"), { textContent: text }));
  markDifferences(sides, false);
  assert.deepEqual(sides.map((side) => side.innerHTML), ["a b", "a <ins>c</ins>", "a b"]);
  window.close();
});

test("structured outputs are known by being objects", () => {
  assert.deepEqual(fields('{"a": 1}'), { a: 1 });
  for (const text of [undefined, "", "{a", "[1]", "text {}", "12"]) assert.equal(fields(text), null);
});
