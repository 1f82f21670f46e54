import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { board, drawn, Model, page, row, SPECS, tick } from "./board.mjs";

/** @type {() => void} */
let close;
/** @type {HTMLElement} */
let el;
/** @type {Model} */
let model;
let window;

beforeEach(() => {
  window = page();
  el = document.createElement("div");
  document.body.append(el);
  model = new Model();
  close = board.default.render({ model, el });
});
afterEach(() => {
  close();
  window.close();
});

const find = (selector) => el.querySelector(selector);
const texts = (selector) => [...el.querySelectorAll(selector)].map((n) => n.textContent);

test("a view says hello, and draws what it hears", async () => {
  assert.equal(model.sent[0].t, "hello");
  model.say(tick(1, [row(0), row(1, { status: "failed", error: "RateLimitError: 429" })]));
  await drawn();
  assert.deepEqual(texts(".cnb-item .cnb-status"), ["●running", "✗failed"]);
  assert.match(find(".cnb-item .cnb-now").textContent, /and then/);
  assert.deepEqual(texts(".cnb-item:first-child .cnb-task bdi"), ["research", "market", "synthesis"]);
  assert.equal(find(".cnb-group").children.length, 2, "asynchronous tasks stand side by side");
  assert.equal(find('[role="progressbar"]').getAttribute("aria-valuenow"), "1");
});

test("a message that was lost is noticed, and everything asked for again", async () => {
  model.say(tick(1, [row(0)]));
  model.sent.length = 0;
  await new Promise((resolve) => setTimeout(resolve, 550));
  model.say(tick(3, [row(0, { status: "done" })], { full: false }));
  assert.equal(model.sent.at(-1).t, "hello");
  model.say(tick(9, [row(0, { status: "done" })], { full: true }));
  await drawn();
  assert.deepEqual(texts(".cnb-item .cnb-status"), ["✓done"]);
});

test("a view that came late ignores what it cannot place until it has everything", async () => {
  model.say(tick(7, [row(0)], { full: false }));
  await drawn();
  assert.equal(find(".cnb-item"), null);
});

test("an update keeps every element, the open row, the focus and what is typed", async () => {
  model.say(tick(1, [row(0), row(1)]));
  await drawn();
  const main = find('[data-run="0"]');
  main.click();
  await drawn();
  assert.deepEqual(model.sent.at(-1).detail, [0]);
  const detail = (text) => ({
    index: 0,
    status: "running",
    label: { text: "topic=0" },
    calls_left_out: 0,
    tasks: SPECS.map(() => ({
      status: "running",
      tokens: 0,
      calls_left_out: 0,
      text: { text },
      calls: [{ kind: "tool", name: "search", status: "done", started: 1, finished: 2, tokens: 0, detail: { text: "{}" } }],
    })),
  });
  model.say(tick(2, [row(0)], { full: false, details: { 0: detail("said") } }));
  await drawn();
  const folded = find(".cnb-detail details");
  folded.open = true;
  const speech = find(".cnb-live");
  const words = speech.lastChild;
  const filter = find(".cnb-filter");
  filter.focus();
  filter.value = "to";
  model.say(tick(3, [row(0, { tokens: 99 })], { full: false, details: { 0: detail("said and more") } }));
  await drawn();
  assert.equal(find('[data-run="0"]'), main);
  assert.equal(find(".cnb-detail details"), folded);
  assert.ok(folded.open);
  assert.equal(find(".cnb-live"), speech);
  assert.equal(speech.lastChild, words, "text that grows keeps its node, and a selection in it");
  assert.equal(words.data, "said and more");
  assert.equal(document.activeElement, filter);
  assert.equal(filter.value, "to");
});

test("the keyboard moves through rows, opens and closes them", async () => {
  model.say(tick(1, [row(0), row(1), row(2)]));
  await drawn();
  const press = (key) => document.activeElement.dispatchEvent(new window.KeyboardEvent("keydown", { key, bubbles: true }));
  find('[data-run="0"]').focus();
  press("ArrowDown");
  await drawn();
  assert.equal(document.activeElement.dataset.run, "1");
  press("Enter");
  await drawn();
  assert.equal(document.activeElement.getAttribute("aria-expanded"), "true");
  press("Escape");
  await drawn();
  assert.equal(find('[data-run="1"]').getAttribute("aria-expanded"), "false");
  press("End");
  assert.equal(document.activeElement.dataset.run, "2");
  find('[data-tab="runs"]').focus();
  press("ArrowRight");
  assert.equal(find('[aria-selected="true"]').dataset.tab, "timeline");
});

