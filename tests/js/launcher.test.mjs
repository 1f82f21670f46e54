import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import launcher from "../../crew_nb/_board/front/launcher.js";
import { combinations, parts, progress } from "../../crew_nb/_board/front/launcher/counts.js";
import { PAGE } from "../../crew_nb/_board/front/launcher/sheet.js";
import { page } from "./board.mjs";

const text = (name, more = {}) => ({ name, kind: "text", required: true, default: "", choices: [], ...more });

/** Python's side of a form: it answers a view's hello, is told what is typed, and keeps every other message. */
class Model {
  sent = [];
  saves = 0;
  listeners = {};
  answers = true;
  constructor(words) {
    this.state = {
      title: "small crew",
      controls: [{ name: "max_rpm", label: "Calls per minute", empty: "no limit", kind: "text", main: true }],
    };
    this.words = {
      fields: [text("topic")],
      rows: [{}],
      options: {},
      problems: {},
      estimate: "",
      code: "",
      shows_code: false,
      status: {},
      names: [],
      taken: "",
    };
    for (const [name, value] of Object.entries(words ?? {})) (name in this.state ? this.state : this.words)[name] = value;
  }
  get(name) {
    return this.state[name] ?? this.words[name];
  }
  set(name, value) {
    this.words[name] = value;
    this.say({ words: { [name]: value } });
  }
  say(content) {
    this.listeners["msg:custom"]?.forEach((f) => f(structuredClone({ t: "words", ...content })));
  }
  send({ view, ...content }) {
    if (content.t === "hello" && this.answers) this.say({ words: this.words, view });
    if (content.t === "typed") {
      this.saves += 1;
      Object.assign(this.words, structuredClone(content.words));
      this.say({ words: content.words, but: view });
    }
    if (!["hello", "touch", "typed"].includes(content.t)) this.sent.push(content);
  }
  on(name, callback) {
    (this.listeners[name] ??= []).push(callback);
  }
  off(name, callback) {
    this.listeners[name] = this.listeners[name].filter((f) => f !== callback);
  }
}

let window, el, model, close;
const open = (traits) => {
  model = new Model(traits);
  close = launcher.render({ model, el });
};
beforeEach(() => {
  window = page();
  globalThis.window = window;
  globalThis.CSS = { escape: (s) => s };
  el = document.createElement("div");
  document.body.append(el);
});
afterEach(() => {
  close?.();
  window.close();
});

const find = (selector) => el.querySelector(selector);
const labelled = (label) => find(`[aria-label="${label}"]`);
const button = (words) => [...el.querySelectorAll("button")].find((b) => b.textContent === words);
const type = (input, words) => {
  input.value = words;
  input.dispatchEvent(new window.Event("input", { bubbles: true }));
};

test("words are text, whatever they look like", () => {
  open({ title: "<b>x</b>", fields: [text("<i>n</i>")], rows: [{ "<i>n</i>": "<script>1</script>" }], code: "<u>c</u>", estimate: "<s>e</s>" });
  assert.equal(el.querySelectorAll("b, i, script, u, s").length, 0);
  assert.equal(find("textarea").value, "<script>1</script>");
});

test("Run sends the rows as they are typed, before the pause of typing is over", () => {
  open();
  type(labelled("topic, row 0"), "Mars");
  button("Run").click();
  assert.deepEqual(model.sent, [{ t: "run", rows: [{ topic: "Mars" }], options: {} }]);
  assert.deepEqual(model.get("rows"), [{ topic: "Mars" }]);
  assert.equal(model.saves, 1);
});

test("rows are added, duplicated and removed, and the focus goes with them", () => {
  open({ rows: [{ topic: "a" }, { topic: "b" }] });
  labelled("Duplicate row 0").click();
  assert.equal(document.activeElement.getAttribute("aria-label"), "topic, row 1");
  assert.equal(document.activeElement.value, "a");
  button("+ Add a row").click();
  assert.equal(document.activeElement.getAttribute("aria-label"), "topic, row 3");
  labelled("Remove row 0").click();
  assert.deepEqual([...el.querySelectorAll("[data-field]")].map((e) => e.value), ["a", "b", ""]);
  button("Clear").click();
  assert.equal(find(".cnb-tag").textContent, "0 inputs");
});

