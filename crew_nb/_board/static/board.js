// Made from crew_nb/_board/front by `npm run build`: edit it there.

// shared/elements.js
function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== null && value !== void 0 && value !== false) node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat())
    if (child !== null && child !== void 0 && child !== false)
      node.append(child instanceof Node ? child : String(child));
  return node;
}
function action(key, attributes, name, off) {
  return h("button", { type: "button", "data-key": key, ...attributes, "aria-disabled": off ? "true" : null }, name);
}
function coded(text) {
  return text.split(/`([^`\n]+)`/).map((part, n) => n % 2 ? h("code", {}, part) : part);
}

// shared/keys.js
var EDIT = /^(a|c|x|y|insert)$/;
var EDIT_SHIFTED = /^(v|z|arrow(left|right|up|down)|home|end|backspace|delete)$/;
var EDIT_MAC = /^[abdefhknopty]$/;
function isText(el) {
  return el.matches("textarea, select, [contenteditable]") || el.matches("input") && !el.matches("[type=checkbox], [type=radio], [type=button], [type=file]");
}
function isEditors(e, el) {
  if (/^F\d+$/.test(e.key)) return true;
  if (!(e.ctrlKey || e.metaKey) || e.key === "Enter" || e.getModifierState("AltGraph")) return false;
  const key = (/^Key[A-Z]$/.test(e.code) && !/^[a-z]$/i.test(e.key) ? e.code.slice(3) : e.key).toLowerCase();
  if (!isText(el)) return !(/^(c|insert)$/.test(key) && !e.shiftKey && !e.altKey);
  const mac = /^Mac/.test(navigator.platform);
  if (mac && e.ctrlKey && !e.metaKey) return !EDIT_MAC.test(key);
  if (e.altKey) return true;
  return !(EDIT_SHIFTED.test(key) || EDIT.test(key) && !e.shiftKey);
}
function leave(root) {
  const around = (
    /** @type {HTMLElement | null | undefined} */
    root.parentElement?.closest(".jp-Cell") ?? root.parentElement?.closest("[tabindex]")
  );
  around?.focus({ preventScroll: true });
  const focused = (
    /** @type {HTMLElement | null} */
    document.activeElement
  );
  if (root.contains(focused)) focused?.blur();
}
function takeKeys(root, signal, heard) {
  const take = (e) => {
    if (!e.composedPath().includes(root)) return;
    if (isEditors(
      e,
      /** @type {Element} */
      e.composedPath()[0]
    )) return;
    if (!heard(e) && e.key === "Escape" && !e.isComposing) leave(root);
    else e.stopPropagation();
  };
  window.addEventListener("keydown", take, { capture: true, signal });
}

// shared/theme.js
var SIGNS = ["data-jp-theme-light", "data-jp-theme-name", "theme", "class", "style"];
function followTheme(root, signal, sized) {
  const look = () => {
    const [r = 255, g = 255, b = 255] = (getComputedStyle(root).backgroundColor.match(/[\d.]+/g) ?? []).map(Number);
    const theme = 0.299 * r + 0.587 * g + 0.114 * b < 128 ? "dark" : "light";
    if (root.dataset.theme !== theme) root.dataset.theme = theme;
  };
  const looks = new MutationObserver(look);
  for (const node of [document.documentElement, document.body]) looks.observe(node, { attributes: true, attributeFilter: SIGNS });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", look, { signal });
  const sizes = new ResizeObserver(() => {
    look();
    sized?.();
  });
  sizes.observe(root);
  signal.addEventListener("abort", () => {
    looks.disconnect();
    sizes.disconnect();
  });
  return look;
}

// board/clock.js
function seconds() {
  return performance.now() / 1e3;
}
function worked(at, idle) {
  return at - idle.reduce((sum, [from, to]) => sum + Math.max(0, Math.min(at, to) - from), 0);
}

// shared/numbers.js
function clock(seconds2) {
  const whole = Math.max(0, Math.round(seconds2));
  const [h2, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n) => String(n).padStart(2, "0");
  return h2 ? `${h2}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}
function span(seconds2) {
  if (seconds2 < 0.0995) return `${Math.round(Math.max(0, seconds2) * 1e3)} ms`;
  return seconds2 < 59.95 ? `${seconds2.toFixed(1)} s` : clock(seconds2);
}
function count(n) {
  return n.toLocaleString("en-US");
}
function plural(n, one) {
  return `${count(n)} ${one}${n === 1 ? "" : "s"}`;
}
function money(dollars) {
  if (dollars === 0 || dollars >= 0.01)
    return "$" + dollars.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  return dollars >= 1e-4 ? `$${dollars.toFixed(4)}` : "<$0.0001";
}