test("what is pressed in the board does not reach the notebook", async () => {
  model.say(tick(1, [row(0)]));
  await drawn();
  let heard = 0;
  document.body.addEventListener("keydown", () => heard++);
  find('[data-run="0"]').dispatchEvent(new window.KeyboardEvent("keydown", { key: "d", bubbles: true }));
  assert.equal(heard, 0);
});

test("buttons send commands", async () => {
  model.say(tick(1, [row(0), row(1, { status: "failed" })]));
  await drawn();
  for (const act of ["pause", "stop", "retry-all"]) find(`[data-act="${act}"]`).click();
  assert.deepEqual(
    model.sent.filter((m) => m.t === "do").map((m) => m.name),
    ["pause", "cancel", "retry"],
  );
});

test("a task that waits for a person has a form, whose answer goes back with its key", async () => {
  const waits = [{ key: "k1", reason: "person", since: 2, task: 2, detail: "right tone?", draft: { text: "a draft" } }];
  model.say(tick(1, [row(0, { status: "waiting", waits })]));
  await drawn();
  assert.equal(find(".cnb-form pre").textContent, "a draft");
  find('[data-act="feedback"]').click();
  assert.equal(model.sent.filter((m) => m.t === "do").length, 0, "no feedback is no answer");
  find(".cnb-form textarea").value = "shorter";
  find('[data-act="feedback"]').click();
  find('[data-act="approve"]').click();
  const answers = model.sent.filter((m) => m.t === "do").map(({ name, run, key, text, approve }) => ({ name, run, key, text, approve }));
  assert.deepEqual(answers, [
    { name: "answer", run: 0, key: "k1", text: "shorter", approve: false },
    { name: "answer", run: 0, key: "k1", text: "", approve: true },
  ]);
});

test("words of an LLM are text wherever they stand", async () => {
  const evil = '<img src=x onerror="globalThis.hit=1"><script>globalThis.hit=1</script>';
  const specs = [{ name: evil, agent: evil }];
  const cut = { text: evil };
  const evilRow = row(0, {
    label: evil,
    tasks: [{ status: "waiting", text: evil, tool: evil, error: evil }],
    waits: [{ key: evil, reason: "person", since: 1, task: 0, detail: evil, draft: cut }],
    worker: evil,
  });
  const call = { kind: "tool", name: evil, status: "failed", started: 1, finished: 2, tokens: 1, agent: evil, detail: cut, output: cut };
  const more = {
    shapes: { 0: specs },
    details: {
      0: {
        index: 0,
        status: "failed",
        label: cut,
        why: evil,
        calls: [call],
        calls_left_out: 0,
        error: { type: evil, message: cut, traceback: cut, hint: evil },
        tasks: [{ agent: evil, status: "failed", tokens: 0, text: cut, error: cut, calls: [call], calls_left_out: 0 }],
      },
    },
    lanes: { 0: { spans: [{ kind: "tool", task: 0, name: evil, started: 1, finished: 2, detail: evil }], left_out: 0 } },
    cards: { 0: { error: evil, hint: evil } },
    lines: [{ at: 1, run: 0, status: "failed", text: evil }],
  };
  const said = tick(1, [evilRow], more);
  said.batch.name = evil;
  said.batch.notes = [evil];
  said.batch.limit_reason = evil;
  model.say(said);
  await drawn();
  find("[data-run]").click();
  await drawn();
  for (const tab of ["runs", "timeline", "results", "log"]) {
    find(`[data-tab="${tab}"]`).click();
    await drawn();
    assert.equal(el.querySelectorAll("img, script").length, 0, tab);
    assert.ok(el.textContent.includes("<script>"), `${tab} shows it`);
  }
  assert.equal(globalThis.hit, undefined);
});

test("the frozen board stands without a kernel", async () => {
  close();
  const frozen = tick(0, [row(0, { status: "done" })], { full: true, lines: [] });
  close = board.default.render({ model: new Model(frozen), el });
  await drawn();
  assert.deepEqual(texts(".cnb-item .cnb-status"), ["✓done"]);
  assert.equal(find('[data-act="stop"]'), null);
});

test("a view that is closed leaves nothing behind", () => {
  close();
  assert.equal(model.sent.at(-1).t, "bye");
  assert.equal(model.callbacks.length, 0);
  assert.equal(el.childElementCount, 0);
});