test("each kind has its control, with its default shown", () => {
  const kinds = ["integer", "number", "switch", "choice", "date", "datetime", "file", "literal"];
  open({ fields: kinds.map((kind) => text(kind, { kind, required: false, default: { switch: "true", choice: "a", integer: "3", datetime: "2026-01-31T09:30:00" }[kind] ?? "", choices: kind === "choice" ? ["a", "b"] : [] })) });
  assert.equal(labelled("integer, row 0").placeholder, "3");
  assert.equal(labelled("date, row 0").placeholder, "YYYY-MM-DD");
  assert.equal(labelled("datetime, row 0").placeholder, "2026-01-31T09:30:00");
  assert.equal(labelled("switch, row 0").checked, true);
  assert.deepEqual([...labelled("choice, row 0").options].map((o) => o.textContent), ["a (default)", "a", "b"]);
  labelled("switch, row 0").click();
  assert.deepEqual(close() ?? model.get("rows"), [{ switch: "false" }]);
  close = null;
});

test("a wrong row says why, has the focus, and is forgiven once it is edited", () => {
  open({ rows: [{ topic: "a" }, {}] });
  model.set("problems", { alert: "Nothing was started", rows: { 1: { "": "inputs[1]: the crew needs topic" } }, number: 1 });
  const cell = labelled("topic, row 1");
  assert.equal(document.activeElement, cell);
  assert.equal(document.getElementById(cell.getAttribute("aria-describedby")).textContent, "inputs[1]: the crew needs topic");
  assert.equal(find("[role=alert]").textContent, "Nothing was started");
  type(cell, "b");
  assert.equal(cell.hasAttribute("aria-invalid"), false);
  assert.equal(find(".cnb-rowsaid"), null);
});

test("buttons are there when they can do something, and keep the focus", () => {
  open();
  assert.deepEqual([button("Run").disabled, button("Stop").disabled, button("Retry failed").hidden], [false, true, true]);
  model.set("status", { word: "running", total: 3, open: 2, done: 1, failed: 0 });
  assert.deepEqual([button("Run").disabled, button("Stop").disabled], [true, false]);
  button("Stop").focus();
  model.set("status", { word: "cancelled", total: 3, open: 0, done: 1, failed: 1, stopped: 1 });
  assert.equal(document.activeElement, button("Stop"));
  assert.equal(button("Stop").getAttribute("aria-disabled"), "true");
  button("Stop").click();
  assert.deepEqual(model.sent, []);
  assert.equal(button("Retry failed and stopped (2)").disabled, false);
  assert.equal(find(".cnb-runs").textContent, "Ended: 1 done, 2 without a result");
});

test("what Python sends does not take away what is being typed", () => {
  open({ rows: [{ topic: "a" }] });
  const cell = labelled("topic, row 0");
  type(cell, "ab");
  cell.focus();
  model.set("rows", [{ topic: "ab" }]);
  assert.equal(labelled("topic, row 0"), cell, "an echo draws nothing anew");
  model.set("rows", [{ topic: "ab" }, { topic: "new" }]);
  assert.equal(document.activeElement.getAttribute("aria-label"), "topic, row 0");
});

test("a thousand rows are shown in pages", () => {
  open({ rows: Array.from({ length: 1000 }, (_, i) => ({ topic: `t${i}` })) });
  assert.equal(el.querySelectorAll("tbody tr").length, PAGE);
  button("Next").click();
  assert.equal(labelled(`topic, row ${PAGE}`).value, `t${PAGE}`);
  button("+ Add a row").click();
  assert.equal(document.activeElement.getAttribute("aria-label"), "topic, row 1000");
});