// board/morph.js
function morph(from, to) {
  for (const { name } of [...from.attributes])
    if (!to.hasAttribute(name) && !(name === "open" && from.localName === "details")) from.removeAttribute(name);
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  if (from instanceof HTMLInputElement && from.type === "checkbox") from.checked = to.hasAttribute("checked");
  const follows = from.hasAttribute("data-follow") && from.scrollTop + from.clientHeight >= from.scrollHeight - 4;
  const keyed = /* @__PURE__ */ new Map();
  for (const child of from.children) {
    const key = child.getAttribute("data-key");
    if (key) keyed.set(key, child);
  }
  const wants = new Set([...to.children].map((child) => child.getAttribute("data-key")));
  let place = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const key = wanted instanceof Element ? wanted.getAttribute("data-key") : null;
    const known = key ? keyed.get(key) : void 0;
    while (known && place !== known && place instanceof Element && !wants.has(place.getAttribute("data-key"))) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
    if (known && known !== place) place = from.insertBefore(known, place);
    if (place && alike(place, wanted)) {
      if (wanted instanceof Element) {
        if (!place.isEqualNode(wanted)) morph(
          /** @type {Element} */
          place,
          wanted
        );
      } else if (place instanceof Text && wanted instanceof Text && place.data !== wanted.data) {
        if (wanted.data.startsWith(place.data)) place.appendData(wanted.data.slice(place.length));
        else place.data = wanted.data;
      }
      place = place.nextSibling;
    } else {
      from.insertBefore(wanted, place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
  if (follows) from.scrollTop = from.scrollHeight;
}
function alike(a, b) {
  if (a.nodeName !== b.nodeName) return false;
  return !(a instanceof Element && b instanceof Element) || a.getAttribute("data-key") === b.getAttribute("data-key");
}

// board/statuses.js
var SIGNS2 = {
  queued: "○",
  running: "●",
  waiting: "◐",
  done: "✓",
  failed: "✗",
  cancelling: "◌",
  cancelled: "⊘",
  skipped: "↷",
  unknown: "?"
};
var FINAL = /* @__PURE__ */ new Set(["done", "failed", "cancelled"]);
var STATUSES = ["done", "running", "waiting", "failed", "cancelling", "cancelled", "queued", "unknown"];
var URGENT = ["waiting", "running", "cancelling", "unknown", "failed", "cancelled", "done", "queued"];
function isProblem(row) {
  return row.status === "failed" || row.status === "waiting" || row.status === "unknown" || (row.attempt ?? 1) > 1 && row.status !== "done" || row.dropped_calls > 0 || (row.tasks ?? []).some((t) => t.status === "failed");
}

// board/head.js
var Head = class {
  /** @param {Board} board */
  constructor(board) {
    this.board = board;
    this.store = board.store;
    this.el = h("div", { class: "cnb-head" });
  }
  get live() {
    return this.board.wire.live;
  }
  draw() {
    morph(this.el, this.drawn());
  }
  drawn() {
    const { batch } = this.store;
    const head = h("div", { class: "cnb-head" });
    if (!batch) {
      head.append(h("div", { class: "cnb-title" }, h("strong", {}, "crew_nb")));
      return head;
    }
    const counts = batch.counts;
    const ended = (counts.done ?? 0) + (counts.failed ?? 0) + (counts.cancelled ?? 0);
    const again = (counts.failed ?? 0) + (counts.cancelled ?? 0);
    const over = this.store.over;
    const which = [counts.failed ? "failed" : "", counts.cancelled ? "stopped" : ""].filter(Boolean).join(" and ");
    const stays = (key) => this.board.held?.dataset.key === key && this.el.contains(this.board.held);
    const chips = STATUSES.filter((s) => counts[s]).map(
      (s) => h("span", { class: "cnb-chip", "data-s": s }, h("i", { "aria-hidden": "true" }, SIGNS2[s] ?? ""), h("b", {}, count(counts[s] ?? 0)), ` ${s}`)
    );
    head.append(
      h(
        "div",
        { class: "cnb-title" },
        h("strong", { "data-key": "name", dir: "auto", title: batch.name }, batch.name || "batch"),
        batch.offline ? h("span", { class: "cnb-tag", "data-key": "offline", title: "The words come from OfflineLLM: no key, no network" }, "offline LLM") : null,
        batch.paused ? h("span", { class: "cnb-tag", "data-key": "paused", "data-s": "waiting" }, "paused") : null,
        h("span", { class: "cnb-chips", "data-key": "chips" }, chips),
        h(
          "span",
          { class: "cnb-acts", "data-key": "acts" },
          !over && action("pause", { "data-act": batch.paused ? "resume" : "pause" }, batch.paused ? "Resume" : "Pause", !this.live),
          !over && action("stop", { "data-act": "stop", class: "cnb-stop" }, this.stopping() ? "Stopping…" : "Stop", !this.live || this.stopping()),
          again && ended ? action("retry", { "data-act": "retry-all" }, `Retry ${which} (${count(again)})`, !this.live) : !over && stays("retry") && action("retry", {}, "Retrying…", true)
        )
      ),
      this.progress(ended),
      this.figures()
    );
    const notes = batch.notes.map((note) => h("p", { class: "cnb-note", dir: "auto" }, ...coded(note)));
    if (batch.dropped_calls)
      notes.push(h("p", { class: "cnb-note" }, `${plural(batch.dropped_calls, "call")} could not be stopped; the answers are dropped.`));
    if (!this.live && !this.store.final) notes.push(h("p", { class: this.board.wire.gone ? "cnb-note cnb-gone" : "cnb-note" }, ...coded(this.board.silence())));
    head.append(...notes);
    return head;
  }
  stopping() {
    const counts = this.store.batch?.counts ?? {};
    return Boolean(counts.cancelling) && !counts.running && !counts.queued && !counts.waiting;
  }
  /** @param {number} ended */
  progress(ended) {
    const batch = (
      /** @type {Batch} */
      this.store.batch
    );
    const share = batch.total ? ended / batch.total : 1;
    const bar = h("div", {
      class: "cnb-progress",
      role: "progressbar",
      "aria-valuemin": 0,
      "aria-valuemax": batch.total,
      "aria-valuenow": ended,
      "aria-valuetext": `${ended} of ${batch.total} ended`,
      "aria-label": "Runs that have ended"
    });
    for (const s of ["done", "failed", "cancelled", "unknown", "cancelling", "running", "waiting"])
      if (batch.counts[s])
        bar.append(h("span", { "data-key": s, "data-s": s, style: `width:${100 * (batch.counts[s] ?? 0) / batch.total}%` }));
    bar.dataset.share = String(Math.floor(share * 100));
    return bar;
  }
  figures() {
    const batch = (
      /** @type {Batch} */
      this.store.batch
    );
    const { done = 0 } = batch.counts;
    const since = seconds() - this.store.heard;
    const final = this.store.over;
    const figure3 = (value, what, title = "") => h("div", { class: "cnb-figure", title: title || null }, h("b", {}, value), h("span", {}, what));
    const row = h("div", { class: "cnb-figures" });
    row.append(
      figure3(`${Math.floor(100 * done / Math.max(1, batch.total))} %`, `${count(done)} of ${count(batch.total)} done`),
      figure3(clock(batch.elapsed + (final || !this.live ? 0 : since)), "elapsed")
    );
    if (!final)
      row.append(
        batch.eta === null ? figure3("–", batch.paused ? "paused" : "left, not known yet") : figure3(`~${clock(Math.max(0, batch.eta - since))}`, "left", "Learned from the runs that have finished")
      );
    if (batch.speedup !== null && batch.speedup >= 1.05) {
      const title = "The time that the runs worked, their waits left out, by the time in which they did";
      row.append(
        h("div", { class: "cnb-figure cnb-fast", title }, h("b", {}, `${batch.speedup.toFixed(1)}×`), h("span", {}, "faster than one by one"))
      );
    }
    row.append(figure3(count(batch.tokens), batch.saved ? "tokens spent" : "tokens"));
    if (batch.saved) {
      const from = batch.from_record ? `; ${plural(batch.from_record, "run")} from the record` : "";
      row.append(figure3(count(batch.saved), "saved", `Tokens that were spent before, and not asked for again${from}`));
    }
    const unpriced = batch.unpriced_calls ? `${plural(batch.unpriced_calls, "call")} of unknown price` : "";
    if (batch.cost)
      row.append(
        figure3(
          money(batch.cost) + (unpriced ? " +" : ""),
          batch.projected_cost !== null && !final ? `of ~${money(batch.projected_cost)}` : unpriced ? `and ${unpriced}` : "cost",
          unpriced && `and ${unpriced}`
        )
      );
    if (!final) {
      const flying = figure3(
        count(batch.in_flight),
        batch.in_flight === 1 ? "call in flight" : "calls in flight",
        [batch.limit ? `at most ${plural(batch.limit, "run")} at once` : "", batch.limit_reason].filter(Boolean).join("; ")
      );
      flying.classList.add("cnb-flight");
      row.append(flying);
    }
    return row;
  }
};

// board/clipboard.js
function put(el, text, well = "Copied") {
  const said = (word) => {
    el.textContent = word;
    setTimeout(() => el.textContent = "Copy", 1500);
  };
  const byHand = () => {
    const box = document.createElement("textarea");
    box.value = text;
    el.after(box);
    box.select();
    const done = document.execCommand("copy");
    box.remove();
    said(done ? well : "Not allowed");
    el.focus({ preventScroll: true });
  };
  if (navigator.clipboard) navigator.clipboard.writeText(text).then(() => said(well), byHand);
  else byHand();
}

// board/parcels.js
var Parcels = class {
  /** @param {Store} store @param {Wire} wire @param {() => void} changed called when a whole output has come */
  constructor(store, wire, changed) {
    this.store = store;
    this.wire = wire;
    this.changed = changed;
    this.parts = /* @__PURE__ */ new Map();
    this.wholes = /* @__PURE__ */ new Map();
    this.copying = null;
  }
  /** What was on its way went with the one who sent it. */
  reset() {
    for (const [key, { text }] of this.wholes) if (text === null) this.wholes.delete(key);
  }
  /** A whole output; undefined while it is not here. @param {number} run @param {"text"|"html"} form */
  ask(run, form) {
    const key = `${run}:${form}`;
    const row = this.store.rows.get(run);
    const known = this.wholes.get(key);
    if (known?.row === row && known) return known.text ?? void 0;
    if (!this.wire.live) return void 0;
    this.wholes.delete(key);
    this.wholes.set(key, { row, text: null });
    for (const old of [...this.wholes.keys()].slice(0, -8)) this.wholes.delete(old);
    this.wire.send({ t: "whole", run, form });
    return void 0;
  }
  /** Put the output of a run on the clipboard, once it is here whole. @param {HTMLElement} el the button @param {number} run @param {boolean} current whether its card is up to date */
  copy(el, run, current) {
    const card = this.store.cards.get(run);
    const here = current && card && !card.left_out ? card.text : this.ask(run, "text");
    if (here === void 0 && this.wire.live) {
      this.copying = { run, button: el };
      el.textContent = "Fetching…";
      return;
    }
    const shown = card?.text ?? el.closest(".cnb-output")?.querySelector(".cnb-md")?.textContent ?? "";
    put(el, here ?? shown, here === void 0 && (card ?? this.store.details.get(run)?.output)?.left_out ? "Copied in part" : "Copied");
  }
  /** @param {FilePart | WholePart} part */
  came(part) {
    if (part.view !== this.wire.view) return;
    if (part.t === "file") this.file(part);
    else this.whole(part);
  }
  /** Put a part to those that came before; the text, once it is whole, and null where a part of it was lost. @param {string} key @param {FilePart | WholePart} part */
  join(key, part) {
    const parts = part.part === 0 ? [] : this.parts.get(key) ?? [];
    parts[part.part] = part.text;
    this.parts.set(key, parts);
    if (part.part !== part.parts - 1) return void 0;
    this.parts.delete(key);
    return Object.keys(parts).length === part.parts ? parts.join("") : null;
  }
  /** @param {WholePart} part */
  whole(part) {
    const key = `${part.run}:${part.form}`;
    const text = this.join(key, part);
    const wanted = this.wholes.get(key);
    if (text === null) this.wholes.delete(key);
    if (text === void 0 || text === null || !wanted) return;
    wanted.text = text;
    if (part.form === "text" && this.copying?.run === part.run) {
      put(this.copying.button, text);
      this.copying = null;
    }
    this.changed();
  }
  /** @param {FilePart} part */
  file(part) {
    const text = this.join(part.format, part);
    if (text === null) this.wire.send({ t: "file", format: part.format });
    if (text === void 0 || text === null) return;
    const kind = { md: "text/markdown", json: "application/json", csv: "text/csv" }[part.format];
    const url = URL.createObjectURL(new Blob([text], { type: `${kind};charset=utf-8` }));
    const name = (this.store.batch?.name || "results").replace(/[^\p{L}\p{N}_-]+/gu, "-").slice(0, 60);
    h("a", { href: url, download: `${name}.${part.format}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1e4);
  }
};

// board/rows.js
var INPUT = "input:";
function took(row, now) {
  if (row.from_record || row.started === void 0) return void 0;
  return (row.finished ?? (FINAL.has(row.status) ? row.started : now)) - row.started;
}
function called(row) {
  return Object.values(row?.cells ?? {}).join(" · ") || row?.label || "";
}
function taken(row) {
  const tasks = (row.tasks ?? []).filter((task) => task.taken_over).length;
  const took2 = row.from_record ? "from the record" : tasks ? `${plural(tasks, "task")} taken over` : "";
  return [took2, row.recorded ? "recorded" : ""].filter(Boolean).join(", ");
}
function saved(row) {
  return [taken(row), row.saved ? `${plural(row.saved, "token")} saved` : ""].filter(Boolean).join(", ");
}
function byInput(name, rows) {
  const said = (row) => row.cells?.[name] ?? "";
  const numbers = [...rows.values()].every((row) => !Number.isNaN(Number(said(row))));
  return (row) => numbers ? Number(said(row)) : said(row);
}
function order(total, rows, by, now) {
  const words2 = by.filter.toLowerCase().split(/\s+/).filter(Boolean);
  const places = [];
  for (let i = 0; i < total; i++) {
    const row = rows.get(i);
    if (by.problems && !(row && isProblem(row))) continue;
    if (words2.length) {
      const text = row ? `${i} ${row.status} ${row.label ?? ""} ${row.error ?? ""} ${row.said ?? ""}`.toLowerCase() : "";
      if (!words2.every((word) => text.includes(word))) continue;
    }
    places.push(i);
  }
  const keys = {
    status: (row) => URGENT.indexOf(row.status),
    inputs: (row) => row.label ?? "",
    time: (row) => took(row, now) ?? -1,
    tokens: (row) => row.tokens,
    cost: (row) => row.cost ?? -1
  };
  const key = by.sort.startsWith(INPUT) ? byInput(by.sort.slice(INPUT.length), rows) : keys[by.sort];
  if (key) {
    const value = (i) => {
      const row = rows.get(i);
      return row ? key(row) : "";
    };
    places.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      return x < y ? -1 : x > y ? 1 : a - b;
    });
  }
  return by.down ? places.reverse() : places;
}

// board/store.js
var DISTINCT = 50;
var Store = class {
  constructor() {
    this.batch = null;
    this.revision = 0;
    this.at = 0;
    this.heard = 0;
    this.clear();
  }
  clear() {
    this.lost = false;
    this.rows = /* @__PURE__ */ new Map();
    this.details = /* @__PURE__ */ new Map();
    this.lanes = /* @__PURE__ */ new Map();
    this.cards = /* @__PURE__ */ new Map();
    this.shapes = /* @__PURE__ */ new Map();
    this.columns = /* @__PURE__ */ new Map();
    this.lines = [];
    this.moreLines = false;
    this.grid = null;
    this.scores = /* @__PURE__ */ new Map();
    this.scoreNames = [];
    this.ranges = /* @__PURE__ */ new Map();
    this.means = null;
  }
  /** The least and the greatest number of a score that came. @param {string} name @returns {[number, number]} */
  range(name) {
    return this.ranges.get(name) ?? [0, 0];
  }
  /** @param {Record<string, Score | null>} scores of one run */
  measure(scores) {
    for (const [name, value] of Object.entries(scores)) {
      if (!this.scoreNames.includes(name)) this.scoreNames.push(name);
      if (typeof value !== "number" && typeof value !== "boolean") continue;
      const [low, high] = this.ranges.get(name) ?? [Infinity, -Infinity];
      this.ranges.set(name, [Math.min(low, Number(value)), Math.max(high, Number(value))]);
    }
  }
  /** Whether a message is the next one; it is not after one was lost. @param {number} revision */
  follows(revision) {
    if (revision !== this.revision + 1) return false;
    this.revision = revision;
    return true;
  }
  /**
   * Take a message in; false where one was lost and everything must be asked for again.
   * @param {Tick} tick @param {number} heard the browser's clock in seconds
   */
  apply(tick, heard) {
    if (!tick.full && !this.follows(tick.revision)) return false;
    if (tick.full) this.clear();
    this.revision = tick.revision;
    this.batch = tick.batch;
    this.at = tick.now;
    this.heard = heard;
    for (
      const [kind, known] of
      /** @type {[keyof Tick, Map<number, any>][]} */
      [
        ["rows", this.rows],
        ["details", this.details],
        ["lanes", this.lanes],
        ["cards", this.cards],
        ["shapes", this.shapes],
        ["scores", this.scores]
      ]
    )
      for (const [i, value] of Object.entries(tick[kind] ?? {})) known.set(Number(i), value);
    this.grid = tick.grid ?? this.grid;
    this.means = tick.means ?? this.means;
    for (const scores of Object.values(tick.scores ?? {})) this.measure(scores);
    for (const row of Object.values(tick.rows ?? {})) this.see(row);
    if (tick.lines?.length) {
      this.lines = [...this.lines, ...tick.lines].sort((a, b) => a.at - b.at);
      this.moreLines = tick.more_lines ?? false;
    }
    return true;
  }
  /** Note what a row has in its columns. @param {Row} row */
  see(row) {
    for (const [name, value] of Object.entries(row.cells ?? {})) {
      const known = this.columns.get(name) ?? { name, wide: name.length + 2, values: /* @__PURE__ */ new Set() };
      known.wide = Math.max(known.wide, value.length);
      if (known.values.size < DISTINCT) known.values.add(value);
      this.columns.set(name, known);
    }
  }
  /** The columns of inputs, at most so many: in their order those in which most rows differ. @param {number} most */
  shown(most) {
    const all = [...this.columns.values()];
    const first = [...all].sort((a, b) => b.values.size - a.values.size).slice(0, most);
    return all.filter((column) => first.includes(column));
  }
  /** The tasks of a run, as its crew has them. @param {Row} [row] @returns {Spec[]} */
  specsOf(row) {
    return (row && this.shapes.get(row.shape)) ?? [];
  }
  get final() {
    const counts = this.batch?.counts ?? {};
    const ended = [...FINAL].reduce((sum, status) => sum + (counts[status] ?? 0), 0);
    return this.batch !== null && ended === this.batch.total;
  }
  /** Whether nothing more will happen, as far as is known. */
  get over() {
    return this.lost || this.final;
  }
  /** Seconds since the batch was created. @param {number} heard the browser's clock in seconds */
  now(heard) {
    return this.over ? this.at : this.at + heard - this.heard;
  }
  /** A moment as the board's clock has it. @param {number} at seconds since the batch was created */
  clock(at) {
    return worked(at, this.batch?.idle ?? []);
  }
  /** The kernel has gone: what became of the runs that had not ended is not known. */
  lose() {
    if (!this.batch || this.over) return;
    this.lost = true;
    const { total, counts } = this.batch;
    const ended = Object.fromEntries([...FINAL].map((status) => [status, counts[status] ?? 0]));
    const unknown = total - Object.values(ended).reduce((a, b) => a + b, 0);
    this.batch = { ...this.batch, counts: { ...ended, unknown }, paused: false, eta: null, in_flight: 0 };
    const open = (status) => status === "running" || status === "waiting";
    for (const [i, row] of this.rows)
      if (!FINAL.has(row.status)) {
        const tasks = row.tasks?.map((task) => open(task.status) ? { ...task, status: "unknown" } : task);
        this.rows.set(i, { ...row, status: "unknown", waits: [], ...tasks && { tasks } });
      }
    for (const [i, detail] of this.details)
      if (!FINAL.has(detail.status)) {
        const still = (calls) => calls?.map((call) => open(call.status) ? { ...call, status: "unknown" } : call) ?? [];
        const gone = (task) => ({ ...task, calls: still(task.calls), status: open(task.status) ? "unknown" : task.status });
        const [tasks, inside2] = [(detail.tasks ?? []).map(gone), (detail.inside ?? []).map(gone)];
        this.details.set(i, { ...detail, status: "unknown", tasks, inside: inside2, calls: still(detail.calls) });
      }
  }
};

// board/scroller.js
var Scroller = class {
  /**
   * @param {HTMLElement} view the element that scrolls
   * @param {{height: (key: number) => number, build: (key: number) => HTMLElement, stamp: (key: number) => string}} of
   */
  constructor(view, of) {
    this.view = view;
    this.of = of;
    this.space = h("div", { class: "cnb-space", role: "presentation" });
    view.append(this.space);
    this.keys = [];
    this.drawn = /* @__PURE__ */ new Map();
    this.measured = /* @__PURE__ */ new Map();
    this.tops = [0];
    this.inSight = [];
    this.watcher = new ResizeObserver((entries) => {
      let moved = false;
      for (const entry of entries) {
        const key = Number(
          /** @type {HTMLElement} */
          entry.target.dataset.item
        );
        const tall = entry.borderBoxSize[0]?.blockSize ?? 0;
        if (tall && Math.abs(tall - this.tall(key)) > 0.5) {
          this.measured.set(key, tall);
          moved = true;
        }
      }
      if (!moved) return;
      this.draw(this.keys);
      if (this.measured.has(this.opened)) this.unfold();
    });
    this.opened = -1;
  }
  /** Scroll as little as shows the row that was opened, its head first. */
  unfold() {
    const at = this.keys.indexOf(this.opened);
    this.opened = -1;
    const [top, bottom] = [this.tops[at] ?? 0, this.tops[at + 1] ?? 0];
    const scrolled = Math.min(top, bottom - this.view.clientHeight);
    if (at < 0 || scrolled <= this.view.scrollTop) return;
    this.view.scrollTop = scrolled;
    this.draw(this.keys);
  }
  /** @param {number} key */
  tall(key) {
    return this.measured.get(key) ?? this.of.height(key);
  }
  /** @param {number[]} keys */
  draw(keys) {
    this.keys = keys;
    if (this.view.checkVisibility?.() === false && this.drawn.size) return;
    const anchor = this.view.scrollTop;
    this.tops = [0];
    for (const key of keys) this.tops.push((this.tops[this.tops.length - 1] ?? 0) + this.tall(key));
    const total = this.tops[keys.length] ?? 0;
    if (this.space.style.height !== `${total}px`) this.space.style.height = `${total}px`;
    const [top, bottom] = [anchor - 120, anchor + (this.view.clientHeight || 400) + 120];
    let first = this.find(top);
    this.inSight = [];
    const kept = /* @__PURE__ */ new Set();
    for (; first < keys.length && (this.tops[first] ?? 0) < bottom; first++) {
      const key = (
        /** @type {number} */
        keys[first]
      );
      this.inSight.push(key);
      kept.add(key);
      this.place(key, this.tops[first] ?? 0);
    }
    const focused = this.view.ownerDocument.activeElement;
    for (const [key, { node }] of this.drawn)
      if (!kept.has(key)) {
        const at = keys.indexOf(key);
        if (at >= 0 && node.contains(focused)) this.place(key, this.tops[at] ?? 0);
        else {
          this.watcher.unobserve(node);
          node.remove();
          this.drawn.delete(key);
        }
      }
  }
  /** The first row that reaches below `y`. @param {number} y */
  find(y) {
    let [low, high] = [0, this.keys.length];
    while (low < high) {
      const middle = low + high >> 1;
      if ((this.tops[middle + 1] ?? 0) < y) low = middle + 1;
      else high = middle;
    }
    return low;
  }
  /** @param {number} key @param {number} top */
  place(key, top) {
    const stamp = this.of.stamp(key);
    let known = this.drawn.get(key);
    if (!known || known.stamp !== stamp) {
      const node = this.of.build(key);
      node.dataset.item = String(key);
      if (known) {
        node.style.transform = known.node.style.transform;
        morph(known.node, node);
        known.stamp = stamp;
      } else {
        this.space.append(node);
        known = { node, stamp };
        this.drawn.set(key, known);
        this.watcher.observe(node);
      }
    }
    const moved = `translateY(${top}px)`;
    if (known.node.style.transform !== moved) known.node.style.transform = moved;
  }
  /** Bring a row into sight. @param {number} key */
  reveal(key) {
    const at = this.keys.indexOf(key);
    if (at < 0) return;
    const [top, bottom] = [this.tops[at] ?? 0, (this.tops[at] ?? 0) + Math.min(this.tall(key), 60)];
    if (top < this.view.scrollTop) this.view.scrollTop = top;
    else if (bottom > this.view.scrollTop + this.view.clientHeight) this.view.scrollTop = bottom - this.view.clientHeight;
    this.draw(this.keys);
  }
  /** What stands where no row does. @param {string} words */
  sayEmpty(words2) {
    if (this.space.dataset.empty !== words2) this.space.dataset.empty = words2;
  }
  close() {
    this.watcher.disconnect();
  }
};

// board/view.js
var PAGE = 10;
var View = class {
  /** The word for it: on its tab, in small letters in the document. */
  static key = "";
  /** Whether the batch has anything for it. @param {import("./store.js").Store} store */
  static isIn(store) {
    return store.batch !== null;
  }
  /** @param {Board} board */
  constructor(board) {
    this.board = board;
    this.store = board.store;
    this.scroller = null;
    this.acts = {};
  }
  /** Seconds since the batch was created, when this was last drawn. */
  get now() {
    return this.board.now;
  }
  /** Whether Python answers. */
  get live() {
    return this.board.wire.live;
  }
  /** Places of the runs to show, in order. */
  get places() {
    return this.board.places;
  }
  /** The form in which it is shown: where that changes, its frame is built anew. */
  get form() {
    return (
      /** @type {typeof View} */
      this.constructor.key
    );
  }
  /** What filters and sorts the runs in it. @param {By} by what was chosen in the board */
  ordered(by) {
    return by;
  }
  /** What stands beside the tabs. @returns {string[]} */
  notes() {
    const { by, store } = this.board;
    return by.filter || by.problems ? [`${count(this.places.length)} of ${count(store.batch?.total ?? 0)} shown`] : [];
  }
  /** Its tab was chosen. */
  chosen() {
  }
  /** Lay runs side by side. @param {number[]} runs */
  compare(runs) {
    void runs;
  }
  /** Build the frame. @param {HTMLElement} body empty */
  enter(body) {
    void body;
  }
  /** The frame is taken away. */
  leave() {
    this.scroller?.close();
    this.scroller = null;
  }
  /** Bring what is in the frame up to date. */
  draw() {
  }
  /** Follow the place that was scrolled to; false where everything must be drawn. */
  scrolled() {
    this.scroller?.draw(this.scroller.keys);
    return this.scroller !== null;
  }
  /** What is in sight. @returns {Look} */
  look() {
    return { row: this.scroller?.inSight ?? [] };
  }
  /** Something was typed or ticked. @param {string} field its `data-in` @param {HTMLInputElement} el @param {string} kind of event */
  typed(field, el, kind) {
    void [field, el, kind];
  }
  /** A key was pressed, outside of a field; whether Escape did something. @param {KeyboardEvent} e @param {HTMLElement} target @returns {boolean} */
  key(e, target) {
    void [e, target];
    return false;
  }
  /** Ctrl+Enter was pressed in a text. @param {HTMLElement} target */
  sent(target) {
    void target;
  }
  /** Draw items of which only those in sight are in the document. @param {HTMLElement} into @param {ConstructorParameters<typeof Scroller>[1]} of */
  scroll(into, of) {
    into.addEventListener("scroll", () => this.board.schedule(true), { passive: true });
    this.scroller = new Scroller(into, of);
  }
  /** Draw the runs, one of which the keys are at, or say that there are none. */
  drawPlaces() {
    const { board, places } = this;
    if (!places.includes(board.active)) board.active = places[0] ?? -1;
    this.scroller?.draw(places);
    this.sayEmpty();
  }
  sayEmpty() {
    const { by } = this.board;
    this.scroller?.sayEmpty(this.places.length ? "" : by.problems && !by.filter ? "No problems." : "No run matches the filter.");
  }
  /** The keys that go from run to run; whether this was one of them. @param {KeyboardEvent} e */
  moved(e) {
    const { board, places } = this;
    const at = places.indexOf(board.active);
    const moves = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + PAGE, PageUp: at - PAGE, Home: 0, End: places.length - 1 };
    const to = moves[e.key];
    if (to === void 0) return false;
    e.preventDefault();
    board.active = places[Math.max(0, Math.min(places.length - 1, to))] ?? board.active;
    this.reveal(board.active);
    return true;
  }
  /** Bring a run into sight, and the keys to it. @param {number} run */
  reveal(run) {
    this.scroller?.reveal(run);
    const node = this.scroller?.drawn.get(run)?.node;
    const row = node?.matches("[tabindex]") ? node : node?.querySelector("[tabindex]");
    row?.focus({ preventScroll: true });
    this.board.schedule();
  }
};

// board/grid/grid.js
var [ROW, NAMES, COLUMN] = [34, 170, 92];
var [LETTER, LONG] = [7.6, 460];
var figure = (n) => String(Number(n.toPrecision(3)));
var Grid = class extends View {
  /** @override */
  static key = "grid";
  /** @override @param {import("../store.js").Store} store */
  static isIn(store) {
    return store.grid !== null;
  }
  /** @param {import("../board.js").Board} board */
  constructor(board) {
    super(board);
    this.bar = h("div");
    this.head = h("div");
    this.wanted = "";
    this.at = [0, 0];
    this.picked = [];
    this.acts = { cell: (run) => this.open(run), "cell-compare": () => board.compare(this.picked) };
  }
  get grid() {
    return this.store.grid ?? { factors: [], by: "", inputs: [], variants: [], repeats: 1 };
  }
  /** Names of the scores that have come. */
  get names() {
    return this.store.scoreNames;
  }
  get score() {
    return this.names.includes(this.wanted) ? this.wanted : this.names[0] ?? "";
  }
  /** Grids stand in the order of the inputs. @override @param {import("../rows.js").By} by */
  ordered(by) {
    return { ...by, sort: "#", down: false };
  }
  /** The first run of a cell. @param {number} input @param {number} variant */
  first(input, variant) {
    return (input * this.grid.variants.length + variant) * this.grid.repeats;
  }
  /** The runs of a cell. @param {number} first */
  runs(first) {
    return Array.from({ length: this.grid.repeats }, (_, n) => first + n);
  }
  /** Open every repeat of a cell. @param {number} first */
  open(first) {
    for (const run of this.runs(first)) this.board.open.add(run);
    this.board.show(first);
  }
  /** Pick a cell to be compared, or no longer. @param {number} first */
  pick(first) {
    this.picked = this.picked.includes(first) ? this.picked.filter((run) => run !== first) : [...this.picked, first].slice(-2);
    this.board.schedule();
  }
  /** @override @param {HTMLElement} body */
  enter(body) {
    this.bar = h("div", { class: "cnb-tools" });
    this.head = h("div", { class: "cnb-gridhead", role: "row" });
    const into = h("div", { class: "cnb-scroll cnb-grid", role: "grid", "aria-label": "Inputs by variants", click: (e) => this.shifted(e) }, this.head);
    body.append(this.bar, into);
    this.scroll(into, { height: () => ROW, build: (input) => this.row(input), stamp: (input) => this.stamp(input) });
  }
  /** With Shift a click picks. @param {MouseEvent} e */
  shifted(e) {
    const cell = (
      /** @type {HTMLElement | null} */
      /** @type {HTMLElement} */
      e.target.closest("[data-act=cell]")
    );
    if (!e.shiftKey || !cell) return;
    e.stopPropagation();
    this.pick(Number(cell.dataset.run));
  }
  /** @override */
  look() {
    const row = (this.scroller?.inSight ?? []).flatMap((input) => this.grid.variants.flatMap((_, turn) => this.runs(this.first(input, turn))));
    return { row };
  }
  /** @override */
  draw() {
    const { variants, factors, by } = this.grid;
    morph(this.bar, h("div", { class: "cnb-tools" }, this.tools()));
    const names = [h("span", { class: "cnb-gridname", role: "columnheader" }, `${by} by ${factors.join(", ")}`), ...variants.map((name) => h("bdi", { role: "columnheader", title: name }, name))];
    morph(this.head, h("div", { class: "cnb-gridhead", role: "row", style: this.columns }, names));
    const per = Math.max(1, variants.length * this.grid.repeats);
    const inputs = [...new Set(this.places.map((run) => Math.floor(run / per)))];
    if (this.scroller) this.scroller.space.style.minWidth = `${NAMES + COLUMN * variants.length}px`;
    this.scroller?.draw(inputs);
    this.sayEmpty();
  }
  get columns() {
    const { length } = this.grid.variants;
    const longest = Math.max(0, ...this.grid.inputs.map((name) => name.length));
    const names = Math.max(NAMES, Math.min(LONG, Math.ceil(LETTER * longest) + 16));
    return `grid-template-columns:minmax(${NAMES}px,${names}px) repeat(${length},minmax(${COLUMN}px,1fr));min-width:${NAMES + COLUMN * length}px`;
  }
  tools() {
    const { names, picked } = this;
    const choose = h("select", { "data-in": "score", "aria-label": "score" }, ...names.map((name) => h("option", { value: name, selected: name === this.score }, name)));
    return [
      names.length ? h("label", { class: "cnb-check" }, "score ", choose) : h("span", { class: "cnb-quiet" }, "Nothing is scored yet."),
      h("button", { type: "button", class: "cnb-go", "data-act": "cell-compare", disabled: picked.length < 2 }, "Compare two"),
      h("span", { class: "cnb-quiet" }, "Enter opens; c, or a click with Shift, picks two to compare")
    ];
  }
  /** @param {number} input */
  stamp(input) {
    const { score, store } = this;
    const [low, high] = store.range(score);
    const parts = [score, low, high, this.at.join(), this.picked.join()];
    for (let run = this.first(input, 0); run < this.first(input + 1, 0); run++) parts.push(String(store.scores.get(run)?.[score]), store.rows.get(run)?.status ?? "");
    return parts.join();
  }
  /** @param {number} input */
  row(input) {
    const { inputs, variants } = this.grid;
    const name = inputs[input] ?? "";
    return h(
      "div",
      { class: "cnb-item cnb-gridrow", role: "row", style: this.columns },
      h("bdi", { class: "cnb-gridname", role: "rowheader", title: name }, name),
      ...variants.map((_, turn) => this.cell(input, turn))
    );
  }
  /** @param {number} input @param {number} turn */
  cell(input, turn) {
    const { inputs, variants } = this.grid;
    const first = this.first(input, turn);
    const { words: words2, spread, share, status } = this.said(this.runs(first));
    const isAt = input === this.at[0] && turn === this.at[1];
    const label = `${[words2, spread].filter(Boolean).join(" ")}, ${variants[turn]}, ${inputs[input]}`;
    return h(
      "button",
      {
        type: "button",
        role: "gridcell",
        class: "cnb-cell",
        "data-act": "cell",
        "data-run": first,
        "data-cell": `${input}-${turn}`,
        "data-s": status,
        "aria-label": label,
        "aria-selected": String(this.picked.includes(first)),
        tabindex: isAt ? 0 : -1,
        style: share === null ? null : `--share:${Math.round(share * 100)}%`
      },
      h("b", {}, words2),
      spread ? [" ", h("small", {}, spread)] : null
    );
  }
  /** What a cell says of its runs. @param {number[]} runs */
  said(runs) {
    const { score, store } = this;
    const values = runs.map((run) => store.scores.get(run)?.[score]).filter((v) => v !== void 0 && v !== null);
    const statuses = runs.map((run) => store.rows.get(run)?.status ?? "queued");
    const status = statuses.find((word) => word !== "done") ?? "done";
    if (!values.length) return { words: status === "done" ? "–" : `${SIGNS2[status] ?? ""} ${status}`, spread: "", share: null, status };
    if (values.some((value) => typeof value === "string")) {
      const words2 = [...new Set(values)].map((word) => `${word}${values.length > 1 ? ` ×${values.filter((v) => v === word).length}` : ""}`);
      return { words: words2.join(", "), spread: "", share: null, status };
    }
    const numbers = values.map(Number);
    const mean = numbers.reduce((a, b) => a + b, 0) / numbers.length;
    const [low, high] = store.range(score);
    const share = high > low ? (mean - low) / (high - low) : 0.5;
    if (values.every((value) => typeof value === "boolean"))
      return { words: numbers.length > 1 ? `${numbers.reduce((a, b) => a + b, 0)}/${numbers.length}` : mean ? "yes" : "no", spread: "", share, status };
    const [least, most] = [Math.min(...numbers), Math.max(...numbers)];
    return { words: figure(mean), spread: least < most ? `${figure(least)}–${figure(most)}` : "", share, status };
  }
  /** @override @param {string} field @param {HTMLInputElement} el */
  typed(field, el) {
    if (field === "score") this.wanted = el.value;
  }
  /** @override @param {KeyboardEvent} e @param {HTMLElement} target */
  key(e, target) {
    const cell = target.dataset.cell;
    if (!cell) return false;
    if (e.key === "c") this.pick(Number(target.dataset.run));
    const keys = this.scroller?.keys ?? [];
    const [input = 0, turn = 0] = cell.split("-").map(Number);
    const row = keys.indexOf(input);
    const moves = { ArrowDown: [row + 1, turn], ArrowUp: [row - 1, turn], ArrowLeft: [row, turn - 1], ArrowRight: [row, turn + 1], PageDown: [row + 10, turn], PageUp: [row - 10, turn], Home: [row, 0], End: [row, Infinity] };
    const to = moves[e.key];
    if (!to) return false;
    e.preventDefault();
    const within2 = (n, most) => Math.max(0, Math.min(most - 1, n));
    this.at = [keys[within2(to[0], keys.length)] ?? 0, within2(to[1], this.grid.variants.length)];
    this.scroller?.reveal(this.at[0] ?? 0);
    this.scroller?.view.querySelector(`[data-cell="${this.at.join("-")}"]`)?.focus();
    return false;
  }
};

// board/log/log.js
var [PAGE2, MOST] = [250, 5e3];
var TWO_LINES = 560;
var Log = class extends View {
  /** @override */
  static key = "log";
  /** @param {import("../board.js").Board} board */
  constructor(board) {
    super(board);
    this.earlier = h("div");
    this.most = PAGE2;
    this.follow = true;
    this.lines = this.store.lines;
    this.acts = {
      earlier: () => {
        this.most = Math.min(MOST, this.most * 4);
        this.follow = false;
        board.schedule();
      }
    };
  }
  /** It filters its own lines. @override @param {import("../rows.js").By} by */
  ordered(by) {
    return { ...by, filter: "", problems: false };
  }
  /** @override @returns {string[]} */
  notes() {
    return [];
  }
  /** @override */
  look() {
    const runs = (this.scroller?.inSight ?? []).map((n) => this.lines[n]?.run ?? 0);
    return { row: [...new Set(runs)], log: this.most };
  }
  /** @override @param {HTMLElement} body */
  enter(body) {
    this.earlier = h("div", { class: "cnb-earlier" });
    const view = h("div", { class: "cnb-scroll cnb-log", role: "log", "aria-live": "off", "aria-label": "Log", tabindex: 0 });
    body.append(this.earlier, view);
    this.scroll(view, { height: () => this.board.within(TWO_LINES) ? 42 : 22, build: (n) => this.line(n), stamp: (n) => this.stamp(n) });
    this.follow = true;
    view.addEventListener("scroll", () => {
      this.follow = view.scrollTop + view.clientHeight >= view.scrollHeight - 30;
    });
  }
  /** @override */
  draw() {
    const { by } = this.board;
    const words2 = by.filter.toLowerCase().split(/\s+/).filter(Boolean);
    this.lines = this.store.lines.filter((line) => {
      if (by.problems && !["failed", "waiting", "cancelled"].includes(line.status)) return false;
      if (!words2.length) return true;
      const text = `${line.run} ${this.store.rows.get(line.run)?.label ?? ""} ${line.text}`.toLowerCase();
      return words2.every((word) => text.includes(word));
    });
    const more = this.most < MOST && this.live ? h("button", { type: "button", "data-act": "earlier" }, "Show earlier") : null;
    morph(this.earlier, h("div", { class: "cnb-earlier" }, this.store.moreLines ? ["There are earlier lines. ", more] : null));
    const { scroller } = this;
    if (!scroller) return;
    scroller.draw(this.lines.map((_, n) => n));
    if (this.follow) {
      scroller.view.scrollTop = scroller.view.scrollHeight;
      scroller.draw(scroller.keys);
    }
    scroller.sayEmpty(this.lines.length ? "" : by.filter || by.problems ? "No line matches." : "Nothing has happened yet.");
  }
  /** What a line is drawn from. @param {number} n */
  stamp(n) {
    const line = this.lines[n];
    return line ? `${line.at} ${line.run} ${line.text}` : "";
  }
  /** @param {number} n */
  line(n) {
    const line = this.lines[n];
    if (!line) return h("div", { class: "cnb-line" });
    const at = this.store.clock(line.at);
    const label = this.store.rows.get(line.run)?.label ?? "";
    return h(
      "div",
      { class: "cnb-line", "data-s": line.status },
      h("time", {}, `${clock(Math.floor(at))}.${Math.floor(at % 1 * 10)}`),
      h("small", {}, `#${line.run}`),
      h("bdi", { class: "cnb-quiet", title: label }, this.board.named(line.run)),
      h("i", { "aria-hidden": "true" }, SIGNS2[line.status] ?? "·"),
      h("bdi", { title: line.text }, line.text)
    );
  }
};

// board/fields.js
function fields(text) {
  if (!text || !/^\s*\{/.test(text)) return null;
  try {
    const value = JSON.parse(text);
    return (
      /** @type {Record<string, unknown>} */
      value
    );
  } catch {
    return null;
  }
}
function fieldsOf(card) {
  return card?.fields ?? fields(card?.text);
}
function words(value) {
  return typeof value === "string" ? value : value === void 0 ? "" : JSON.stringify(value);
}
function fieldTable(values) {
  return h(
    "table",
    { class: "cnb-fields" },
    h("tbody", {}, Object.entries(values).slice(0, 60).map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, h("bdi", {}, name)), h("td", { dir: "auto" }, words(value)))))
  );
}

// board/cut.js
function leftOut(cut) {
  return cut?.left_out ? h("small", { class: "cnb-left" }, ` … ${count(cut.left_out)} more characters are not shown here `) : null;
}
function stopped(why) {
  return why ? `stopped: ${why}` : "stopped";
}

// board/happening.js
var QUIET = 20;
function waiting(wait, now) {
  if (wait.reason === "person") return `needs you: ${wait.detail || "approve or send feedback"}`;
  const left = wait.until === void 0 ? 0 : Math.ceil(wait.until - now);
  const why = wait.detail || wait.reason;
  if (left > 0) return `${wait.reason === "retry" ? "retries" : "goes on"} in ${left < 60 ? `${left} s` : clock(left)}: ${why}`;
  const what = { pause: "paused", slot: wait.detail || "no free place" }[wait.reason] ?? `waiting: ${why}`;
  return `${what}, ${clock(now - wait.since)} so far`;
}
function asking(llm) {
  return `asking ${llm === "offline" ? "the offline LLM" : llm}`;
}
function happening(row, specs, now) {
  if (row.status === "failed") return [h("span", { class: "cnb-bad", title: row.error ?? "" }, row.error || "failed")];
  if (row.status === "done") return [h("bdi", { class: "cnb-quiet" }, row.said ?? "")];
  if (row.status === "cancelled") {
    const said = `stopped${row.stopped ? `: ${row.stopped}` : ""}${row.dropped_calls ? `; ${plural(row.dropped_calls, "answer")} dropped` : ""}`;
    return [h("span", { class: "cnb-quiet", title: said }, said)];
  }
  if (row.status === "unknown") return [h("span", { class: "cnb-quiet" }, "the kernel has gone")];
  if (row.status === "queued") return [h("span", { class: "cnb-quiet" }, (row.attempt ?? 1) > 1 ? `attempt ${row.attempt}` : "")];
  if (row.status === "cancelling") return [h("span", { class: "cnb-quiet" }, "ending its calls")];
  const busy = (row.tasks ?? []).flatMap((task, i) => task.status === "running" || task.status === "waiting" ? [{ task, i }] : []);
  busy.sort((a, b) => Number(Boolean(b.task.text)) - Number(Boolean(a.task.text)));
  const waits = busy.map(({ i }) => row.waits?.find((w) => w.task === i));
  const [first] = waits;
  if (first && waits.length > 1 && waits.every((w) => w?.reason === first.reason && w.detail === first.detail)) {
    const last = waits.reduce((a, b) => (b?.until ?? 0) > (a?.until ?? 0) ? b : a) ?? first;
    return [h("span", { class: "cnb-wait" }, `${busy.length === 2 ? "both" : `all ${busy.length}`}: ${waiting(last, now)}`)];
  }
  const parts = busy.slice(0, 2).map(({ task, i }) => {
    const wait = row.waits?.find((w) => w.task === i);
    const name = busy.length > 1 ? h("small", {}, specs[i]?.name ?? "") : null;
    if (wait) return h("span", { class: "cnb-part" }, name, h("span", { class: "cnb-wait" }, waiting(wait, now)));
    if (task.tool) return h("span", { class: "cnb-part" }, name, h("span", { class: "cnb-tool" }, `tool: ${task.tool}`));
    if (task.text) return h("span", { class: "cnb-part" }, name, h("span", { class: "cnb-say" }, h("bdi", {}, task.text)));
    return h("span", { class: "cnb-part cnb-quiet" }, name, task.call ? asking(task.call) : "thinking");
  });
  if (!parts.length) {
    const wait = row.waits?.[0];
    if (wait) parts.push(h("span", { class: "cnb-wait" }, waiting(wait, now)));
    else parts.push(h("span", { class: "cnb-quiet" }, row.call ? asking(row.call) : pausing(row)));
  }
  const quiet = now - (row.last ?? now);
  if (quiet >= QUIET && !row.waits?.length) parts.push(h("span", { class: "cnb-wait" }, `quiet for ${clock(quiet)}`));
  return parts;
}
function pausing(row) {
  if (!row.tasks) return "building the crew";
  return row.tasks.every((task) => task.status === "done" || task.status === "skipped") ? "finishing" : "between tasks";
}

// board/markdown.js
function sanitized(html) {
  const node = h("div", { class: "cnb-md", dir: "auto" });
  node.innerHTML = html;
  return node;
}

// board/versions.js
var versions = /* @__PURE__ */ new WeakMap();
var lastVersion = 0;
function versionOf(value) {
  if (!value) return 0;
  let version = versions.get(value);
  if (version === void 0) versions.set(value, version = ++lastVersion);
  return version;
}

// board/results/cards.js
var Cards = class extends View {
  /** @override */
  static key = "cards";
  /** @param {Results} results */
  constructor(results) {
    super(results.board);
    this.results = results;
    this.body = h("div");
  }
  /** How many stand side by side. */
  get wide() {
    return Math.max(1, Math.floor((this.body.clientWidth || 800) / 300));
  }
  /** The runs of a line. @param {number} line */
  runsOf(line) {
    return this.places.slice(line * this.wide, (line + 1) * this.wide);
  }
  /** @override */
  look() {
    const seen = (this.scroller?.inSight ?? []).flatMap((line) => this.runsOf(line));
    return { row: seen, card: seen };
  }
  /** @override @param {HTMLElement} body */
  enter(body) {
    this.body = body;
    const view = h("div", { class: "cnb-scroll cnb-cards", role: "list", "aria-label": "Results" });
    body.append(view);
    this.scroll(view, { height: () => 212, build: (line) => this.line(line), stamp: (line) => this.stamp(line) });
  }
  /** @override */
  draw() {
    const lines = Math.ceil(this.places.length / this.wide);
    this.scroller?.draw(Array.from({ length: lines }, (_, line) => line));
    this.sayEmpty();
  }
  /** What a line is drawn from. @param {number} line */
  stamp(line) {
    const { rows, cards } = this.store;
    const shown = this.runsOf(line);
    const ticking = shown.some((i) => !FINAL.has(rows.get(i)?.status ?? "done")) ? Math.floor(this.now) : 0;
    return [this.wide, ticking, ...shown.map((i) => `${i}:${versionOf(rows.get(i))}:${versionOf(cards.get(i))}:${this.results.picked.indexOf(i)}`)].join();
  }
  /** @param {number} line */
  line(line) {
    const columns = `grid-template-columns:repeat(${this.wide},minmax(0,1fr))`;
    return h("div", { class: "cnb-cardline", role: "presentation", style: columns }, this.runsOf(line).map((i) => this.card(i)));
  }
  /** @param {number} i */
  card(i) {
    const row = this.store.rows.get(i);
    const card = this.store.cards.get(i);
    const status = row?.status ?? "queued";
    const name = this.board.named(i);
    const ended = FINAL.has(status);
    const structured = fieldsOf(card);
    const time = row ? took(row, this.now) : void 0;
    return h(
      "article",
      { class: "cnb-card", role: "listitem", "data-key": `card${i}`, "data-s": status, "aria-label": `Run ${i}, ${name}` },
      h(
        "header",
        {},
        h("label", {}, h("input", { type: "checkbox", "data-in": "pick", "data-run": i, checked: this.results.picked.includes(i), "aria-label": `Compare run ${i}` }), h("i", { "data-s": status, title: status }, SIGNS2[status] ?? ""), h("small", {}, String(i)), h("bdi", { title: row?.label ?? name }, name))
      ),
      h(
        "div",
        { class: "cnb-cardbody", tabindex: 0, role: "region", "aria-label": `Output of run ${i}` },
        structured ? fieldTable(structured) : card?.html ? sanitized(card.html) : null,
        card?.left_out ? leftOut(card) : null,
        card?.error ? h("p", { class: "cnb-bad" }, card.error) : null,
        status === "cancelled" ? h("p", { class: "cnb-quiet" }, stopped(card?.stopped)) : null,
        card?.hint ? h("p", { class: "cnb-quiet" }, ...coded(card.hint)) : null,
        !ended && row ? this.speech(row) : null,
        ended && status !== "cancelled" && !card?.text && !card?.error ? h("p", { class: "cnb-quiet" }, this.live && !card ? "…" : status) : null
      ),
      h(
        "footer",
        {},
        h("span", {}, [time === void 0 ? "" : span(time), row?.tokens ? plural(row.tokens, "token") : ""].filter(Boolean).join(" · ")),
        card?.text ? h("button", { type: "button", "data-act": "copy", "data-run": i, "aria-label": `Copy the output of run ${i}` }, "Copy") : null,
        h("button", { type: "button", "data-act": "show", "data-run": i, "aria-label": `Open run ${i}` }, "Open")
      )
    );
  }
  /** What a run that has not ended has to say, task by task: the end of its words. @param {Row} row @returns {Child[]} */
  speech(row) {
    const specs = this.store.specsOf(row);
    const speaking = (row.tasks ?? []).flatMap((task, i) => task.text && (task.status === "running" || task.status === "waiting") ? [{ text: task.text, i }] : []);
    if (row.status !== "running" || !speaking.length) {
      const said = row.status === "queued" ? ["queued"] : happening(row, specs, this.now);
      return [h("p", { class: "cnb-quiet cnb-doing" }, ...said)];
    }
    return speaking.map(({ text, i }) => h("p", { class: "cnb-tail", "data-key": `tail${i}` }, h("small", {}, h("bdi", {}, specs[i]?.name ?? "")), " ", h("bdi", { class: "cnb-caret" }, text)));
  }
};

// board/difference.js
function diffWords(before, after) {
  const a = before.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];
  const b = after.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const [x, y] = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
  const parts = [];
  const add = (kind, text) => {
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
  const wide = y.length + 1;
  const best = new Uint16Array((x.length + 1) * wide);
  const at = (i2, j2) => best[i2 * wide + j2] ?? 0;
  for (let i2 = x.length - 1; i2 >= 0; i2--)
    for (let j2 = y.length - 1; j2 >= 0; j2--)
      best[i2 * wide + j2] = x[i2] === y[j2] ? at(i2 + 1, j2 + 1) + 1 : Math.max(at(i2 + 1, j2), at(i2, j2 + 1));
  let [i, j] = [0, 0];
  while (i < x.length || j < y.length) {
    if (i < x.length && j < y.length && x[i] === y[j]) [add("same", x[i] ?? ""), i++, j++];
    else if (i < x.length && (j === y.length || at(i + 1, j) >= at(i, j + 1))) add("del", x[i++] ?? "");
    else add("ins", y[j++] ?? "");
  }
  add("same", rest);
  return smooth(parts);
}
function smooth(parts) {
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

// board/marking.js
function marked(parts, mark2) {
  const seen = parts.filter((part) => part.kind === "same" || part.kind === mark2);
  return seen.map((part) => part.kind === mark2 ? h(mark2, {}, part.text) : part.text);
}
var PASSAGE = "p, li, h1, h2, h3, h4, h5, h6, tr, pre, dt, dd";
function reading(root) {
  const walker = document.createTreeWalker(root, 4);
  const nodes = [];
  let [text, passage] = [
    "",
    /** @type {Element | null | undefined} */
    null
  ];
  while (walker.nextNode()) {
    const node = (
      /** @type {Text} */
      walker.currentNode
    );
    const own = node.parentElement?.closest(PASSAGE);
    if (nodes.length && own !== passage) text += "\n";
    passage = own;
    nodes.push([node, text.length]);
    text += node.data;
  }
  return { text, nodes };
}
function markDifferences(sides, only) {
  const [first, ...others] = sides.map(reading);
  if (!first) return;
  others.forEach((other) => {
    const parts = diffWords(first.text, other.text);
    if (others.length === 1) mark(first.nodes, parts, "del");
    mark(other.nodes, parts, "ins");
  });
  if (only) sides.slice(others.length > 1 ? 1 : 0).forEach(leaveOut);
}
function mark(nodes, parts, kind) {
  const spans = [];
  let at = 0;
  for (const part of parts.filter((part2) => part2.kind === "same" || part2.kind === kind)) {
    if (part.kind === kind) spans.push([at, at + part.text.length]);
    at += part.text.length;
  }
  let next = 0;
  for (const [node, begin] of nodes) {
    const end = begin + node.data.length;
    while ((spans[next]?.[1] ?? Infinity) <= begin) next++;
    const pieces = [];
    let done = begin;
    for (let n = next; (spans[n]?.[0] ?? Infinity) < end; n++) {
      const [from, to] = (
        /** @type {[number, number]} */
        spans[n].map((x) => Math.max(begin, Math.min(end, x)))
      );
      pieces.push(node.data.slice(done - begin, (from ?? 0) - begin), h(kind, {}, node.data.slice((from ?? 0) - begin, (to ?? 0) - begin)));
      done = to ?? end;
    }
    if (pieces.length) node.replaceWith(...pieces, node.data.slice(done - begin));
  }
}
function leaveOut(side) {
  const passages = [...side.querySelectorAll(PASSAGE)].filter((passage) => !passage.querySelector(PASSAGE));
  const same = passages.filter((passage) => !passage.querySelector("ins, del"));
  for (const passage of same) passage.classList.add("cnb-same");
  if (passages.length) side.prepend(h("p", { class: "cnb-left" }, `${plural(same.length, "passage")} of ${passages.length} the same`));
}

// board/results/comparison.js
var Comparison = class extends View {
  /** @override */
  static key = "compare";
  /** @param {Results} results */
  constructor(results) {
    super(results.board);
    this.results = results;
    this.sheet = h("div");
    this.onlyDifferent = false;
    this.stamp = "";
  }
  get picked() {
    return this.results.picked;
  }
  /** @override */
  look() {
    return { row: this.picked, card: this.picked };
  }
  /** @override @param {HTMLElement} body */
  enter(body) {
    this.sheet = this.frame();
    body.append(this.sheet);
  }
  frame() {
    return h("div", { class: "cnb-scroll cnb-sheet", tabindex: 0, role: "region", "aria-label": "Comparison" });
  }
  /** @returns {Child[]} */
  tools() {
    return [
      h("button", { type: "button", "data-act": "compare-end" }, "← Back"),
      h("b", {}, `Runs ${this.picked.join(", ")}`),
      h(
        "label",
        { class: "cnb-check" },
        h("input", { type: "checkbox", "data-in": "different", checked: this.onlyDifferent }),
        "only differences"
      ),
      this.picked.length === 2 ? h("span", { class: "cnb-quiet" }, h("del", {}, "only in the first"), " ", h("ins", {}, "only in the second")) : h("span", { class: "cnb-quiet" }, h("ins", {}, "not in the first"))
    ];
  }
  /** Anew only where something of it has changed: to find what differs takes time. @override */
  draw() {
    const { rows, cards } = this.store;
    const parts = this.picked.flatMap((i) => [i, versionOf(rows.get(i)), versionOf(cards.get(i)), this.wholeOf(i) !== void 0]);
    const stamp = [this.onlyDifferent, this.live, ...parts].join();
    if (this.stamp === stamp && this.sheet.firstChild) return;
    this.stamp = stamp;
    morph(this.sheet, this.drawn());
  }
  drawn() {
    const sheet = this.frame();
    const tables = this.picked.map((i) => fields(this.wholeOf(i)) ?? fieldsOf(this.store.cards.get(i)));
    const notes = this.picked.map((i) => {
      const left = this.store.cards.get(i)?.left_out;
      if (!left || this.wholeOf(i) !== void 0) return null;
      return h("p", { class: "cnb-left" }, this.live ? `${count(left)} more characters are on their way` : `${count(left)} more characters are not here, and not compared`);
    });
    const heads = this.picked.map((i) => {
      const row = this.store.rows.get(i);
      return h("div", { class: "cnb-side", "data-s": row?.status ?? "queued" }, h("i", { "aria-hidden": "true" }, SIGNS2[row?.status ?? "queued"] ?? ""), h("small", {}, String(i)), h("bdi", {}, this.board.named(i)));
    });
    if (tables.every(Boolean)) {
      const names = [...new Set(tables.flatMap((t) => Object.keys(t ?? {})))];
      const rows = names.flatMap((name) => {
        const values = tables.map((t) => words(t?.[name]));
        const same = values.every((v) => v === values[0]);
        if (same && this.onlyDifferent) return [];
        return [h("tr", { class: same ? null : "cnb-differs" }, h("th", { scope: "row" }, h("bdi", {}, name)), values.map((v, n) => h("td", { dir: "auto" }, n && !same ? marked(diffWords(values[0] ?? "", v), "ins") : v)))];
      });
      sheet.append(h("table", { class: "cnb-fields cnb-wide" }, h("thead", {}, h("tr", {}, h("th", {}, "field"), heads.map((head, n) => h("th", { scope: "col" }, head, notes[n])))), h("tbody", {}, rows)));
      return sheet;
    }
    const sides = this.picked.map((i) => {
      const card = this.store.cards.get(i);
      const whole = card?.html && this.wholeOf(i);
      const html = whole || card?.html;
      const said = card?.error ? h("p", { class: "cnb-bad" }, card.error) : card?.stopped !== void 0 ? h("p", { class: "cnb-quiet" }, stopped(card.stopped)) : html ? sanitized(html) : card?.text;
      return h("div", { class: "cnb-words" }, said);
    });
    markDifferences(sides, this.onlyDifferent);
    const columns = h("div", { class: "cnb-columns", style: `grid-template-columns:repeat(${sides.length},minmax(12em,1fr))` });
    sides.forEach((side, n) => columns.append(h("div", { class: "cnb-column" }, heads[n], notes[n], side)));
    sheet.append(columns);
    return sheet;
  }
  /** The output of a run that a card has cut, asked for where it is not here: HTML, or of a structured one its text. @param {number} run */
  wholeOf(run) {
    const card = this.store.cards.get(run);
    return card?.left_out ? this.board.parcels.ask(run, card.fields ? "text" : "html") : void 0;
  }
};

// board/results/table.js
var INPUTS = 4;
var [TALL, DRAWN] = [30, 40];
var Table = class extends View {
  /** @override */
  static key = "table";
  /** @param {Results} results */
  constructor(results) {
    super(results.board);
    this.sheet = h("div");
    this.shown = [];
  }
  /** @override */
  look() {
    return { row: this.shown, card: this.shown };
  }
  /** @override @param {HTMLElement} body */
  enter(body) {
    this.sheet = this.frame();
    body.append(this.sheet);
    this.sheet.addEventListener("scroll", () => this.board.schedule(), { passive: true });
  }
  frame() {
    return h("div", { class: "cnb-scroll cnb-sheet", tabindex: 0, role: "region", "aria-label": "Results as a table" });
  }
  /** @override */
  draw() {
    const sheet = this.frame();
    const first = Math.max(0, Math.floor(this.sheet.scrollTop / TALL) - 5);
    this.shown = this.places.slice(first, first + DRAWN);
    const data = this.shown.map((i) => ({ i, row: this.store.rows.get(i), card: this.store.cards.get(i) }));
    const names = [...new Set([...this.store.cards.values()].slice(0, 200).flatMap((card) => Object.keys(fieldsOf(card) ?? {})))].slice(0, 30);
    const inputs = this.store.shown(INPUTS);
    const gap = (rows) => rows > 0 ? h("tr", { "aria-hidden": "true", style: `height:${rows * TALL}px` }, h("td", { colspan: names.length + Math.max(1, inputs.length) + 1 })) : null;
    sheet.append(
      h(
        "table",
        { class: "cnb-fields cnb-wide cnb-even", "aria-rowcount": this.places.length + 1 },
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "run"), (inputs.length ? inputs : [{ name: "inputs" }]).map(({ name }) => h("th", { scope: "col" }, h("bdi", {}, names.includes(name) ? `inputs.${name}` : name))), names.map((name) => h("th", { scope: "col" }, h("bdi", {}, name))))),
        h(
          "tbody",
          {},
          gap(first),
          data.map(({ i, row, card }) => {
            const values = fieldsOf(card);
            const status = row?.status ?? "queued";
            return h(
              "tr",
              { "data-key": String(i), "aria-rowindex": this.places.indexOf(i) + 2 },
              h("th", { scope: "row" }, h("i", { "data-s": status, title: status }, SIGNS2[status] ?? ""), ` ${i}`),
              inputs.length && row?.cells ? inputs.map(({ name }) => h("td", { dir: "auto", title: row.cells?.[name] ?? "" }, row.cells?.[name] ?? "")) : h("td", { dir: "auto", colspan: Math.max(1, inputs.length) }, row?.label ?? ""),
              values ? names.map((name) => h("td", { dir: "auto", title: words(values[name]) }, words(values[name]))) : h("td", { colspan: names.length, dir: "auto", class: card?.error ? "cnb-bad" : null }, card?.error ?? card?.text?.slice(0, 300) ?? (status === "cancelled" ? stopped(card?.stopped) : status))
            );
          }),
          gap(this.places.length - first - this.shown.length)
        )
      )
    );
    morph(this.sheet, sheet);
  }
};

