import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import board from "../../crew_nb/_board/front/board.js";
import { drawn, Model, page, row, SPECS, tick } from "./board.mjs";

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
  close = board.render({ model, el });
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

test("a message that was lost before a part of a file is noticed too, and a file with a hole is asked for again", async () => {
  model.say(tick(1, [row(0)]));
  const { view } = model.sent[0];
  const part = (revision, n) => model.say({ t: "file", revision, view, format: "csv", part: n, parts: 3, text: "x" });
  await new Promise((resolve) => setTimeout(resolve, 550));
  model.sent.length = 0;
  part(2, 0);
  assert.deepEqual(model.sent, [], "nothing is lost yet");
  part(4, 2);
  assert.deepEqual(model.sent.map(({ t }) => t), ["hello", "file"]);
  model.say(tick(5, [row(0, { status: "done" })], { full: false }));
  await drawn();
  assert.deepEqual(texts(".cnb-item .cnb-status"), ["●running"], "what came after the gap is no state");
  model.say(tick(6, [row(0, { status: "done" })], { full: true }));
  await drawn();
  assert.deepEqual(texts(".cnb-item .cnb-status"), ["✓done"]);
});

test("what a task joins is said in the words of Python, and a view that is asked says that it is there", async () => {
  model.say(tick(1, [row(0)]));
  await drawn();
  assert.deepEqual(texts(".cnb-task small"), ["← joins both"]);
  model.sent.length = 0;
  model.say({ t: "who" });
  assert.deepEqual(model.sent.map(({ t }) => t), ["look"]);
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
      text: { html: text },
      calls: [{ kind: "tool", name: "search", status: "done", started: 1, finished: 2, tokens: 0, detail: { text: "{}" } }],
    })),
  });
  model.say(tick(2, [row(0)], { full: false, details: { 0: detail("said") } }));
  await drawn();
  const folded = find(".cnb-detail details");
  folded.open = true;
  const speech = find(".cnb-live");
  const words = speech.lastChild.lastChild;
  const filter = find(".cnb-filter");
  filter.focus();
  filter.value = "to";
  model.say(tick(3, [row(0, { tokens: 99 })], { full: false, details: { 0: detail("said and more") } }));
  await drawn();
  assert.equal(find('[data-run="0"]'), main);
  assert.equal(find(".cnb-detail details"), folded);
  assert.ok(folded.open);
  assert.equal(find(".cnb-live"), speech);
  assert.equal(speech.lastChild.lastChild, words, "text that grows keeps its node, and a selection in it");
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

test("what is pressed in the board does not reach the notebook, on its way down or up", async () => {
  model.say(tick(1, [row(0)]));
  await drawn();
  let heard = 0;
  for (const capture of [true, false]) document.addEventListener("keydown", () => heard++, { capture });
  const press = (where) => where.dispatchEvent(new window.KeyboardEvent("keydown", { key: "d", bubbles: true }));
  press(find('[data-run="0"]'));
  assert.equal(heard, 0);
  press(document.body);
  assert.equal(heard, 2, "what is pressed elsewhere is not the board's");
  close();
  press(el);
  assert.equal(heard, 4, "a board that is closed takes nothing");
  close = () => {};
});