test("a panel keeps its words until Python has taken them", () => {
  open();
  button("Paste").click();
  type(find(".cnb-panel textarea"), "a\nb");
  button("Add rows").click();
  const [{ ask, ...asked }] = model.sent;
  assert.deepEqual(asked, { t: "read", how: "text", text: "a\nb", more: false, into: "topic", replace: false });
  model.set("problems", { alert: "the form holds 10,000 rows.", number: 1 });
  assert.equal(find(".cnb-panel textarea").value, "a\nb");
  button("Add rows").click();
  model.set("taken", ask);
  assert.equal(find(".cnb-panel").hidden, false, "an older answer is not this one's");
  model.set("taken", model.sent[1].ask);
  assert.equal(find(".cnb-panel").hidden, true);
  assert.equal(document.activeElement, button("Paste"));
});

test("what is pressed in the form does not reach the notebook on its way down, and Enter adds the column", () => {
  open();
  let heard = 0;
  document.addEventListener("keydown", () => heard++, { capture: true });
  const press = (where, key) => where.dispatchEvent(new window.KeyboardEvent("keydown", { key, bubbles: true }));
  press(button("+ Column"), "d");
  button("+ Column").click();
  const input = el.querySelector('[id$="-column"]');
  input.value = "tone";
  press(input, "Enter");
  assert.equal(model.sent.filter(({ t, name }) => t === "column" && name === "tone").length, 1);
  assert.equal(heard, 0);
  press(document.body, "d");
  assert.equal(heard, 1);
});

test("a column that the crew does not ask for can be taken away", () => {
  open({ fields: [text("topic", { own: true }), text("extra", { own: false })] });
  assert.equal(labelled("Remove column topic"), null);
  labelled("Remove column extra").click();
  assert.deepEqual(model.sent, [{ t: "column", name: "extra", remove: true }]);
  assert.equal(document.activeElement, button("+ Column"));
});

test("a large file goes in parts", () => {
  const all = "x".repeat(1_200_000);
  assert.deepEqual(parts(all).map((p) => p.length), [500_000, 500_000, 200_000]);
  assert.deepEqual(parts(""), [""]);
});

test("a grid counts its combinations, and a batch is put in words", () => {
  assert.equal(combinations({ a: ["1", "2", "1"], b: [], c: ["x"] }), 2);
  assert.equal(combinations({}), 0);
  assert.equal(progress({}), "");
  assert.equal(progress({ total: 3, open: 1, done: 1, stopped: 1, word: "running" }), "Running: 1 done, 1 without a result, 1 to go");
  assert.equal(progress({ total: 3, open: 1, done: 2, word: "cancelling" }), "Stopping…");
  assert.equal(progress({ total: 1, open: 0, done: 1 }), "Finished: 1 result");
});

test("a view that is closed hears nothing, and what was typed is told first", () => {
  open();
  type(labelled("topic, row 0"), "late");
  close();
  close = null;
  assert.deepEqual(model.get("rows"), [{ topic: "late" }]);
  assert.equal(Object.values(model.listeners).flat().length, 0);
});

test("what the form holds is no state of the widget: it comes when the kernel answers", () => {
  open({ rows: [{ topic: "a" }] });
  assert.ok(!Object.keys(model.state).some((name) => name in model.words));
  close();
  model.answers = false;
  close = launcher.render({ model, el });
  assert.equal(find(".cnb-launch"), null);
  assert.match(el.textContent, /Waiting for the kernel/);
});

test("what is typed in one view reaches the other, and is not sent back over newer words", () => {
  open();
  const other = document.createElement("div");
  document.body.append(other);
  const shut = launcher.render({ model, el: other });
  type(labelled("topic, row 0"), "Mar");
  button("Show the code").click(); // which saves
  assert.equal(other.querySelector('[aria-label="topic, row 0"]').value, "Mar");
  type(labelled("topic, row 0"), "Mars");
  model.say({ words: { rows: [{ topic: "Mar" }] }, view: "another" });
  assert.equal(labelled("topic, row 0").value, "Mars");
  shut();
});