// board/results/results.js
var MOST2 = 4;
var Results = class extends View {
  /** @override */
  static key = "results";
  /** @param {import("../board.js").Board} board */
  constructor(board) {
    super(board);
    this.bar = h("div");
    this.picked = [];
    this.overpicked = false;
    this.comparing = false;
    this.asTable = false;
    this.cards = new Cards(this);
    this.table = new Table(this);
    this.comparison = new Comparison(this);
    this.acts = {
      cards: () => this.turn({ table: false }),
      table: () => this.turn({ table: true }),
      compare: () => this.turn({ comparing: true }),
      "compare-end": () => this.turn({ comparing: false }),
      file: (_, el) => board.wire.send({ t: "file", format: el.dataset.format })
    };
  }
  /** In which form the results are shown. */
  get shown() {
    return this.comparing ? this.comparison : this.asTable ? this.table : this.cards;
  }
  /** @override */
  get form() {
    return this.shown.form;
  }
  /** @param {{table?: boolean, comparing?: boolean}} to */
  turn({ table, comparing }) {
    this.asTable = table ?? this.asTable;
    if (comparing !== void 0) {
      this.comparing = comparing;
      this.comparison.onlyDifferent = this.overpicked = false;
    }
    this.board.schedule();
  }
  /** @override @param {number[]} runs */
  compare(runs) {
    this.picked = runs;
    this.turn({ comparing: true });
  }
  /** @override */
  chosen() {
    this.comparing = false;
  }
  /** Results stand in the order of the inputs: only Runs has heads that say how it is sorted. @override @param {import("../rows.js").By} by */
  ordered(by) {
    return { ...by, sort: "#", down: false };
  }
  /** @override */
  look() {
    return this.shown.look();
  }
  /** @override @param {HTMLElement} body */
  enter(body) {
    this.bar = h("div", { class: "cnb-tools" });
    body.append(this.bar);
    this.shown.enter(body);
  }
  /** @override */
  leave() {
    for (const form of [this.cards, this.table, this.comparison]) form.leave();
  }
  /** @override */
  scrolled() {
    return this.shown.scrolled();
  }
  /** @override */
  draw() {
    morph(this.bar, h("div", { class: "cnb-tools" }, this.comparing ? this.comparison.tools() : this.tools()));
    this.shown.draw();
  }
  /** Runs whose output has fields, as far as their outputs are here. */
  structured() {
    let [with_, without] = [0, 0];
    for (const card of this.store.cards.values()) if (card.text) fieldsOf(card) ? with_++ : without++;
    return with_ > 0 && with_ >= without;
  }
  /** @returns {Child[]} */
  tools() {
    const picked = this.picked.length;
    const form = (act, name, on) => h("button", { type: "button", "data-act": act, "aria-pressed": String(on) }, name);
    const file = (format, name) => h(
      "button",
      { type: "button", "data-act": "file", "data-format": format, disabled: !this.live, "aria-label": `Download as ${name}` },
      name
    );
    return [
      this.structured() || this.asTable ? h(
        "span",
        { class: "cnb-seg", role: "group", "aria-label": "Form of the results" },
        form("cards", "Cards", !this.asTable),
        form("table", "Table", this.asTable)
      ) : null,
      h(
        "button",
        { type: "button", class: "cnb-go", "data-act": "compare", disabled: picked < 2 },
        picked ? `Compare ${picked}` : "Compare"
      ),
      h("span", { class: this.overpicked ? "cnb-wait" : "cnb-quiet", role: "status" }, this.overpicked ? "at most four" : picked < 2 ? "pick two to four" : ""),
      h(
        "span",
        { class: "cnb-acts" },
        h("span", { class: "cnb-quiet" }, "Download"),
        file("md", "Markdown"),
        file("json", "JSON"),
        file("csv", "CSV")
      )
    ];
  }
  /** @override @param {string} field @param {HTMLInputElement} el @param {string} kind */
  typed(field, el, kind) {
    if (field === "different") this.comparison.onlyDifferent = el.checked;
    if (field !== "pick" || kind !== "change") return;
    const run = Number(el.dataset.run);
    this.picked = this.picked.filter((i) => i !== run);
    this.overpicked = el.checked && this.picked.length >= MOST2;
    if (this.overpicked) el.checked = false;
    if (el.checked) this.picked.push(run);
  }
};