test("Escape closes what is open, then leads out of the board; what is searched for is emptied first", async () => {
  model.say(tick(1, [row(0)]));
  await drawn();
  let out = 0;
  document.addEventListener("keydown", () => out++);
  const press = () => document.activeElement.dispatchEvent(new window.KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
  find('[data-run="0"]').click();
  find('[data-run="0"]').focus();
  await drawn();
  press();
  await drawn();
  assert.equal(find('[data-run="0"]').getAttribute("aria-expanded"), "false");
  assert.equal(out, 0);
  press();
  assert.equal(out, 1);
  assert.equal(el.contains(document.activeElement), false);
  find(".cnb-filter").focus();
  find(".cnb-filter").value = "topic";
  press();
  assert.equal(out, 1);
  find(".cnb-filter").value = "";
  press();
  assert.equal(out, 2);
});

test("a button that is pressed keeps the focus, when it can no longer be used and when it goes", async () => {
  const rows = (status) => [row(0, { status }), row(1, { status })];
  model.say(tick(1, rows("running")));
  await drawn();
  const focused = () => document.activeElement.textContent;
  const pause = find('[data-act="pause"]');
  pause.focus();
  const paused = tick(2, [], { full: false });
  paused.batch = { ...tick(1, rows("running")).batch, paused: true };
  model.say(paused);
  await drawn();
  assert.equal(document.activeElement, pause);
  assert.equal(focused(), "Resume");
  const stop = find('[data-act="stop"]');
  stop.focus();
  model.say(tick(3, rows("cancelling"), { full: false }));
  await drawn();
  assert.equal(document.activeElement, stop);
  assert.equal(focused(), "Stopping…");
  stop.click();
  assert.equal(model.sent.filter((m) => m.t === "do").length, 0, "it does nothing now");
  model.say(tick(4, rows("cancelled"), { full: false }));
  await drawn();
  assert.equal(stop.isConnected, false, "there is nothing to stop");
  assert.equal(document.activeElement.dataset.tab, "runs");
  const retry = find('[data-act="retry-all"]');
  assert.equal(retry.textContent, "Retry stopped (2)");
  retry.focus();
  model.say(tick(5, rows("running"), { full: false }));
  await drawn();
  assert.equal(focused(), "Retrying…");
  model.say(tick(6, rows("done"), { full: false }));
  await drawn();
  assert.deepEqual(texts(".cnb-head button"), [], "it is over, and no button says otherwise");
  assert.equal(document.activeElement.dataset.tab, "runs");
});

test("where the focus was on something that has gone, it goes to the row or to the tab", async () => {
  const asks = { status: "waiting", waits: [{ key: "k", reason: "person", since: 2, task: 2 }] };
  model.say(tick(1, [row(0), row(1, asks)]));
  await drawn();
  find('[data-act="feedback"]').focus();
  model.say(tick(2, [row(0), row(1)], { full: false }));
  await drawn();
  assert.equal(document.activeElement.dataset.run, "1");
  find('[data-tab="results"]').click();
  await drawn();
  for (const run of [0, 1]) find(`[data-in="pick"][data-run="${run}"]`).click();
  await drawn();
  find('[data-act="compare"]').focus();
  find('[data-act="compare"]').click();
  await drawn();
  assert.equal(document.activeElement.dataset.act, "compare-end");
});

test("a kernel that is known to have died has gone at once", async () => {
  model.say(tick(1, [row(0), row(1, { status: "done" })]));
  await drawn();
  model.widget_manager = { kernel: { status: "restarting" } };
  model.trigger("comm_live_update");
  await drawn();
  assert.match(find(".cnb-note").textContent, /The kernel has gone/);
  assert.deepEqual(texts(".cnb-item .cnb-status"), ["?unknown", "✓done"]);
  model.widget_manager.kernel.status = "idle";
  model.say(tick(1, [row(0), row(1, { status: "done" })]));
  await drawn();
  assert.deepEqual(texts(".cnb-item .cnb-status"), ["●running", "✓done"], "one that answers is back");
});

test("only problems counts what it shows, and what a retry has mended is none", async () => {
  const mended = row(1, { status: "done", attempt: 2, tasks: [] });
  const failed = row(2, { status: "failed", error: "x", tasks: [] });
  model.say(tick(1, [row(0, { tasks: [] }), mended, failed]));
  await drawn();
  find("[data-in=problems]").click();
  await drawn();
  assert.equal(find(".cnb-shown").textContent, "1 of 3 shown");
  assert.deepEqual(texts(".cnb-item .cnb-num"), ["2"]);
});

test("a kernel that goes while runs are under way is said to have gone, and the runs are not said to run", async () => {
  const wait = { key: "w", reason: "retry", since: 2, until: 90, task: 1 };
  const done = row(1, { status: "done", tasks: SPECS.map(() => ({ status: "done" })) });
  model.say(tick(1, [row(0), done, row(2, { status: "waiting", waits: [wait] })]));
  await drawn();
  model.sent.length = 0;
  const real = performance.now;
  try {
    model.trigger("comm_live_update");
    assert.equal(model.sent.at(-1).t, "hello", "it asks before it believes that");
    await drawn();
    assert.match(find(".cnb-note").textContent, /Connecting/);
    const later = (by) => {
      performance.now = () => real.call(performance) + by;
      return new Promise((resolve) => setTimeout(resolve, 1100)).then(drawn);
    };
    await later(60_000);
    assert.equal(find(".cnb-note").textContent, 'The kernel has gone; what finished is in the record: cnb.load("sweep") or resume=True.');
    assert.deepEqual([...find(".cnb-note").querySelectorAll("code")].map((e) => e.textContent), ['cnb.load("sweep")', "resume=True"]);
    assert.deepEqual(texts(".cnb-item .cnb-status"), ["?unknown", "✓done", "?unknown"]);
    assert.deepEqual(texts(".cnb-chip"), ["✓1 done", "?2 unknown"]);
    assert.equal(el.querySelectorAll(".cnb-say, .cnb-wait, .cnb-task[data-s=running]").length, 0);
    assert.equal(find('[data-act="stop"]'), null);
    const time = find(".cnb-time").textContent;
    await later(70_000);
    assert.equal(find(".cnb-time").textContent, time, "its clock stands still");
    assert.match(find(".cnb-note").textContent, /has gone/);
    model.say(tick(1, [row(0), row(1, { status: "done" }), row(2)]));
    await drawn();
    assert.deepEqual(texts(".cnb-item .cnb-status"), ["●running", "✓done", "●running"], "a kernel that answers is back");
    assert.equal(find(".cnb-note"), null);
  } finally {
    performance.now = real;
  }
});

test("a table asks for the outputs of the rows that it shows", async () => {
  const rows = Array.from({ length: 60 }, (_, i) => row(i, { status: "done" }));
  model.say(tick(1, rows, { cards: { 0: { text: '{"verdict": "yes"}' } } }));
  await drawn();
  find('[data-tab="results"]').click();
  await drawn();
  find('[data-act="table"]').click();
  await drawn();
  await drawn();
  assert.equal(find("tbody td:last-child").textContent, "yes");
  assert.deepEqual(model.sent.at(-1).card, Array.from({ length: 40 }, (_, i) => i));
});

test("results stand in the order of the inputs, however Runs is sorted", async () => {
  model.say(tick(1, [row(0), row(1), row(2)]));
  await drawn();
  find('[data-sort="tokens"]').click();
  await drawn();
  assert.deepEqual(texts(".cnb-item .cnb-num"), ["0", "1", "2"]);
  assert.deepEqual([...el.querySelectorAll(".cnb-item")].sort((a, b) => a.style.transform.match(/\d+/)[0] - b.style.transform.match(/\d+/)[0]).map((e) => e.dataset.item), ["2", "1", "0"]);
  find('[data-tab="results"]').click();
  await drawn();
  assert.deepEqual(texts(".cnb-card header small"), ["0", "1", "2"]);
  find('[data-tab="timeline"]').click();
  await drawn();
  assert.equal(find(".cnb-shown").textContent, "sorted by tokens ↓");
});

test("what a card has cut is fetched whole to be compared and copied", async () => {
  const copied = [];
  Object.defineProperty(globalThis, "navigator", { configurable: true, value: { clipboard: { writeText: async (text) => copied.push(text) } } });
  const card = (text) => ({ text, html: `<div><p>${text}</p></div>`, left_out: 4 });
  const done = [0, 1].map((i) => row(i, { status: "done" }));
  model.say(tick(1, done, { cards: { 0: card("same"), 1: card("same") } }));
  await drawn();
  find('[data-tab="results"]').click();
  await drawn();
  assert.match(find(".cnb-cardbody").textContent, /4 more characters/);
  for (const run of [0, 1]) find(`[data-in="pick"][data-run="${run}"]`).click();
  await drawn();
  find('[data-act="compare"]').click();
  await drawn();
  assert.deepEqual(texts(".cnb-column .cnb-left"), ["4 more characters are on their way", "4 more characters are on their way"]);
  const asked = model.sent.filter((m) => m.t === "whole");
  assert.deepEqual(asked.map(({ run, form }) => [run, form]), [[0, "html"], [1, "html"]]);
  const { view } = asked[0];
  let revision = 1;
  const parts = (run, form, ...texts) => texts.forEach((text, part) => model.say({ t: "whole", view, run, form, part, parts: texts.length, text, revision: ++revision }));
  parts(0, "html", "<div><p>same", " end</p></div>");
  parts(1, "html", "<div><p>same other</p></div>");
  await drawn();
  assert.deepEqual(texts(".cnb-column ins"), ["other"]);
  assert.equal(find(".cnb-column .cnb-left"), null);
  assert.equal(model.sent.filter((m) => m.t === "whole").length, 2, "each is asked for once");
  find('[data-act="compare-end"]').click();
  await drawn();
  find('[data-act="copy"][data-run="1"]').click();
  assert.deepEqual(copied, []);
  parts(1, "text", "same", " other");
  await drawn();
  assert.deepEqual(copied, ["same other"]);
});

test("a long structured output keeps its fields, and is compared whole", async () => {
  const done = [0, 1].map((i) => row(i, { status: "done" }));
  const card = (why) => ({ text: '{"why": "cut', fields: { verdict: "yes", why }, left_out: 9 });
  model.say(tick(1, done, { cards: { 0: card("a…"), 1: card("a…") } }));
  await drawn();
  find('[data-tab="results"]').click();
  await drawn();
  assert.deepEqual(texts(".cnb-card:first-child th"), ["verdict", "why"]);
  assert.match(find(".cnb-cardbody").textContent, /9 more characters/);
  assert.ok(find('[data-act="table"]'), "it has a table");
  for (const run of [0, 1]) find(`[data-in="pick"][data-run="${run}"]`).click();
  await drawn();
  find('[data-act="compare"]').click();
  await drawn();
  const asked = model.sent.filter((m) => m.t === "whole");
  assert.deepEqual(asked.map((m) => m.form), ["text", "text"]);
  for (const run of [0, 1]) model.say({ t: "whole", view: asked[0].view, run, form: "text", part: 0, parts: 1, revision: 2 + run, text: JSON.stringify({ verdict: "yes", why: `a long ${run}` }) });
  await drawn();
  assert.deepEqual(texts(".cnb-differs td"), ["a long 0", "a long 1"]);
});

test("a fifth run to compare is refused with the reason", async () => {
  model.say(tick(1, Array.from({ length: 5 }, (_, i) => row(i, { status: "done" }))));
  await drawn();
  find('[data-tab="results"]').click();
  await drawn();
  for (let run = 0; run < 5; run++) find(`[data-in="pick"][data-run="${run}"]`).click();
  await drawn();
  assert.equal(find('[data-in="pick"][data-run="4"]').checked, false);
  assert.equal(find('.cnb-tools [role="status"]').textContent, "at most four");
  find('[data-in="pick"][data-run="3"]').click();
  await drawn();
  assert.equal(find('.cnb-tools [role="status"]').textContent, "");
});

test("what a run says, or has said, stands in its row from the beginning, as it came", async () => {
  const says = "The signal is clear and a_name stays…";
  model.say(tick(1, [row(0, { tasks: [{ status: "running", text: says }] }), row(1, { status: "done", said: says })]));
  await drawn();
  assert.deepEqual(texts(".cnb-item .cnb-now bdi"), [says, says]);
  model.say(tick(2, [row(0, { tasks: [{ status: "running", text: "Then this" }] })], { full: false }));
  await drawn();
  assert.equal(find(".cnb-say").textContent, "Then this", "another sentence takes the place of the last");
});

test("a run that was stopped is no crash, on its card and in its row", async () => {
  const detail = { index: 0, status: "cancelled", label: {}, calls_left_out: 0, tasks: [], stopped: { text: "the budget is spent" }, hint: "Raise `max_cost`." };
  const rows = [row(0, { status: "cancelled", stopped: "the budget is spent" }), row(1, { status: "cancelled" })];
  model.say(tick(1, rows, { details: { 0: detail }, cards: { 0: { stopped: "the budget is spent" }, 1: { stopped: "" } } }));
  await drawn();
  assert.deepEqual(texts(".cnb-item .cnb-now"), ["stopped: the budget is spent", "stopped"]);
  find('[data-run="0"]').click();
  await drawn();
  assert.match(find(".cnb-detail").textContent, /stopped: the budget is spentRaise max_cost\./);
  assert.equal(find(".cnb-detail code").textContent, "max_cost");
  find('[data-tab="results"]').click();
  await drawn();
  assert.deepEqual(texts(".cnb-cardbody"), ["stopped: the budget is spent", "stopped"]);
  assert.equal(find(".cnb-bad, .cnb-error"), null);
});

test("an opened row shows its output first once it is done, and its log lines last, folded", async () => {
  const detail = {
    index: 0,
    status: "done",
    label: { text: "topic=0" },
    calls_left_out: 0,
    tasks: SPECS.map(() => ({ status: "done", tokens: 0, calls_left_out: 0 })),
    output: { html: "<div><p>All</p></div>", left_out: 0 },
    log: [{ at: 1, task: 0, text: { text: "INFO first" } }, { at: 2, text: { text: "<b>INFO</b> last" } }],
    log_left_out: 3,
  };
  model.say(tick(1, [row(0, { status: "done" })], { details: { 0: detail } }));
  await drawn();
  find('[data-run="0"]').click();
  await drawn();
  assert.deepEqual([...find(".cnb-inner").children].map((e) => e.dataset.key), ["facts", "output", "step0", "step2", "log"]);
  const lines = find(".cnb-loglines");
  assert.equal(lines.open, false);
  assert.equal(lines.querySelector("summary").textContent, "Log lines 5");
  assert.deepEqual([...lines.querySelector(".cnb-pre").children].map((e) => e.textContent), ["3 earlier lines not shown", "0:01researchINFO first", "0:02<b>INFO</b> last"]);
});

test("an opened row of a flow shows what runs inside each step, rounds, edges in words and branches not taken", async () => {
  const specs = [
    { name: "plan", is_step: true },
    { name: "research", is_step: true, joins: [0, 2], joined: "after plan, review" },
    { name: "review", is_step: true, joins: [1] },
    { name: "drop", is_step: true, joins: [2] },
  ];
  const some = (status, more = {}) => ({ status, tokens: 0, calls_left_out: 0, ...more });
  const detail = {
    ...{ index: 0, status: "running", label: { text: "topic=0" }, calls_left_out: 0 },
    tasks: [some("done"), some("running", { rounds: 2, inside_left_out: 3 }), some("done"), some("skipped")],
    inside: [
      some("done", { place: 4, name: "<b>facts</b>", parent: 1, crew: 1, agent: "Scout" }),
      some("running", { place: 5, name: "inner", parent: 1, crew: 2, is_step: true, joined: "after x" }),
      some("running", { place: 6, name: "deep", parent: 5, crew: 3, text: { text: "so far" } }),
    ],
    log: [{ at: 1, task: 6, text: { text: "a line" } }],
  };
  const tasks = [{ status: "done" }, { status: "running", rounds: 2, text: "so far" }, { status: "done" }, { status: "skipped" }];
  model.say(tick(1, [row(0, { tasks })], { shapes: { 0: specs }, details: { 0: detail } }));
  await drawn();
  assert.deepEqual(texts(".cnb-pipe .cnb-task").slice(0, 3), ["✓plan", "●research×2after plan, review", "✓review"]);
  find('[data-run="0"]').click();
  await drawn();
  const card = (key) => find(`[data-key="${key}"]`);
  assert.deepEqual([...card("task1").querySelectorAll(".cnb-taskcard")].map((e) => e.dataset.key), ["task4", "task5", "task6"]);
  assert.equal(card("task6").parentElement.closest(".cnb-taskcard"), card("task5"));
  assert.match(card("task1").querySelector("h4").textContent, /research.*running.*×2.*after plan, review/);
  assert.match(card("task1").textContent, /3 earlier tasks not shown/);
  assert.match(card("task3").querySelector("h4").textContent, /skipped: its branch was not taken.*after review/);
  assert.match(card("task4").textContent, /<b>facts<\/b>/);
  assert.match(find(".cnb-logline").textContent, /deep/);
});

test("a card of a run under way shows the end of what each task says", async () => {
  model.say(tick(1, [row(0), row(1, { status: "queued", tasks: [] })]));
  await drawn();
  find('[data-tab="results"]').click();
  await drawn();
  assert.deepEqual(texts(".cnb-cardbody"), ["market and then", "queued"]);
});

test("of many tasks a row says how many are done, and names those at work", async () => {
  const specs = Array.from({ length: 10 }, (_, i) => ({ name: `a task with a name ${i}` }));
  const status = (i) => ["done", "done", "running", "failed", "waiting", "queued"][i] ?? "queued";
  model.say(tick(1, [row(0, { tasks: specs.map((_, i) => ({ status: status(i) })) })], { shapes: { 0: specs } }));
  await drawn();
  assert.deepEqual(texts(".cnb-pipe > *"), ["✓2/10", "●a task with a name 2", "✗a task with a name 3", "+1"]);
  assert.match(find(".cnb-pipe").title, /a task with a name 9: queued/);
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
  close = board.render({ model: new Model(frozen), el });
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