// board/stages.js
function stages(specs) {
  const steps = [];
  specs.forEach((spec, i) => {
    const before = specs[i - 1];
    if (spec.is_async && before?.is_async) steps[steps.length - 1]?.push(i);
    else steps.push([i]);
  });
  return steps;
}

// board/runs/calls.js
function callList(calls, left, now) {
  if (!calls?.length) return null;
  const list = h("div", { class: "cnb-calls", "data-key": "calls" });
  if (left) list.append(h("p", { class: "cnb-quiet" }, `${plural(left, "earlier call")} not shown`));
  calls.forEach((call, n) => {
    const time = span((call.finished ?? now) - call.started);
    const what = { llm: "LLM", tool: "tool", wait: "waited for" }[call.kind];
    const head = [
      h("span", { class: "cnb-kind", "data-k": call.kind === "wait" ? call.name : call.kind }, what),
      h("bdi", {}, call.name),
      call.status !== "done" ? h("span", { class: "cnb-word", "data-s": call.status }, call.status) : null,
      call.kind === "tool" && call.detail ? h("bdi", { class: "cnb-args" }, call.detail.text ?? "") : null,
      call.kind === "wait" && call.detail ? h("bdi", { class: "cnb-args" }, call.detail.text ?? "") : null,
      (call.attempt ?? 1) > 1 ? h("span", { class: "cnb-quiet" }, `attempt ${call.attempt}`) : null,
      h("span", { class: "cnb-sum" }, [time, call.tokens ? plural(call.tokens, "token") : "", call.cost ? money(call.cost) : ""].filter(Boolean).join(" · "))
    ];
    const key = `${left + n}`;
    if (call.kind === "wait" || !call.detail && !call.output) list.append(h("div", { class: "cnb-call", "data-key": key }, head));
    else
      list.append(
        h(
          "details",
          { class: "cnb-call", "data-key": key },
          h("summary", {}, head),
          call.detail ? h("div", { class: "cnb-said" }, h("small", {}, call.kind === "tool" ? "arguments" : "asked"), h("pre", { class: "cnb-pre", dir: "auto", tabindex: 0 }, call.detail.text, leftOut(call.detail))) : null,
          call.output ? h("div", { class: "cnb-said" }, h("small", {}, call.status === "failed" ? "error" : "answered"), h("pre", { class: "cnb-pre", dir: "auto", tabindex: 0 }, call.output.text, leftOut(call.output))) : null
        )
      );
  });
  return list;
}

// board/runs/detail.js
function inside(board, i, row) {
  const detail = board.store.details.get(i);
  const { live } = board.wire;
  const { now } = board;
  const box = h("div", { class: "cnb-inner" });
  if (!detail) {
    box.append(h("p", { class: "cnb-quiet" }, live ? "Loading…" : "What happened in this run is not kept in this page."));
    return box;
  }
  const specs = board.store.specsOf(row);
  const ended = FINAL.has(row.status);
  box.append(
    h(
      "div",
      { class: "cnb-facts", "data-key": "facts" },
      h("bdi", { class: "cnb-label" }, detail.label?.text || "no inputs"),
      (row.attempt ?? 1) > 1 ? h("span", { class: "cnb-tag" }, `attempt ${row.attempt}`) : null,
      saved(row) ? h("span", { class: "cnb-tag" }, saved(row)) : null,
      row.offline ? h("span", { class: "cnb-tag" }, "offline LLM") : null,
      detail.worker ? h("span", { class: "cnb-tag" }, `on ${detail.worker}`) : null,
      detail.why ? h("span", { class: "cnb-quiet" }, `CrewAI's own loop: ${detail.why}`) : null,
      h(
        "span",
        { class: "cnb-acts", "data-key": "acts" },
        !ended && row.status !== "unknown" ? action("act", { "data-act": "cancel", "data-run": i }, "Stop this run", !live || row.status === "cancelling") : ended && row.status !== "done" ? action("act", { "data-act": "retry", "data-run": i }, "Retry this run", !live) : null
      )
    )
  );
  const output = detail.output && h("div", { class: "cnb-output", "data-key": "output" }, h("h4", {}, "Output", h("button", { type: "button", "data-act": "copy", "data-run": i }, "Copy")), sanitized(detail.output.html), leftOut(detail.output));
  if (output && detail.status === "done") box.append(output);
  if (detail.status === "cancelled") {
    box.append(h("p", { class: "cnb-quiet", "data-key": "stopped" }, stopped(detail.stopped?.text), leftOut(detail.stopped)));
    if (detail.hint) box.append(h("p", { class: "cnb-quiet", "data-key": "hint" }, ...coded(detail.hint)));
  }
  if (detail.error)
    box.append(
      h(
        "div",
        { class: "cnb-error", "data-key": "error" },
        h("p", {}, h("b", {}, detail.error.type), ": ", h("bdi", {}, detail.error.message?.text ?? ""), leftOut(detail.error.message)),
        detail.error.hint ? h("p", { class: "cnb-hint" }, ...coded(detail.error.hint)) : null,
        detail.error.traceback ? h("details", {}, h("summary", {}, "Traceback"), h("pre", { class: "cnb-pre", tabindex: 0 }, leftOut(detail.error.traceback), detail.error.traceback.text)) : null
      )
    );
  stages(specs).forEach((step) => {
    const cards = step.map((place) => taskCard(place, { ...specs[place], name: specs[place]?.name ?? "" }, edges(place, specs), detail.tasks?.[place], detail.inside ?? [], now));
    box.append(h("div", { class: "cnb-step", "data-key": `step${step[0]}` }, cards));
  });
  if (detail.calls?.length || detail.calls_left_out)
    box.append(h("div", { class: "cnb-step", "data-key": "calls" }, h("div", { class: "cnb-taskcard" }, h("h4", {}, "For the run as a whole"), callList(detail.calls, detail.calls_left_out, now))));
  if (detail.log?.length) box.append(logLines(detail, specs, (at) => board.store.clock(at)));
  if (output && detail.status !== "done") box.append(output);
  return box;
}
function logLines(detail, specs, at) {
  const lines = detail.log ?? [];
  const left = detail.log_left_out ?? 0;
  return h(
    "details",
    { class: "cnb-taskcard cnb-loglines", "data-key": "log" },
    h("summary", {}, "Log lines ", h("span", { class: "cnb-quiet" }, count(lines.length + left))),
    h(
      "div",
      { class: "cnb-pre", "data-follow": true, tabindex: 0, role: "region", "aria-label": "Log lines" },
      left ? h("div", { class: "cnb-left", "data-key": "left" }, `${plural(left, "earlier line")} not shown`) : null,
      lines.map(
        (line, n) => h(
          "div",
          { class: "cnb-logline", "data-key": left + n },
          h("time", {}, clock(Math.floor(at(line.at)))),
          line.task === void 0 ? null : h("bdi", { class: "cnb-quiet" }, specs[line.task]?.name ?? detail.inside?.find((t) => t.place === line.task)?.name ?? ""),
          h("span", { dir: "auto" }, line.text.text ?? "", leftOut(line.text))
        )
      )
    )
  );
}
function edges(place, specs) {
  const { joins, joined, is_step } = specs[place] ?? {};
  const names = (joins ?? []).map((j) => specs[j]?.name ?? "").join(", ");
  if (is_step) return names ? `after ${names}` : joined ?? "";
  return names ? `← joins ${names}` : "";
}
function taskCard(place, spec, from, task, found, now) {
  const status = task?.status ?? "queued";
  const time = task?.started === void 0 ? "" : span((task.finished ?? now) - task.started);
  const word = spec.is_step && status === "skipped" ? "skipped: its branch was not taken" : task?.taken_over ? "taken over" : status;
  return h(
    "div",
    { class: "cnb-taskcard", "data-key": `task${place}`, "data-s": status },
    h(
      "h4",
      {},
      h("span", { class: "cnb-task", "data-s": status }, h("i", { "aria-hidden": "true" }, SIGNS2[status] ?? ""), h("bdi", {}, spec.name)),
      h("span", { class: "cnb-word", "data-s": status }, word),
      task?.rounds ? h("span", { class: "cnb-tag", title: `began ${task.rounds} times` }, `×${task.rounds}`) : null,
      h("bdi", { class: "cnb-quiet" }, task?.agent || spec.agent || ""),
      from ? h("bdi", { class: "cnb-quiet" }, from) : null,
      h("span", { class: "cnb-sum" }, [time, task?.tokens ? plural(task.tokens, "token") : ""].filter(Boolean).join(" · "))
    ),
    task?.error ? h("p", { class: "cnb-bad" }, task.error.text, leftOut(task.error)) : null,
    callList(task?.calls, task?.calls_left_out ?? 0, now),
    within(place, task, found, now),
    task?.text ? h("div", { class: "cnb-live", "data-follow": true, "data-key": "text", tabindex: 0 }, leftOut(task.text), sanitized(task.text.html)) : null,
    task?.output ? h("div", { "data-key": "output" }, sanitized(task.output.html), leftOut(task.output)) : null,
    task?.is_final ? h("p", { class: "cnb-quiet" }, "Its output is the output of the run, above.") : null,
    task?.is_parents ? h("p", { class: "cnb-quiet" }, "Its output is that of its step, below.") : null
  );
}
function within(place, task, found, now) {
  const mine = found.filter((t) => t.parent === place);
  const left = task?.inside_left_out ?? 0;
  if (!mine.length && !left) return null;
  const crews = /* @__PURE__ */ new Map();
  for (const t of mine) crews.set(t.crew, [...crews.get(t.crew) ?? [], t]);
  return h(
    "div",
    { class: "cnb-within", "data-key": "within" },
    left ? h("p", { class: "cnb-quiet", "data-key": "left" }, `${plural(left, "earlier task")} not shown`) : null,
    [...crews].map(
      ([crew, tasks]) => h(
        "div",
        { class: "cnb-step", "data-key": `crew${crew}` },
        tasks.map((t) => taskCard(t.place, t, t.joined ?? "", t, found, now))
      )
    )
  );
}

// board/runs/pipeline.js
var [TWO_LINES2, NO_JOINS] = [760, 960];
function pipeWidth(specs, wide) {
  let needed = 0;
  for (const step of stages(specs)) {
    for (const i of step) {
      const joined = (!wide || wide > NO_JOINS) && specs[i]?.joined || "";
      needed += 30 + 7.2 * (specs[i]?.name ?? "").length + (joined ? 6.2 * joined.length : 0);
    }
    needed += step.length > 1 ? 28 : 16;
  }
  return needed;
}
function tasksWidth(shapes, wide) {
  let most = 60;
  for (const specs of shapes) {
    const name = Math.max(...specs.map((spec) => spec.name.length), 0);
    most = Math.max(most, isLong(specs, wide) ? 120 + 7.2 * Math.min(24, name) : pipeWidth(specs, wide));
  }
  return Math.ceil(most);
}
function isLong(specs, wide) {
  const room = wide <= TWO_LINES2 ? wide / 2 - 20 : 0.46 * wide;
  return specs.length > 6 && pipeWidth(specs, wide) > room || specs.length > 2 && wide > 0 && room / specs.length < 56;
}
function pipeline(row, specs, wide) {
  if (isLong(specs, wide)) return brief(row, specs);
  const line = h("span", { class: "cnb-pipe" });
  const tight = wide > 0 && pipeWidth(specs, wide) > 0.46 * wide;
  stages(specs).forEach((step, place) => {
    if (place) line.append(h("span", { class: "cnb-then", "aria-hidden": "true" }, "›"));
    const chips = step.map((i) => {
      const { status = "queued", rounds, taken_over } = row.tasks?.[i] ?? {};
      const name = specs[i]?.name ?? "";
      const { joined, is_step } = specs[i] ?? {};
      const from = (specs[i]?.joins ?? []).map((j) => specs[j]?.name).join(is_step ? ", " : " and ");
      const title = `${name}: ${taken_over ? "taken over" : status}${rounds ? `, ${rounds} rounds` : ""}${from ? `, ${is_step ? "after" : "joins"} ${from}` : ""}${specs[i]?.agent ? ` (${specs[i]?.agent})` : ""}`;
      return h(
        "span",
        { class: taken_over ? "cnb-task cnb-taken" : "cnb-task", "data-s": status, title, "aria-label": title, role: "img" },
        h("i", {}, SIGNS2[status] ?? ""),
        h("bdi", {}, name),
        rounds ? h("b", {}, `×${rounds}`) : null,
        joined && !(tight && is_step) ? h("small", {}, joined) : null
      );
    });
    line.append(step.length > 1 ? h("span", { class: "cnb-group", style: `--n:${step.length}` }, chips) : (
      /** @type {Node} */
      chips[0]
    ));
  });
  return line;
}
function brief(row, specs) {
  const statuses = specs.map((_, i) => row.tasks?.[i]?.status ?? "queued");
  const done = statuses.filter((s) => s === "done" || s === "skipped").length;
  const title = specs.map((spec, i) => `${spec.name}: ${statuses[i]}`).join("\n");
  const line = h("span", { class: "cnb-pipe cnb-brief", title });
  const sum = { class: "cnb-task cnb-of", "data-s": done ? "done" : "queued", role: "img", "aria-label": `${done} of ${specs.length} tasks done` };
  line.append(h("span", sum, h("i", {}, SIGNS2[done ? "done" : "queued"] ?? ""), `${done}/${specs.length}`));
  const shown = specs.flatMap((_, i) => ["running", "waiting", "failed", "unknown"].includes(statuses[i] ?? "") ? [i] : []);
  for (const i of shown.slice(0, 2)) {
    const name = specs[i]?.name ?? "";
    line.append(h("span", { class: "cnb-task", "data-s": statuses[i], role: "img", "aria-label": `${name}: ${statuses[i]}` }, h("i", {}, SIGNS2[statuses[i] ?? ""] ?? ""), h("bdi", {}, name)));
  }
  if (shown.length > 2) line.append(h("span", { class: "cnb-quiet cnb-rest" }, `+${shown.length - 2}`));
  return line;
}

// board/runs/question.js
function question(row, wait, specs, board) {
  const name = wait.task === void 0 ? "this run" : specs[wait.task]?.name ?? "this task";
  const id = `${board}-ask-${row.index}-${wait.task ?? "x"}`;
  return h(
    "div",
    { class: "cnb-form", "data-key": wait.key, role: "group", "aria-labelledby": `${id}-t` },
    h("p", { id: `${id}-t` }, h("b", {}, `${name} asks for your view`), wait.detail ? h("bdi", { class: "cnb-quiet" }, ` ${wait.detail}`) : null),
    wait.draft?.text ? h("pre", { class: "cnb-pre", dir: "auto", tabindex: 0 }, wait.draft.text, leftOut(wait.draft)) : null,
    h("textarea", { id, rows: 2, placeholder: "Feedback: what should be different", "aria-label": `Feedback on ${name}`, dir: "auto" }),
    h(
      "div",
      { class: "cnb-acts" },
      h("button", { type: "button", class: "cnb-go", "data-act": "approve", "data-run": row.index, "data-wait": wait.key }, "Approve"),
      h("button", { type: "button", "data-act": "feedback", "data-run": row.index, "data-wait": wait.key, "data-for": id }, "Send feedback")
    )
  );
}

// board/runs/work.js
var AT_WORK = /* @__PURE__ */ new Set(["running", "waiting", "cancelling"]);
var Work = class {
  /** @param {Board} board */
  constructor(board) {
    this.board = board;
    this.el = h("div", { class: "cnb-work" });
    this.follows = true;
    this.at = 0;
  }
  /** Hear of a person who scrolls. @param {HTMLElement} view */
  watch(view) {
    this.at = 0;
    view.addEventListener("scroll", () => {
      if (Math.abs(view.scrollTop - this.at) > 2) this.follows = false;
    });
  }
  /** Rows must not move under a pointer, the keys, or where somebody reads or has sorted them. @param {HTMLElement} view */
  mayMove(view) {
    const { by, held, open } = this.board;
    return this.follows && !open.size && by.sort === "#" && !by.down && !by.filter && !by.problems && !view.matches(":hover") && !(held && view.contains(held));
  }
  /** @param {Scroller} scroller @param {boolean} [asked] by a person */
  draw(scroller, asked = false) {
    const { view, tops, keys } = scroller;
    const { rows } = this.board.store;
    const places = keys.flatMap((run, n) => AT_WORK.has(rows.get(run)?.status ?? "") ? [n] : []);
    const [top, bottom] = [(n) => tops[n] ?? 0, (n) => tops[n + 1] ?? 0];
    const tall = view.clientHeight;
    const above = () => places.filter((n) => bottom(n) <= view.scrollTop).length;
    const below = () => places.filter((n) => top(n) >= view.scrollTop + tall).length;
    if (asked) this.follows = true;
    if (tall && (asked || this.mayMove(view))) {
      let [most, best] = [places.filter((n) => top(n) >= view.scrollTop - 1 && bottom(n) <= view.scrollTop + tall + 1).length, -1];
      for (let [first, end] = [0, 0]; first < places.length; first++) {
        const from = top(places[first] ?? 0);
        while (end < places.length && bottom(places[end] ?? 0) <= from + tall) end++;
        if (end - first > most) [most, best] = [end - first, from];
      }
      if (best >= 0) {
        view.scrollTop = best;
        this.at = view.scrollTop;
        scroller.draw(keys);
      }
    }
    const [up, down] = [above(), below()];
    const words2 = [up ? `${up} ↑` : "", down ? `${down} ↓` : ""].filter(Boolean).join("  ");
    const said = `${plural(up + down, "run")} at work out of sight`;
    morph(this.el, h("div", { class: "cnb-work" }, words2 ? h("button", { type: "button", "data-act": "work", title: said }, `at work: ${words2}`) : null));
  }
};

// board/runs/runs.js
var [SHORT, LONG2] = [14, 40];
var NUMBERS = ["time", "tokens", "cost"];
var Runs = class extends View {
  /** @override */
  static key = "runs";
  /** @param {import("../board.js").Board} board */
  constructor(board) {
    super(board);
    this.grid = h("div");
    this.heads = h("div");
    this.inputs = this.columns();
    this.work = new Work(board);
    this.acts = {
      toggle: (run) => {
        if (!String(getSelection() ?? "")) this.toggle(run);
      },
      work: () => this.scroller && this.work.draw(this.scroller, true),
      sort: (_, el) => this.sort(el.dataset.sort ?? "#"),
      cancel: (run) => this.board.wire.command("cancel", { run }),
      retry: (run) => this.board.wire.command("retry", { run }),
      approve: (run, el) => {
        this.board.wire.command("answer", { run, key: el.dataset.wait ?? "", text: "", approve: true });
        this.reveal(run);
      },
      feedback: (run, el) => this.feedback(run, el)
    };
  }
  /** @override */
  look() {
    return { ...super.look(), detail: [...this.board.open] };
  }
  /** @override @param {HTMLElement} body */
  enter(body) {
    this.heads = h("div", { class: "cnb-cols cnb-row", role: "row" });
    const view = h("div", { class: "cnb-scroll", role: "presentation" });
    this.grid = h("div", { class: "cnb-grid", role: "treegrid", "aria-label": "Runs" }, this.heads, view);
    this.work.watch(view);
    body.append(this.grid, this.work.el);
    this.scroll(view, { height: () => this.board.within(TWO_LINES2) ? 58 : 34, build: (i) => this.item(i), stamp: (i) => this.stamp(i) });
  }
  /** @override */
  draw() {
    const { by } = this.board;
    this.inputs = this.columns();
    const costs = Boolean(this.store.batch?.cost);
    this.grid.classList.toggle("cnb-costs", costs);
    this.grid.style.setProperty("--inputs", this.inputs.map(({ wide }) => wide).join(" "));
    this.grid.style.setProperty("--tasks", `${tasksWidth(this.store.shapes.values(), this.board.root.clientWidth)}px`);
    this.grid.setAttribute("aria-rowcount", String(this.places.length + 1));
    const column = (key, name, right = false, of = key) => h(
      "div",
      {
        role: "columnheader",
        class: right ? "cnb-right" : null,
        "data-col": of,
        "aria-sort": by.sort === key ? by.down ? "descending" : "ascending" : "none"
      },
      h("button", { type: "button", "data-act": "sort", "data-sort": key }, name, by.sort === key && (key !== "#" || by.down) ? h("i", { "aria-hidden": "true" }, by.down ? " ↓" : " ↑") : null)
    );
    const plain = (name) => h("div", { role: "columnheader", "data-col": name }, name);
    morph(
      this.heads,
      h("div", { class: "cnb-cols cnb-row", role: "row", "aria-rowindex": 1 }, column("#", "#", true), column("status", "status"), this.inputs.map(({ key, name }) => column(key, name, false, "inputs")), plain("tasks"), plain("now"), column("time", "time", true), column("tokens", "tokens", true), costs ? column("cost", "cost", true) : null)
    );
    this.drawPlaces();
    if (this.scroller) this.work.draw(this.scroller);
  }
  /** @override */
  scrolled() {
    if (this.scroller) this.scroller.draw(this.scroller.keys), this.work.draw(this.scroller);
    return this.scroller !== null;
  }
  /**
   * The columns of inputs: those that there is room for, each as wide as its values, or one of all.
   * @returns {{key: string, name: string, wide: string, of: (row: Row) => string}[]}
   */
  columns() {
    const { clientWidth } = this.board.root;
    const columns = this.store.shown(clientWidth > 1240 ? 4 : clientWidth > 960 ? 3 : 2);
    const wide = "minmax(80px, 1fr)";
    if (!columns.length) return [{ key: "inputs", name: "inputs", wide, of: called }];
    if (columns.length === 1 || this.board.within(TWO_LINES2)) {
      const names = [...this.store.columns.keys()];
      return [{ key: INPUT + names[0], name: names.join(" · "), wide, of: called }];
    }
    const long = columns.filter((column) => column.wide > SHORT).reduce((sum, column) => sum + Math.min(column.wide, LONG2), 0);
    return columns.map(({ name, wide: wide2 }) => ({
      key: INPUT + name,
      name,
      wide: wide2 > SHORT ? `minmax(60px, ${(1.6 * Math.min(wide2, LONG2) / long).toFixed(2)}fr)` : `minmax(0, ${Math.ceil(8.8 * wide2) + 4}px)`,
      of: (row) => row.cells?.[name] ?? (row.cells ? "" : row.label ?? "")
    }));
  }
  /** What a row is drawn from. @param {number} i */
  stamp(i) {
    const { active, by, open, root } = this.board;
    const row = this.store.rows.get(i);
    const ticking = row && !FINAL.has(row.status) ? Math.floor(this.now) : 0;
    return [row ? versionOf(row) : 0, open.has(i) ? 1 + versionOf(this.store.details.get(i)) : 0, this.inputs.map(({ key }) => key).join(), active === i, ticking, Boolean(this.store.batch?.cost), row && isLong(this.store.specsOf(row), root.clientWidth), by.sort === "#" ? 0 : this.places.indexOf(i)].join();
  }
  /** @param {number} i */
  item(i) {
    const row = this.store.rows.get(i);
    const { active, open: opened, root } = this.board;
    const columns = this.inputs.length;
    const open = opened.has(i);
    const item = h("div", { class: open ? "cnb-item cnb-open" : "cnb-item", role: "rowgroup" });
    const main = h("div", {
      class: "cnb-row",
      role: "row",
      "data-s": row?.status ?? "queued",
      "data-act": "toggle",
      "data-run": i,
      "data-key": "row",
      tabindex: active === i ? 0 : -1,
      "aria-rowindex": this.places.indexOf(i) + 2,
      "aria-expanded": String(open),
      "aria-level": 1
    });
    const cell = (kind, ...content) => h("div", { role: "gridcell", class: `cnb-${kind}` }, ...content);
    if (!row) {
      main.append(cell("num", String(i)), cell("status"), ...this.inputs.map(() => cell("inputs", "…")), cell("tasks"), cell("now"), cell("time"), cell("tokens"));
      item.append(main);
      return item;
    }
    const { now } = this;
    const specs = this.store.specsOf(row);
    const time = took(row, now);
    main.append(
      cell("num", String(i)),
      cell("status", h("i", { "aria-hidden": "true" }, SIGNS2[row.status] ?? ""), row.status),
      ...this.inputs.map(({ of }) => cell("inputs", h("bdi", { title: row.label ?? "" }, of(row) || (row.cells ? "" : "no inputs")))),
      cell("tasks", pipeline(row, specs, root.clientWidth)),
      cell("now", taken(row) ? h("span", { class: "cnb-tag", title: saved(row) }, taken(row)) : null, ...happening(row, specs, now)),
      cell("time", time === void 0 ? "" : row.finished === void 0 ? clock(time) : span(time)),
      cell("tokens", row.tokens ? count(row.tokens) : "")
    );
    if (this.store.batch?.cost) main.append(cell("cost", row.cost === void 0 ? "" : money(row.cost)));
    item.append(main);
    const asks = (row.waits ?? []).filter((w) => w.reason === "person");
    if (asks.length) item.append(wide("asks", ...asks.map((w) => question(row, w, specs, this.board.id))));
    if (open) item.append(wide("detail", inside(this.board, i, row)));
    return item;
    function wide(kind, ...content) {
      return h("div", { role: "row", "data-key": kind, "aria-level": 2, class: `cnb-${kind}` }, h("div", { role: "gridcell", "aria-colspan": 6 + columns }, ...content));
    }
  }
  /** @param {number} run */
  toggle(run) {
    const { open } = this.board;
    this.board.active = run;
    if (open.delete(run)) this.scroller?.measured.delete(run);
    else {
      open.add(run);
      if (this.scroller) this.scroller.opened = run;
    }
    this.board.schedule();
  }
  /** @param {string} key */
  sort(key) {
    const { by } = this.board;
    this.board.by = by.sort === key ? { ...by, down: !by.down } : { ...by, sort: key, down: NUMBERS.includes(key) };
    this.board.schedule();
  }
  /** @param {number} run @param {HTMLElement} el */
  feedback(run, el) {
    const box = (
      /** @type {HTMLTextAreaElement | null} */
      this.grid.querySelector(`#${el.dataset.for}`)
    );
    const text = box?.value.trim() ?? "";
    if (!text) {
      box?.focus();
      return;
    }
    this.board.wire.command("answer", { run, key: el.dataset.wait ?? "", text, approve: false });
    if (box) box.value = "";
  }
  /** @override @param {HTMLElement} target */
  sent(target) {
    target.parentElement?.querySelector('[data-act="feedback"]')?.click();
  }
  /** @override @param {KeyboardEvent} e @param {HTMLElement} target */
  key(e, target) {
    const { active, open } = this.board;
    if (e.key === "Escape") {
      const run = Number(
        /** @type {HTMLElement | null} */
        target.closest(".cnb-item")?.dataset.item
      );
      if (!open.has(run)) return false;
      this.toggle(run);
      this.reveal(run);
      return true;
    }
    if (target.matches(".cnb-row[data-run]") && !this.moved(e) && (e.key === "Enter" || e.key === " ")) {
      e.preventDefault();
      this.toggle(active);
    }
    return false;
  }
};

// board/scores/scores.js
var figure2 = (n) => n === null ? "–" : String(Number(n.toPrecision(3)));
var Scores = class extends View {
  /** @override */
  static key = "scores";
  /** @override @param {import("../store.js").Store} store */
  static isIn(store) {
    return store.grid !== null;
  }
  /** @param {import("../board.js").Board} board */
  constructor(board) {
    super(board);
    this.sheet = h("div");
  }
  /** @override */
  look() {
    return { means: true };
  }
  /** @override @param {HTMLElement} body */
  enter(body) {
    this.sheet = this.frame();
    body.append(this.sheet);
  }
  frame() {
    return h("div", { class: "cnb-scroll cnb-sheet", tabindex: 0, role: "region", "aria-label": "Scores" });
  }
  /** @override */
  scrolled() {
    return true;
  }
  /** @override */
  draw() {
    const sheet = this.frame();
    const means = this.store.means ?? [];
    if (!means.length) sheet.append(h("p", { class: "cnb-empty" }, this.store.scores.size ? "Means are worked out…" : "Nothing is scored yet."));
    sheet.append(...means.map((of) => this.table(of)));
    morph(this.sheet, sheet);
  }
  /** @param {Mean} of */
  table({ score, rows }) {
    const ends = rows.flatMap(([, ...values]) => values.slice(0, 3)).filter((value) => value !== null);
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    const at = (value) => high > low ? 100 * (value - low) / (high - low) : 50;
    const variants = this.store.grid?.variants ?? [];
    const lines = rows.map(([turn, mean, least, most, scored]) => {
      const interval = least === null || most === null ? "" : ` [${figure2(least)}, ${figure2(most)}]`;
      const bar = least === null || most === null ? null : h("i", { style: `inset-inline:${at(least)}% ${100 - at(most)}%` });
      const point = mean === null ? null : h("b", { style: `inset-inline-start:${at(mean)}%` });
      return h("tr", {}, h("th", { scope: "row" }, h("bdi", {}, variants[turn] ?? "")), h("td", { class: "cnb-interval" }, h("span", { "aria-hidden": "true" }, bar, point)), h("td", {}, figure2(mean) + interval), h("td", { class: "cnb-quiet" }, `${count(scored)} runs`));
    });
    return h("table", { class: "cnb-means" }, h("caption", {}, h("bdi", {}, score)), h("tbody", {}, lines));
  }
};

// board/timeline/scale.js
function marks(from, to, most) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
  const step = steps.find((s) => (to - from) / s <= most) ?? 86400 * Math.ceil((to - from) / most / 86400);
  const found = [];
  for (let at = Math.ceil(from / step - 1e-9) * step; at <= to + 1e-9; at += step) found.push(Number(at.toFixed(3)));
  return found;
}
var Scale = class {
  /** @param {() => number} end the last moment that is known @param {() => void} changed */
  constructor(end, changed) {
    this.end = end;
    this.changed = changed;
    this.zoom = null;
    this.drawn = { from: 0, to: 1 };
  }
  /** All of the time. @returns {Period} */
  get whole() {
    return { from: 0, to: this.end() * 1.02 };
  }
  /** @returns {Period} */
  get shown() {
    return this.zoom ?? this.whole;
  }
  /** @param {number} by @param {number} [at] the time that stays where it is */
  by(by, at) {
    const all = this.shown;
    const middle = at ?? (all.from + all.to) / 2;
    const from = Math.max(0, middle - (middle - all.from) * by);
    const to = middle + (all.to - middle) * by;
    this.zoom = to - from >= this.whole.to ? null : { from, to: Math.max(to, from + 0.05) };
    this.changed();
  }
  fit() {
    this.zoom = null;
    this.changed();
  }
  /** Zoom by the wheel, about the time that the pointer is at. @param {WheelEvent} e @param {Element | null} track */
  wheel(e, track) {
    if (!(e.ctrlKey || e.metaKey)) return;
    e.preventDefault();
    if (!track) return;
    const box = track.getBoundingClientRect();
    const { from, to } = this.drawn;
    this.by(e.deltaY > 0 ? 1.25 : 0.8, from + (e.clientX - box.left) / box.width * (to - from));
  }
  /** Drag the time along once it is zoomed. @param {PointerEvent} e @param {AbortSignal} closed */
  grab(e, closed) {
    const track = (
      /** @type {HTMLElement} */
      e.target.closest(".cnb-track")
    );
    if (!track || !this.zoom || e.button) return;
    const start = { x: e.clientX, ...this.zoom };
    const wide = track.getBoundingClientRect().width;
    const move = (m) => {
      const from = Math.max(0, start.from + (start.x - m.clientX) / wide * (start.to - start.from));
      this.zoom = { from, to: from + start.to - start.from };
      this.changed();
    };
    const end = new AbortController();
    window.addEventListener("pointermove", move, { signal: end.signal });
    window.addEventListener("pointerup", () => end.abort(), { signal: end.signal });
    closed.addEventListener("abort", () => end.abort(), { signal: end.signal });
  }
};

// board/timeline/axis.js
function axisOf(batch, rows, names, period, now, clocked, wide, zoomed) {
  const { from, to } = period;
  const at = (t) => 100 * (t - from) / (to - from);
  const axis = h("div", { class: "cnb-axis" });
  if (batch.speedup !== null && batch.speedup >= 1.05)
    axis.append(
      h(
        "div",
        { class: "cnb-versus" },
        h("span", {}, "one by one"),
        h("div", {}, h("i", { style: "width:100%" }), h("b", {}, clock(batch.worked))),
        h("span", {}, "at once"),
        h("div", {}, h("i", { class: "cnb-us", style: `width:${100 / batch.speedup}%` }), h("b", {}, `${batch.speedup.toFixed(1)}× faster`))
      )
    );
  const key = (k, name) => h("span", {}, h("i", { class: "cnb-bar-i", "data-k": k }), name);
  axis.append(
    h(
      "div",
      { class: "cnb-legend" },
      key("llm", "LLM"),
      key("tool", "tool"),
      key("rate limit", "rate limit"),
      key("retry", "retry"),
      key("person", "person"),
      key("queue", "queued"),
      key("failed", "failed"),
      rows.some((row) => row.tasks?.some((task) => task.taken_over)) ? h("span", {}, "↺ taken over") : null,
      h(
        "span",
        { class: "cnb-zoom", role: "group", "aria-label": "Zoom" },
        h("button", { type: "button", "data-act": "zoom-out", title: "Zoom out (−)", "aria-label": "Zoom out" }, "−"),
        h("button", { type: "button", "data-act": "zoom-in", title: "Zoom in (+), or Ctrl and the wheel", "aria-label": "Zoom in" }, "+"),
        h("button", { type: "button", "data-act": "zoom-fit", "aria-disabled": zoomed ? null : "true", title: "Show all (0)" }, "Fit")
      )
    ),
    h("div", { class: "cnb-lane cnb-overlap" }, h("div", { class: "cnb-lanehead" }, "runs at once"), overlap(batch, rows, period, now, clocked)),
    h(
      "div",
      { class: "cnb-lane cnb-marks", "aria-hidden": "true" },
      h("div", { class: "cnb-lanehead", title: names }, h("span", {}, names)),
      h("div", { class: "cnb-track" }, marks(from, to, Math.max(3, Math.floor(wide / 110))).map((m) => h("span", { class: (100 - at(m)) * wide < 5500 ? "cnb-lastmark" : null, style: `left:${at(m)}%` }, to - from < 5 ? `${m.toFixed(1)} s` : clock(m))))
    )
  );
  return axis;
}
function overlap(batch, rows, { from, to }, now, at) {
  const begun = rows.filter((row) => row.started !== void 0 && !row.from_record);
  const open = begun.filter((row) => row.finished === void 0).sort((a, b) => (a.last ?? 0) - (b.last ?? 0));
  const { running = 0, waiting: waiting2 = 0, cancelling = 0, unknown = 0 } = batch.counts;
  const late = new Set(open.slice(0, Math.max(0, open.length - running - waiting2 - cancelling - unknown)));
  const steps = [];
  for (const row of begun) steps.push([at(row.started ?? 0), 1], [at(row.finished ?? (late.has(row) ? row.last ?? now : now)), -1]);
  steps.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  let [level, most] = [0, 1];
  const points = [];
  for (const [t, by] of steps) {
    const x = 100 * (t - from) / (to - from);
    points.push([x, level]);
    level += by;
    most = Math.max(most, level);
    points.push([x, level]);
  }
  const y = (n) => (24 - 22 * n / most).toFixed(2);
  const path = points.map(([x, n]) => `L${(x ?? 0).toFixed(2)} ${y(n ?? 0)}`).join("");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 24");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `At most ${most} runs at once`);
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
  shape.setAttribute("d", `M0 24${path}V24Z`);
  svg.append(shape);
  return h("div", { class: "cnb-track" }, svg, h("b", {}, String(most)));
}

// board/timeline/lane.js
function textWidth(text) {
  return 6.8 * text.length + 8;
}
function tracks(specs) {
  return Math.min(6, Math.max(1, ...stages(specs).map((step) => step.length)));
}
function laneOf({ i, row, lane, specs, name: called2, active }, { from, to }, now, at, wide) {
  const where = specs.map(() => 0);
  for (const step of stages(specs)) step.forEach((task, n) => where[task] = Math.min(n, 5));
  const track = h("div", { class: "cnb-track", style: `height:${22 * tracks(specs)}px` });
  const pixels = Math.max(200, wide);
  const edges2 = /* @__PURE__ */ new Map();
  const bar = (b) => {
    const [start, end] = [at(b.start), at(b.end)];
    const [left, right] = [Math.max(start, from), Math.min(end, to)];
    if (right < left || end < from || start > to) return;
    const edge = edges2.get(`${b.kind}${b.top}${b.part}`) ?? -1;
    const x = pixels * (left - from) / (to - from);
    const w = pixels * (right - left) / (to - from);
    if (x + w < edge + 0.7) return;
    edges2.set(`${b.kind}${b.top}${b.part}`, x + w);
    const room = b.until === void 0 ? w : pixels * (Math.min(at(b.until), to) - left) / (to - from);
    const text = b.text ?? "";
    const beside = w < textWidth(text) && room - w >= textWidth(text);
    const said = beside || w > 30 ? text : "";
    track.append(
      h(
        "span",
        {
          class: `cnb-span${b.part ? ` cnb-${b.part}` : ""}`,
          "data-k": b.kind,
          "data-s": b.status ?? null,
          "data-tip": b.title,
          role: "img",
          tabindex: -1,
          "aria-label": b.title.replaceAll("\n", ", "),
          style: `left:${(100 * (left - from) / (to - from)).toFixed(3)}%;width:${(100 * (right - left) / (to - from)).toFixed(3)}%;top:${b.top}px`
        },
        said ? h("bdi", { class: beside ? "cnb-beside" : null, style: beside ? null : `max-width:${Math.floor(w)}px` }, said) : null
      )
    );
  };
  const between = (a, b) => `${clock(at(a))} to ${b === void 0 ? "now" : clock(at(b))}, ${span((b ?? now) - a)}`;
  if (row && !row.from_record) {
    const begun = row.started ?? row.finished ?? now;
    if (begun - row.queued > 0.02) bar({ kind: "queue", start: row.queued, end: begun, top: 4, title: `queued
${between(row.queued, row.started ?? row.finished)}` });
    row.tasks?.forEach((task, place) => {
      if (task.started === void 0 || task.taken_over) return;
      const name = specs[place]?.name ?? "";
      const after = row.tasks?.filter((t, i2) => where[i2] === where[place] && (t.started ?? -1) > (task.started ?? 0)).map((t) => t.started ?? Infinity) ?? [];
      bar({ kind: "task", until: Math.min(Infinity, ...after), part: "band", start: task.started, end: task.finished ?? now, top: 22 * (where[place] ?? 0), status: task.status, text: name, title: `${name}: ${task.status}
${between(task.started, task.finished)}` });
    });
  }
  for (const s of lane?.spans ?? []) {
    const kind = s.kind === "wait" ? s.name : s.kind;
    const what = { llm: `LLM ${s.name}`, tool: `tool ${s.name}` }[s.kind] ?? `waits: ${s.name}`;
    const more = [s.detail, s.tokens ? plural(s.tokens, "token") : "", s.status && s.status !== "running" ? s.status : ""].filter(Boolean);
    bar({ kind, part: "call", start: s.started, end: s.finished ?? now, top: 22 * (where[s.task] ?? 0), status: s.status, title: [what, between(s.started, s.finished), ...more].join("\n") });
  }
  const ended = at(row?.finished ?? Infinity);
  if (row?.status === "failed" && ended >= from && ended <= to)
    track.append(h("span", { class: "cnb-end", style: `left:${(100 * (ended - from) / (to - from)).toFixed(3)}%`, title: "failed", "aria-hidden": "true" }, "✗"));
  const before = row ? saved(row) : "";
  if (row?.from_record) track.append(h("span", { class: "cnb-before" }, before));
  const time = row ? took(row, now) : void 0;
  return h(
    "div",
    {
      class: "cnb-lane",
      role: "listitem",
      tabindex: active ? 0 : -1,
      "data-run": i,
      "data-s": row?.status ?? "queued",
      "aria-label": `Run ${i}, ${called2}: ${row?.status ?? "queued"}${time === void 0 ? "" : `, ${span(time)}`}${before ? `, ${before}` : ""}${lane?.left_out ? `, ${lane.left_out} earlier calls not drawn` : ""}`
    },
    h("div", { class: "cnb-lanehead" }, h("i", { "aria-hidden": "true", title: row?.status ?? "" }, SIGNS2[row?.status ?? "queued"] ?? ""), h("small", {}, String(i)), h("bdi", { title: called2 }, called2), before && !row?.from_record ? h("small", { title: before }, `↺ ${row?.tasks?.filter((task) => task.taken_over).length}`) : null),
    track
  );
}

// board/timeline/timeline.js
var Timeline = class extends View {
  /** @override */
  static key = "timeline";
  /** @param {import("../board.js").Board} board */
  constructor(board) {
    super(board);
    this.axis = h("div");
    this.scale = new Scale(() => this.end, () => board.schedule());
    this.acts = {
      "zoom-in": () => this.scale.by(0.5),
      "zoom-out": () => this.scale.by(2),
      "zoom-fit": () => this.scale.fit()
    };
  }
  /** The last moment that is known. */
  get end() {
    let to = 0.5;
    for (const row of this.store.rows.values()) to = Math.max(to, this.store.clock(row.finished ?? (row.started === void 0 ? 0 : this.now)));
    return to;
  }
  /** @override */
  notes() {
    const { by, sorted } = this.board;
    if (by.sort === "#" && !by.down) return super.notes();
    return [...super.notes(), `sorted by ${sorted} ${by.down ? "↓" : "↑"}`];
  }
  /** @override */
  look() {
    const seen = this.scroller?.inSight ?? [];
    return { row: seen, lane: seen };
  }
  /** @override @param {HTMLElement} body */
  enter(body) {
    this.axis = h("div", { class: "cnb-axis" });
    const view = h("div", { class: "cnb-scroll cnb-lanes", role: "list", "aria-label": "Timeline, a lane for each run" });
    for (const el of [this.axis, view]) {
      el.addEventListener("wheel", (e) => this.scale.wheel(e, this.axis.querySelector(".cnb-overlap .cnb-track")), { passive: false });
      el.addEventListener("pointerdown", (e) => this.scale.grab(e, this.board.stop.signal));
    }
    body.append(this.axis, view);
    this.scroll(view, { height: (i) => 8 + 22 * tracks(this.store.specsOf(this.store.rows.get(i))), build: (i) => this.lane(i), stamp: (i) => this.stamp(i) });
  }
  /** @override */
  draw() {
    const { batch, rows } = this.store;
    if (!batch) return;
    this.scale.drawn = this.scale.shown;
    const names = [...this.store.columns.keys()].join(" · ");
    morph(this.axis, axisOf(batch, [...rows.values()], names, this.scale.drawn, this.now, (at) => this.store.clock(at), this.board.root.clientWidth, this.scale.zoom !== null));
    this.drawPlaces();
  }
  /** What a lane is drawn from. @param {number} i */
  stamp(i) {
    const row = this.store.rows.get(i);
    const { from, to } = this.scale.drawn;
    return [row ? versionOf(row) : 0, versionOf(this.store.lanes.get(i)), this.board.active === i, from.toFixed(3), to.toFixed(2), this.board.root.clientWidth].join();
  }
  /** @param {number} i */
  lane(i) {
    const row = this.store.rows.get(i);
    const name = this.board.named(i);
    const of = { i, row, lane: this.store.lanes.get(i), specs: this.store.specsOf(row), name, active: this.board.active === i };
    return laneOf(of, this.scale.drawn, this.now, (at) => this.store.clock(at), this.axis.querySelector(".cnb-marks .cnb-track")?.clientWidth ?? 0);
  }
  /** @override @param {KeyboardEvent} e @param {HTMLElement} target */
  key(e, target) {
    if (e.key === "0") this.scale.fit();
    else if (["+", "=", "-"].includes(e.key)) this.scale.by(e.key === "-" ? 2 : 0.5);
    const lane = (
      /** @type {HTMLElement | null} */
      target.closest(".cnb-lane[data-run]")
    );
    if (!lane) return false;
    const bars = (
      /** @type {HTMLElement[]} */
      [...lane.querySelectorAll(".cnb-span")]
    );
    const at = bars.indexOf(target);
    if (e.key === "Escape" && at >= 0) {
      lane.focus();
      return true;
    }
    if (e.key === "ArrowRight" || e.key === "ArrowLeft" && at >= 0) {
      e.preventDefault();
      bars[at + (e.key === "ArrowRight" ? 1 : -1)]?.focus();
    } else if (!this.moved(e) && e.key === "Enter") this.board.show(this.board.active);
    return false;
  }
};

// board/views.js
var VIEWS = [Runs, Grid, Scores, Timeline, Results, Log];

// board/tabs.js
var Tabs = class {
  /** @param {Board} board */
  constructor(board) {
    this.board = board;
    this.el = h("div", { class: "cnb-bar" });
  }
  /** The element id of a tab. @param {string} key */
  id(key) {
    return `${this.board.id}-${key}`;
  }
  /** The keys of the views that the batch has. */
  get keys() {
    return VIEWS.filter((view) => view.isIn(this.board.store)).map((view) => view.key);
  }
  draw() {
    morph(this.el, this.drawn());
  }
  drawn() {
    const bar = h("div", { class: "cnb-bar" });
    if (!this.board.store.batch) return bar;
    const list = h("div", { class: "cnb-tabs", role: "tablist", "aria-label": "Views of the batch" });
    for (const key of this.keys)
      list.append(
        h(
          "button",
          {
            type: "button",
            role: "tab",
            id: this.id(key),
            "aria-selected": String(key === this.board.tab),
            "aria-controls": `${this.board.id}-panel`,
            tabindex: key === this.board.tab ? 0 : -1,
            "data-act": "tab",
            "data-tab": key
          },
          key[0]?.toUpperCase() + key.slice(1)
        )
      );
    bar.append(
      list,
      h("span", { class: "cnb-shown" }, this.board.view.notes().join(" · ")),
      h("label", { class: "cnb-check" }, h("input", { type: "checkbox", "data-in": "problems", checked: this.board.by.problems }), "only problems"),
      h("input", { type: "search", class: "cnb-filter", placeholder: "Filter", "aria-label": "Filter the runs", "data-in": "filter", spellcheck: "false" })
    );
    return bar;
  }
  /** From tab to tab. @param {KeyboardEvent} e */
  key(e) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    if (!step && e.key !== "Home" && e.key !== "End") return;
    e.preventDefault();
    const { keys } = this;
    const at = e.key === "Home" ? 0 : e.key === "End" ? keys.length - 1 : (keys.indexOf(this.board.tab) + (step ?? 0) + keys.length) % keys.length;
    this.board.go(keys[at] ?? this.board.tab);
    this.focus();
  }
  /** The tab of the view that is shown takes the focus. */
  focus() {
    this.el.querySelector(`#${this.id(this.board.tab)}`)?.focus({ preventScroll: true });
  }
};

// board/tip.js
var Tip = class {
  /** @param {HTMLElement} root in which it stands @param {AbortSignal} signal */
  constructor(root, signal) {
    this.root = root;
    this.el = h("div", { class: "cnb-tip", "aria-hidden": "true", hidden: true });
    root.addEventListener("pointermove", (e) => this.hover(e), { signal });
    root.addEventListener("pointerleave", () => this.hide(), { signal });
    root.addEventListener("focusin", (e) => this.focused(e), { signal });
  }
  /** @param {PointerEvent} e */
  hover(e) {
    const el = (
      /** @type {HTMLElement | null} */
      /** @type {HTMLElement} */
      e.target.closest("[data-tip]")
    );
    if (el) this.show(el, e.clientX, e.clientY, e.clientY);
    else this.hide();
  }
  /** @param {FocusEvent} e */
  focused(e) {
    const el = (
      /** @type {HTMLElement} */
      e.target
    );
    if (!el.dataset.tip) {
      this.hide();
      return;
    }
    const box = el.getBoundingClientRect();
    this.show(el, box.left + Math.min(40, box.width / 2), box.bottom, box.top);
  }
  /** Below `bottom`, or where the board ends before it, above `top`. @param {HTMLElement} el @param {number} x @param {number} bottom @param {number} top */
  show(el, x, bottom, top) {
    const [first = "", ...rest] = (el.dataset.tip ?? "").split("\n");
    this.el.replaceChildren(h("b", { dir: "auto" }, first), ...rest.map((line) => h("span", { dir: "auto" }, line)));
    this.el.hidden = false;
    const box = this.root.getBoundingClientRect();
    this.el.style.left = `${Math.max(4, Math.min(x - box.left + 12, box.width - this.el.offsetWidth - 8))}px`;
    const below = bottom - box.top + 14;
    const fits = below + this.el.offsetHeight <= box.height - 4;
    this.el.style.top = `${fits ? below : Math.max(4, top - box.top - this.el.offsetHeight - 8)}px`;
  }
  /** Whether there was one. */
  hide() {
    const shown = !this.el.hidden;
    this.el.hidden = true;
    return shown;
  }
};

// board/voice.js
var Voice = class {
  constructor() {
    this.el = h("div", { class: "cnb-voice", role: "status", "aria-live": "polite" });
    this.said = { at: 0, text: "" };
  }
  /** Say what has changed, seldom enough to be borne. @param {Store} store */
  speak(store) {
    const batch = store.batch;
    if (!batch) return;
    const { done = 0, failed = 0, cancelled = 0 } = batch.counts;
    const parts = [`${done} of ${batch.total} done`];
    if (failed) parts.push(`${failed} failed`);
    if (cancelled) parts.push(`${cancelled} cancelled`);
    const asks = [...store.rows.values()].find((row) => row.waits?.some((w) => w.reason === "person"));
    if (asks) parts.push(`run ${asks.index} needs you`);
    const text = parts.join(", ");
    if (text === this.said.text || !store.final && seconds() - this.said.at < 15) return;
    this.said = { at: seconds(), text };
    this.el.textContent = text;
  }
};

// board/wire.js
var PATIENCE = 4;
var LOSSES = ["comm_live_update", "comm:close"];
var DEAD = /^(restarting|autorestarting|terminating|dead)$/;
var SEEN = { row: 64, detail: 16, lane: 64, card: 64 };
var Wire = class {
  /** @param {Model} model @param {Store} store @param {string} view its name @param {Ears} ears */
  constructor(model, store, view, ears) {
    this.model = model;
    this.store = store;
    this.view = view;
    this.ears = ears;
    this.live = false;
    this.since = seconds();
    this.doubted = 0;
    this.dead = false;
    this.looked = "";
    this.asked = 0;
    this.sent = 0;
    this.used = 0;
    this.said = 0;
    this.timer = setInterval(() => this.beat(), 1e3);
    this.onMessage = (content) => this.message(content);
    model.on("msg:custom", this.onMessage);
    this.onLoss = (more) => more === void 0 && this.doubt();
    for (const name of LOSSES) model.on(name, this.onLoss);
  }
  close() {
    this.send({ t: "bye" });
    this.model.off("msg:custom", this.onMessage);
    for (const name of LOSSES) this.model.off(name, this.onLoss);
    clearInterval(this.timer);
  }
  /** @param {object} content */
  send(content) {
    try {
      this.model.send({ view: this.view, n: ++this.sent, ...content });
    } catch {
      this.miss();
    }
  }
  /** There may be no kernel any longer. */
  miss() {
    if (this.live) this.since = seconds();
    this.live = false;
    this.doubted ||= seconds();
  }
  /** There may be no kernel any longer: ask, and believe it where no answer comes. */
  doubt() {
    this.miss();
    this.dead ||= DEAD.test(this.model.widget_manager?.kernel?.status ?? "");
    if (this.dead) this.lose();
    this.hello();
    this.ears.changed();
  }
  /** What ran has gone with the kernel. */
  lose() {
    if (!this.store.batch || this.store.over) return;
    this.store.lose();
    this.ears.gone();
  }
  /** Whether the kernel has gone, as far as can be seen from here. */
  get gone() {
    return !this.live && this.doubted > 0 && (this.dead || seconds() - this.doubted > PATIENCE);
  }
  hello() {
    this.asked = seconds();
    this.ears.reset();
    this.send({ t: "hello", ...this.look() });
  }
  look() {
    const { row = [], detail = [], lane = [], card = [], log = 0, means = false } = this.ears.look();
    return {
      row: row.slice(0, SEEN.row),
      detail: detail.slice(-SEEN.detail),
      lane: lane.slice(0, SEEN.lane),
      card: card.slice(0, SEEN.card),
      log,
      means
    };
  }
  /** Say what is in sight where that has changed; `anew` says it in any case. */
  tell(anew = false) {
    const look = this.look();
    const text = JSON.stringify(look);
    if (text === this.looked && !anew) return;
    this.looked = text;
    this.send({ t: "look", ...look });
  }
  /** @param {any} content */
  message(content) {
    if (content?.t === "who") {
      if (this.live) this.tell(true);
      return;
    }
    if (content?.t === "file" || content?.t === "whole") {
      if (this.live && !this.store.follows(content.revision)) this.again();
      this.ears.came(content);
      return;
    }
    if (content?.t !== "tick") return;
    if (!this.live && !content.full) return;
    if (!this.store.apply(content, seconds())) {
      this.again();
      return;
    }
    if (!this.live) {
      this.live = true;
      this.doubted = 0;
      this.dead = false;
      this.looked = "";
    }
    this.ears.changed();
    this.ears.told();
  }
  /** A message was lost: ask for everything. */
  again() {
    if (seconds() - this.asked > 0.5) this.hello();
  }
  beat() {
    this.ears.beat();
    if (this.live && this.used > this.said + 15) {
      this.said = this.used;
      this.send({ t: "here" });
    }
    const { final } = this.store;
    if (!this.live && !final && seconds() - this.asked > (this.gone ? 30 : 5)) this.hello();
    if (this.live && !final && seconds() - this.store.heard > 5) this.send({ t: "ping" });
    if (this.gone) this.lose();
    if (!final) this.ears.changed();
  }
  /** @param {string} name @param {object} [args] */
  command(name, args = {}) {
    this.send({ t: "do", name, ...args });
  }
};

// board/board.js
var boards = 0;
var Board = class {
  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    this.id = `cnb${++boards}-${Math.random().toString(36).slice(2, 10)}`;
    this.store = new Store();
    this.wire = new Wire(model, this.store, this.id, {
      look: () => this.view.look(),
      changed: () => this.schedule(),
      told: () => this.voice.speak(this.store),
      gone: () => this.voice.el.textContent = "The kernel has gone",
      beat: () => this.theme(),
      came: (part) => this.parcels.came(part),
      reset: () => this.parcels.reset()
    });
    this.parcels = new Parcels(this.store, this.wire, () => this.schedule());
    this.by = { sort: "#", down: false, filter: "", problems: false };
    this.open = /* @__PURE__ */ new Set();
    this.active = -1;
    this.places = [];
    this.now = 0;
    this.frame = 0;
    this.stale = true;
    this.stop = new AbortController();
    const { signal } = this.stop;
    this.root = h("section", { class: "crew-nb cnb-board", "aria-label": "crew_nb board" });
    this.body = h("div", { class: "cnb-body", role: "tabpanel", id: `${this.id}-panel` });
    this.head = new Head(this);
    this.tabs = new Tabs(this);
    this.tip = new Tip(this.root, signal);
    this.voice = new Voice();
    this.views = Object.fromEntries(VIEWS.map((kind) => [kind.key, new kind(this)]));
    this.tab = VIEWS[0]?.key ?? "";
    this.acts = {
      tab: (_, el2) => this.go(el2.dataset.tab ?? this.tab),
      pause: () => this.wire.command("pause"),
      resume: () => this.wire.command("resume"),
      stop: () => this.wire.command("cancel"),
      "retry-all": () => this.wire.command("retry"),
      copy: (run, el2) => this.parcels.copy(el2, run, this.view.look().card?.includes(run) ?? false),
      show: (run) => this.show(run)
    };
    this.body.setAttribute("aria-labelledby", this.tabs.id(this.tab));
    this.root.append(this.head.el, this.tabs.el, this.body, this.tip.el, this.voice.el);
    el.append(this.root);
    const on = (name, does) => this.root.addEventListener(name, does, { signal });
    on("click", (e) => this.clicked(e));
    on("input", (e) => this.typed(e));
    on("change", (e) => this.typed(e));
    on("pointermove", () => this.wire.used = seconds());
    on("focusin", (e) => this.focused(e));
    on("focusout", (e) => this.head.el.contains(e.target) && this.schedule());
    takeKeys(this.root, signal, (e) => this.key(e));
    this.theme = followTheme(this.root, signal, () => this.schedule());
    const frozen = model.get("frozen");
    if (frozen?.batch) this.store.apply(frozen, seconds());
    this.wire.hello();
    this.schedule();
  }
  close() {
    this.wire.close();
    this.stop.abort();
    this.view.leave();
    cancelAnimationFrame(this.frame);
    this.root.remove();
  }
  /** The view that is shown. */
  get view() {
    return (
      /** @type {View} */
      this.views[this.tab]
    );
  }
  // ------------------------------------------------------------------------------------------------------------- drawing
  /** Draw with the next frame. @param {boolean} [scrolled] nothing but the place that is looked at has changed */
  schedule(scrolled = false) {
    if (!scrolled) this.stale = true;
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }
  draw() {
    this.now = this.store.now(seconds());
    if (!this.stale && this.view.scrolled()) {
      this.wire.tell();
      return;
    }
    this.stale = false;
    const held = this.held;
    const { tab } = this.body.dataset;
    const item = (
      /** @type {HTMLElement | null | undefined} */
      held?.closest("[data-item]")?.dataset.item
    );
    this.drawAll();
    if (held && !held.isConnected) this.refocus(held, tab === this.tab ? item : void 0);
  }
  /** What has the focus, if it is in the board. @returns {HTMLElement | null} */
  get held() {
    const focused = (
      /** @type {Document | ShadowRoot} */
      this.root.getRootNode().activeElement
    );
    return focused && this.root.contains(focused) ? (
      /** @type {HTMLElement} */
      focused
    ) : null;
  }
  /** What had the focus has gone: on to the same elsewhere, its row, or the tab. @param {HTMLElement} held @param {string | undefined} item */
  refocus(held, item) {
    const { act = "", run } = held.dataset;
    const name = { compare: "compare-end", "compare-end": "compare" }[act] ?? act;
    const same = name && this.root.querySelector(`[data-act="${name}"]:not(:disabled)${run === void 0 ? "" : `[data-run="${run}"]`}`);
    const row = item === void 0 ? null : this.root.querySelector(`[data-item="${item}"] .cnb-row`);
    const next = (
      /** @type {HTMLElement | null} */
      same || row
    );
    if (next) next.focus({ preventScroll: true });
    else this.tabs.focus();
  }
  drawAll() {
    const { batch, rows } = this.store;
    this.head.draw();
    if (batch) this.places = order(batch.total, rows, this.view.ordered(this.by), this.now);
    this.tabs.draw();
    if (!batch) {
      this.body.replaceChildren(h("p", { class: "cnb-empty" }, ...coded(this.silence())));
      return;
    }
    this.body.setAttribute("aria-labelledby", this.tabs.id(this.tab));
    if (this.body.dataset.tab !== this.view.form) this.enter();
    this.view.draw();
    this.wire.tell();
  }
  /** Build the frame of a view, once it is shown. */
  enter() {
    for (const view of Object.values(this.views)) view.leave();
    this.body.replaceChildren();
    this.body.dataset.tab = this.view.form;
    this.wire.looked = "";
    this.view.enter(this.body);
  }
  /** What is said while Python says nothing. */
  silence() {
    const { wire } = this;
    if (wire.gone) return `The kernel has gone; what finished is in the record: \`cnb.load(${JSON.stringify(this.store.batch?.name || this.store.batch?.key || "…")})\` or \`resume=True\`.`;
    return seconds() - wire.since > PATIENCE ? "No answer from the kernel yet. The board comes back when it answers." : "Connecting…";
  }
  /** Whether it is at most so wide. @param {number} pixels */
  within(pixels) {
    return this.root.clientWidth > 0 && this.root.clientWidth <= pixels;
  }
  /** What a run is called. @param {number} run */
  named(run) {
    return called(this.store.rows.get(run)) || `run ${run}`;
  }
  /** What the runs are sorted by. */
  get sorted() {
    const { sort } = this.by;
    return sort.startsWith(INPUT) ? sort.slice(INPUT.length) : sort;
  }
  // ------------------------------------------------------------------------------------------------------------ what people do
  /** @param {MouseEvent} e */
  clicked(e) {
    const target = (
      /** @type {HTMLElement} */
      e.target
    );
    const el = (
      /** @type {HTMLElement | null} */
      target.closest("[data-act]")
    );
    if (!el || el.hasAttribute("disabled") || el.getAttribute("aria-disabled") === "true") return;
    const act = el.dataset.act ?? "";
    (this.acts[act] ?? this.view.acts[act])?.(Number(el.dataset.run), el);
  }
  /** To the view of a tab. @param {string} tab */
  go(tab) {
    this.tab = tab;
    this.view.chosen();
    this.stale = true;
    this.tip.hide();
    this.draw();
  }
  /** Lay runs side by side, in the view for that. @param {number[]} runs */
  compare(runs) {
    this.go("results");
    this.view.compare(runs);
  }
  /** Open a run in the first view, whose rows can be opened. @param {number} run */
  show(run) {
    this.open.add(run);
    this.active = run;
    this.go(VIEWS[0]?.key ?? this.tab);
    this.view.reveal(run);
  }
  /** @param {Event} e */
  typed(e) {
    const el = (
      /** @type {HTMLInputElement} */
      e.target
    );
    const field = el.dataset.in;
    if (!field) return;
    if (field === "filter") this.by = { ...this.by, filter: el.value };
    else if (field === "problems") this.by = { ...this.by, problems: el.checked };
    else this.view.typed(field, el, e.type);
    this.schedule();
  }
  /** Whether Escape did something. @param {KeyboardEvent} e */
  key(e) {
    this.wire.used = seconds();
    const target = (
      /** @type {HTMLElement} */
      e.composedPath()[0]
    );
    if (target.matches("input, textarea, select") || e.altKey || e.ctrlKey && e.key !== "Enter" || e.metaKey) {
      if (e.key === "Enter" && (e.ctrlKey || e.metaKey) && target.matches("textarea")) this.view.sent(target);
      return target.matches("[type=search]") && /** @type {HTMLInputElement} */
      target.value !== "";
    }
    const tipped = e.key === "Escape" && this.tip.hide();
    if (target.getAttribute("role") !== "tab") return this.view.key(e, target) || tipped;
    this.tabs.key(e);
    return tipped;
  }
  /** @param {FocusEvent} e */
  focused(e) {
    const row = (
      /** @type {HTMLElement | null} */
      /** @type {HTMLElement} */
      e.target.closest("[role=row][data-run], .cnb-lane[data-run]")
    );
    if (!row || this.active === Number(row.dataset.run)) return;
    this.active = Number(row.dataset.run);
    this.schedule();
  }
};

// board.js
var board_default = {
  /** @param {{model: Model, el: HTMLElement}} given */
  render({ model, el }) {
    const board = new Board(model, el);
    return () => board.close();
  }
};
export {
  board_default as default
};
