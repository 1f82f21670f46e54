// @ts-check
/**
 * The board in the browser: one view of a batch, drawn from the messages that Python sends.
 *
 * Nothing here decides anything: rows come as they are, and a click goes back as a command. Text is only ever set as
 * text; the one exception is `sanitized`, which takes HTML that Python has rendered and cleaned.
 */

/**
 * @typedef {"queued"|"running"|"waiting"|"done"|"failed"|"cancelling"|"cancelled"|"skipped"|"unknown"} Status
 * @typedef {{name: string, agent?: string, joins?: number[], joined?: string, is_async?: boolean, asks_human?: boolean}} Spec
 * @typedef {{status: Status, started?: number, finished?: number, text?: string, tool?: string, call?: string,
 *   error?: string}} Task
 * @typedef {{text?: string, left_out?: number}} Cut
 * @typedef {{html: string, left_out: number}} Shown
 * @typedef {{key: string, reason: string, since: number, until?: number, detail?: string, task?: number,
 *   draft?: Cut}} Wait
 * @typedef {{index: number, label?: string, status: Status, shape: number, attempt?: number, queued: number,
 *   started?: number, finished?: number, last?: number, tokens: number, cost?: number, tasks?: Task[], call?: string,
 *   waits?: Wait[], error?: string, stopped?: string, said?: string, offline?: boolean, from_record?: boolean,
 *   dropped_calls: number, worker?: string}} Row
 * @typedef {{kind: "llm"|"tool"|"wait", name: string, status: string, started: number, finished?: number,
 *   agent?: string, attempt?: number, tokens: number, cost?: number, detail?: Cut, output?: Cut}} Call
 * @typedef {{agent?: string, status: Status, started?: number, finished?: number, tokens: number, text?: Cut,
 *   output?: Shown, is_final?: boolean, error?: Cut, calls?: Call[], calls_left_out: number}} TaskDetail
 * @typedef {{index: number, status: Status, label: Cut, why?: string, worker?: string, tasks?: TaskDetail[],
 *   calls?: Call[], calls_left_out: number, output?: Shown, log?: {at: number, task?: number, text: Cut}[],
 *   log_left_out?: number, stopped?: Cut, hint?: string,
 *   error?: {type: string, message: Cut, traceback?: Cut, hint?: string}}} Detail
 * @typedef {{kind: string, task: number, name: string, status?: string, started: number, finished?: number,
 *   tokens?: number, detail?: string}} Span
 * @typedef {{spans: Span[], left_out: number}} Lane
 * @typedef {{kind: "same"|"del"|"ins", text: string}[]} Parts
 * @typedef {{text?: string, html?: string, fields?: Record<string, string>, left_out?: number, error?: string,
 *   stopped?: string, hint?: string}} Card
 * @typedef {{at: number, run: number, status: Status | "log", text: string}} Line
 * @typedef {{key: string, name: string, total: number, counts: Record<string, number>, created: number,
 *   finished: number|null, paused: boolean, notes: string[], limit: number, limit_reason: string, in_flight: number,
 *   elapsed: number, eta: number|null, tokens: number, cost: number|null, projected_cost: number|null,
 *   unpriced_calls: number, speedup: number|null, worked: number, at_work: number, offline: number, from_record: number,
 *   dropped_calls: number}} Batch
 * @typedef {{t?: string, revision: number, full: boolean, batch: Batch, now: number, shapes?: Record<string, Spec[]>,
 *   rows?: Record<string, Row>, details?: Record<string, Detail>, lanes?: Record<string, Lane>,
 *   cards?: Record<string, Card>, lines?: Line[], more_lines?: boolean}} Tick
 * @typedef {{t: "file", revision: number, view: string, format: "md"|"json"|"csv", part: number, parts: number,
 *   text: string}} FilePart
 * @typedef {{t: "whole", revision: number, view: string, run: number, form: "text"|"html", part: number, parts: number,
 *   text: string}} WholePart
 * @typedef {{get(name: string): any, send(content: any): void, on(name: string, callback: Function): void,
 *   off(name: string, callback: Function): void}} Model
 */

/** @type {Record<string, string>} */
const SIGNS = {
  queued: "○",
  running: "●",
  waiting: "◐",
  done: "✓",
  failed: "✗",
  cancelling: "◌",
  cancelled: "⊘",
  skipped: "↷",
  unknown: "?",
};
const FINAL = new Set(["done", "failed", "cancelled"]);
const STATUSES = ["done", "running", "waiting", "failed", "cancelling", "cancelled", "queued", "unknown"];
const TABS = /** @type {const} */ (["runs", "timeline", "results", "log"]);
/** Sorted by status, what may want a look comes first. */
const URGENT = ["waiting", "running", "cancelling", "unknown", "failed", "cancelled", "done", "queued"];
/** Lines of the log that are asked for at first, and more with each click. */
const LOG_PAGE = 250;
/** Seconds without a sign of life after which a running row says so. */
const QUIET = 20;
/** Seconds that the kernel has to answer before that is said. */
const PATIENCE = 4;
/** Pixels up to which a row has a second line, joins are not named, and a line of the log has a second line: as in board.css. */
const [TWO_LINES, NO_JOINS, LOG_TWO_LINES] = [760, 960, 560];

// ---------------------------------------------------------------------------------------------------- words and numbers

/** Seconds as `0:42`, `12:07` or `1:02:03`. @param {number} seconds */
export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** Seconds as `85 ms`, `4.2 s` or `1:07`. @param {number} seconds */
export function span(seconds) {
  if (seconds < 0.0995) return `${Math.round(Math.max(0, seconds) * 1000)} ms`;
  return seconds < 59.95 ? `${seconds.toFixed(1)} s` : clock(seconds);
}

/** @param {number} n */
export function count(n) {
  return n.toLocaleString("en-US");
}

/** @param {number} n @param {string} one */
function plural(n, one) {
  return `${count(n)} ${one}${n === 1 ? "" : "s"}`;
}

/** US dollars, with more places where less than a cent must not look like nothing. @param {number} dollars */
export function money(dollars) {
  if (dollars === 0 || dollars >= 0.01)
    return "$" + dollars.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  return dollars >= 0.0001 ? `$${dollars.toFixed(4)}` : "<$0.0001";
}

/**
 * The tasks of a crew in the steps in which they start: neighbours that are asynchronous start together.
 * @param {Spec[]} specs @returns {number[][]}
 */
export function stages(specs) {
  /** @type {number[][]} */
  const steps = [];
  specs.forEach((spec, i) => {
    const before = specs[i - 1];
    if (spec.is_async && before?.is_async) steps[steps.length - 1]?.push(i);
    else steps.push([i]);
  });
  return steps;
}

/** A wait in words: with the time that is left, or where nobody knows that, with the time that it has taken. @param {Wait} wait @param {number} now */
export function waiting(wait, now) {
  if (wait.reason === "person") return `needs you: ${wait.detail || "approve or send feedback"}`;
  const left = wait.until === undefined ? 0 : Math.ceil(wait.until - now);
  const why = wait.detail || wait.reason;
  if (left > 0) return `${wait.reason === "retry" ? "retries" : "goes on"} in ${left < 60 ? `${left} s` : clock(left)}: ${why}`;
  const what = { pause: "paused", slot: wait.detail || "no free place" }[wait.reason] ?? `waiting: ${why}`;
  return `${what}, ${clock(now - wait.since)} so far`;
}

/** @param {Row} row */
export function isProblem(row) {
  return (
    row.status === "failed" ||
    row.status === "waiting" ||
    row.status === "unknown" ||
    (row.attempt ?? 1) > 1 ||
    row.dropped_calls > 0 ||
    (row.tasks ?? []).some((t) => t.status === "failed")
  );
}

/** @param {Row} row @param {number} now */
export function took(row, now) {
  if (row.from_record || row.started === undefined) return undefined;
  return (row.finished ?? (FINAL.has(row.status) ? row.started : now)) - row.started;
}

/** The name of the inputs where all runs have one and the same; else the empty string. @param {Iterable<Row>} rows */
export function onlyInput(rows) {
  let name = "";
  for (const { label = "" } of rows) {
    const [first = "", key = ""] = /^([\w-]+)=/.exec(label) ?? [];
    if (!key || (name && key !== name) || /[,;] [\w-]+=/.test(label.slice(first.length))) return "";
    name = key;
  }
  return name;
}

/**
 * Places of the runs to show, in order.
 * @param {number} total @param {Map<number, Row>} rows
 * @param {{sort: string, down: boolean, filter: string, problems: boolean}} by @param {number} now @returns {number[]}
 */
export function order(total, rows, by, now) {
  const words = by.filter.toLowerCase().split(/\s+/).filter(Boolean);
  const places = [];
  for (let i = 0; i < total; i++) {
    const row = rows.get(i);
    if (by.problems && !(row && isProblem(row))) continue;
    if (words.length) {
      const text = row ? `${i} ${row.status} ${row.label ?? ""} ${row.error ?? ""} ${row.said ?? ""}`.toLowerCase() : "";
      if (!words.every((word) => text.includes(word))) continue;
    }
    places.push(i);
  }
  /** @type {Record<string, (row: Row) => number | string>} */
  const keys = {
    status: (row) => URGENT.indexOf(row.status),
    inputs: (row) => row.label ?? "",
    time: (row) => took(row, now) ?? -1,
    tokens: (row) => row.tokens,
    cost: (row) => row.cost ?? -1,
  };
  const key = keys[by.sort];
  if (key) {
    const value = (/** @type {number} */ i) => {
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

/** Round places for the marks of an axis. @param {number} from @param {number} to @param {number} most */
export function marks(from, to, most) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
  const step = steps.find((s) => (to - from) / s <= most) ?? 86400 * Math.ceil((to - from) / most / 86400);
  const found = [];
  for (let at = Math.ceil(from / step - 1e-9) * step; at <= to + 1e-9; at += step) found.push(Number(at.toFixed(3)));
  return found;
}

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

/** The fields of a structured output, or null where the text is none. @param {string | undefined} text */
export function fields(text) {
  if (!text || !/^\s*\{/.test(text)) return null;
  try {
    const value = JSON.parse(text);
    return /** @type {Record<string, unknown>} */ (value);
  } catch {
    return null;
  }
}

/** The fields of an output, of a long one as Python has shortened them. @param {Card | undefined} card */
function fieldsOf(card) {
  return card?.fields ?? fields(card?.text);
}

/** @param {unknown} value */
function words(value) {
  return typeof value === "string" ? value : value === undefined ? "" : JSON.stringify(value);
}

// -------------------------------------------------------------------------------------------------------------- the state

/** What is known of the batch; filled by messages, which must come without a gap. */
export class Store {
  constructor() {
    /** @type {Batch | null} */
    this.batch = null;
    this.revision = 0;
    /** Seconds since the batch was created, by Python's clock, when `heard` was the browser's. */
    this.at = 0;
    this.heard = 0;
    this.clear();
  }

  clear() {
    /** Whether the kernel has gone before the end. */
    this.lost = false;
    /** @type {Map<number, Row>} */ this.rows = new Map();
    /** @type {Map<number, Detail>} */ this.details = new Map();
    /** @type {Map<number, Lane>} */ this.lanes = new Map();
    /** @type {Map<number, Card>} */ this.cards = new Map();
    /** @type {Map<number, Spec[]>} */ this.shapes = new Map();
    /** @type {Line[]} */ this.lines = [];
    this.moreLines = false;
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
    for (const [kind, known] of /** @type {[keyof Tick, Map<number, any>][]} */ ([
      ["rows", this.rows],
      ["details", this.details],
      ["lanes", this.lanes],
      ["cards", this.cards],
      ["shapes", this.shapes],
    ]))
      for (const [i, value] of Object.entries(tick[kind] ?? {})) known.set(Number(i), value);
    if (tick.lines?.length) {
      this.lines = [...this.lines, ...tick.lines].sort((a, b) => a.at - b.at);
      this.moreLines = tick.more_lines ?? false;
    }
    return true;
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

  /** The kernel has gone: what became of the runs that had not ended is not known. */
  lose() {
    if (!this.batch || this.over) return;
    this.lost = true;
    const { total, counts } = this.batch;
    const ended = Object.fromEntries([...FINAL].map((status) => [status, counts[status] ?? 0]));
    const unknown = total - Object.values(ended).reduce((a, b) => a + b, 0);
    this.batch = { ...this.batch, counts: { ...ended, unknown }, paused: false, eta: null, in_flight: 0 };
    const open = (/** @type {string} */ status) => status === "running" || status === "waiting";
    for (const [i, row] of this.rows)
      if (!FINAL.has(row.status)) {
        /** @type {Task[] | undefined} */
        const tasks = row.tasks?.map((task) => (open(task.status) ? { ...task, status: "unknown" } : task));
        this.rows.set(i, { ...row, status: "unknown", waits: [], ...(tasks && { tasks }) });
      }
    for (const [i, detail] of this.details)
      if (!FINAL.has(detail.status)) {
        const still = (/** @type {Call[] | undefined} */ calls) => calls?.map((call) => (open(call.status) ? { ...call, status: "unknown" } : call)) ?? [];
        /** @type {TaskDetail[]} */
        const tasks = (detail.tasks ?? []).map((task) => ({ ...task, calls: still(task.calls), status: open(task.status) ? "unknown" : task.status }));
        this.details.set(i, { ...detail, status: "unknown", tasks, calls: still(detail.calls) });
      }
  }
}

// ---------------------------------------------------------------------------------------------------------- the document

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * An element.
 * @param {string} tag @param {Record<string, string | number | boolean | null | undefined>} [attributes]
 * @param {...(Child | Child[])} children
 */
function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : String(value));
  for (const child of children.flat())
    if (child !== null && child !== undefined && child !== false)
      node.append(child instanceof Node ? child : String(child));
  return node;
}

/** A button that keeps the focus: where it cannot be used it is marked so, and not disabled. @param {string} key @param {Parameters<typeof h>[1]} attributes @param {string} name @param {boolean} off */
function action(key, attributes, name, off) {
  return h("button", { type: "button", "data-key": key, ...attributes, "aria-disabled": off ? "true" : null }, name);
}

/** What a task that asks an LLM is at. @param {string} llm */
function asking(llm) {
  return `asking ${llm === "offline" ? "the offline LLM" : llm}`;
}

/** Words in which code stands between backticks, with the code as elements. @param {string} text @returns {Child[]} */
function coded(text) {
  return text.split(/`([^`\n]+)`/).map((part, n) => (n % 2 ? h("code", {}, part) : part));
}

/** HTML that Python has rendered from Markdown and sanitized: the only place where HTML is taken. @param {string} html */
function sanitized(html) {
  const node = h("div", { class: "cnb-md", dir: "auto" });
  node.innerHTML = html;
  return node;
}

/**
 * Make one node like another while keeping every node that can stay, and with it focus, scroll and selection.
 * @param {Element} from @param {Element} to
 */
export function morph(from, to) {
  for (const { name } of [...from.attributes])
    if (!to.hasAttribute(name) && !(name === "open" && from.localName === "details")) from.removeAttribute(name);
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  // What a person ticked is a property and no attribute: without this the two drift apart.
  if (from instanceof HTMLInputElement && from.type === "checkbox") from.checked = to.hasAttribute("checked");
  const follows = from.hasAttribute("data-follow") && from.scrollTop + from.clientHeight >= from.scrollHeight - 4;
  /** @type {Map<string, Element>} */
  const keyed = new Map();
  for (const child of from.children) {
    const key = child.getAttribute("data-key");
    if (key) keyed.set(key, child);
  }
  const wants = new Set([...to.children].map((child) => child.getAttribute("data-key")));
  let place = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const key = wanted instanceof Element ? wanted.getAttribute("data-key") : null;
    const known = key ? keyed.get(key) : undefined;
    // What stands before it and is not wanted goes first: a node that is moved loses the focus.
    while (known && place !== known && place instanceof Element && !wants.has(place.getAttribute("data-key"))) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
    if (known && known !== place) place = from.insertBefore(known, place);
    if (place && alike(place, wanted)) {
      if (wanted instanceof Element) {
        if (!place.isEqualNode(wanted)) morph(/** @type {Element} */ (place), wanted);
      } else if (place instanceof Text && wanted instanceof Text && place.data !== wanted.data) {
        // What is being said grows at its end: appending leaves a selection in it alone.
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

/** @param {Node} a @param {Node} b */
function alike(a, b) {
  if (a.nodeName !== b.nodeName) return false;
  return !(a instanceof Element && b instanceof Element) || a.getAttribute("data-key") === b.getAttribute("data-key");
}

/** Rows of which only those in sight are in the document. */
class Scroller {
  /**
   * @param {HTMLElement} view the element that scrolls
   * @param {{height: (key: number) => number, build: (key: number) => HTMLElement, stamp: (key: number) => string}} of
   */
  constructor(view, of) {
    this.view = view;
    this.of = of;
    this.space = h("div", { class: "cnb-space", role: "presentation" });
    view.append(this.space);
    /** @type {number[]} */
    this.keys = [];
    /** @type {Map<number, {node: HTMLElement, stamp: string}>} */
    this.drawn = new Map();
    /** @type {Map<number, number>} heights of rows that are taller than usual, as measured */
    this.measured = new Map();
    /** @type {number[]} */
    this.tops = [0];
    /** @type {number[]} keys in sight */
    this.inSight = [];
    this.watcher = new ResizeObserver((entries) => {
      let moved = false;
      for (const entry of entries) {
        const key = Number(/** @type {HTMLElement} */ (entry.target).dataset.item);
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
    /** The row that has just been opened, until it is in sight as far as it fits; -1 for none. */
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
    // Hidden (another tab of the front end, a theme that is loading) nothing has a height; what is drawn stays right.
    if (this.view.checkVisibility?.() === false && this.drawn.size) return;
    const anchor = this.view.scrollTop;
    this.tops = [0];
    for (const key of keys) this.tops.push((this.tops[this.tops.length - 1] ?? 0) + this.tall(key));
    const total = this.tops[keys.length] ?? 0;
    if (this.space.style.height !== `${total}px`) this.space.style.height = `${total}px`;
    const [top, bottom] = [anchor - 120, anchor + (this.view.clientHeight || 400) + 120];
    let first = this.find(top);
    this.inSight = [];
    /** @type {Set<number>} */
    const kept = new Set();
    for (; first < keys.length && (this.tops[first] ?? 0) < bottom; first++) {
      const key = /** @type {number} */ (keys[first]);
      this.inSight.push(key);
      kept.add(key);
      this.place(key, this.tops[first] ?? 0);
    }
    const focused = this.view.ownerDocument.activeElement;
    for (const [key, { node }] of this.drawn)
      if (!kept.has(key)) {
        // The row with the focus stays in the document, or the keyboard would be lost when it scrolls out of sight.
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
      const middle = (low + high) >> 1;
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

  close() {
    this.watcher.disconnect();
  }
}

// --------------------------------------------------------------------------------------------------------------- the view

let views = 0;
/** Events of ipywidgets' model after which there may be nobody to talk to. */
const LOSSES = ["comm_live_update", "comm:close"];

/** One view of a batch in the page. */
class View {
  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    this.id = `cnb${++views}-${Math.random().toString(36).slice(2, 10)}`;
    this.store = new Store();
    /** @type {typeof TABS[number]} */
    this.tab = "runs";
    this.by = { sort: "#", down: false, filter: "", problems: false };
    /** @type {Set<number>} */
    this.open = new Set();
    this.active = -1;
    /** @type {number[]} runs picked to be compared */
    this.picked = [];
    this.comparing = false;
    this.onlyDifferent = false;
    /** What the comparison that is shown was made of. */
    this.compared = "";
    this.asTable = false;
    /** Whether a fifth run was picked just now. */
    this.overpicked = false;
    /** @type {number[]} runs of which the table shows a row */
    this.tableRows = [];
    /** @type {{from: number, to: number} | null} what the timeline shows; null for all */
    this.zoom = null;
    this.log = LOG_PAGE;
    /** @type {Map<string, string[]>} parts of files and of whole outputs that are on their way */
    this.files = new Map();
    /** @type {Map<string, {row: Row | undefined, text: string | null}>} whole outputs that were asked for; null until they are here */
    this.wholes = new Map();
    /** @type {{run: number, button: HTMLElement} | null} what is put on the clipboard once it is here */
    this.copying = null;
    this.live = false;
    /** Since when it has not been live. */
    this.since = seconds();
    /** When something first said that the kernel may have gone; 0 for nothing did. */
    this.doubted = 0;
    this.frame = 0;
    this.stale = true;
    this.looked = "";
    this.asked = 0;
    /** When the pointer or a key was last used in it, and when the kernel was last told so. */
    this.used = 0;
    this.told = 0;
    this.said = { at: 0, text: "" };
    /** @type {number[]} */
    this.places = [];

    this.head = h("div", { class: "cnb-head" });
    this.tabs = h("div", { class: "cnb-bar" });
    this.body = h("div", { class: "cnb-body", role: "tabpanel", id: `${this.id}-panel`, "aria-labelledby": `${this.id}-runs` });
    this.tip = h("div", { class: "cnb-tip", "aria-hidden": "true", hidden: true });
    this.voice = h("div", { class: "cnb-voice", role: "status", "aria-live": "polite" });
    this.root = h("section", { class: "crew-nb cnb-board", "aria-label": "crew_nb board" });
    this.root.append(this.head, this.tabs, this.body, this.tip, this.voice);
    el.append(this.root);

    /** @type {Scroller | null} */
    this.scroller = null;
    this.stop = new AbortController();
    const on = (/** @type {string} */ name, /** @type {(e: any) => void} */ f, options = {}) =>
      this.root.addEventListener(name, f, { signal: this.stop.signal, ...options });
    on("click", (e) => this.clicked(e));
    // Some notebooks (Notebook 7) take the keys on their way down to the board: it must hear of them before they do.
    const keys = (/** @type {KeyboardEvent} */ e) => e.composedPath().includes(this.root) && this.key(e);
    window.addEventListener("keydown", keys, { capture: true, signal: this.stop.signal });
    on("input", (e) => this.typed(e));
    on("change", (e) => this.typed(e));
    on("pointermove", (e) => {
      this.used = seconds();
      this.hover(e);
    });
    on("pointerleave", () => this.hideTip());
    on("pointerdown", (e) => this.grab(e));
    on("focusin", (e) => this.focused(e));
    on("focusout", (e) => this.head.contains(e.target) && this.schedule());
    on("wheel", (e) => this.wheel(e), { passive: false });
    this.looks = new MutationObserver(() => this.theme());
    for (const node of [document.documentElement, document.body])
      this.looks.observe(node, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "theme", "class", "style"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.theme(), { signal: this.stop.signal });
    // It is called once the view is in the page, too: before that it has no background to read the theme off.
    this.sizes = new ResizeObserver(() => {
      this.theme();
      this.schedule();
    });
    this.sizes.observe(this.root);
    this.timer = setInterval(() => this.beat(), 1000);
    this.onMessage = (/** @type {any} */ content) => this.message(content);
    model.on("msg:custom", this.onMessage);
    // ipywidgets says so, with nothing but the name of the event, when a kernel restarts, dies, or closes the comm.
    this.onLoss = (/** @type {unknown} */ more) => more === undefined && this.doubt();
    for (const name of LOSSES) model.on(name, this.onLoss);
    const frozen = model.get("frozen");
    if (frozen?.batch) this.store.apply(frozen, seconds());
    this.hello();
    this.schedule();
  }

  close() {
    this.send({ t: "bye" });
    this.model.off("msg:custom", this.onMessage);
    for (const name of LOSSES) this.model.off(name, this.onLoss);
    this.stop.abort();
    this.looks.disconnect();
    this.sizes.disconnect();
    this.scroller?.close();
    clearInterval(this.timer);
    cancelAnimationFrame(this.frame);
    this.root.remove();
  }

  // ------------------------------------------------------------------------------------------------- to and from Python

  /** @param {object} content */
  send(content) {
    try {
      this.model.send({ view: this.id, ...content });
    } catch {
      // Without a kernel there is nobody to hear it; the view says so by itself.
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
    this.hello();
    this.schedule();
  }

  /** Whether the kernel has gone, as far as can be seen from here. */
  get gone() {
    return !this.live && this.doubted > 0 && seconds() - this.doubted > PATIENCE;
  }

  hello() {
    this.asked = seconds();
    // What was on its way went with the one who sent it.
    for (const [key, { text }] of this.wholes) if (text === null) this.wholes.delete(key);
    this.send({ t: "hello", ...this.look() });
  }

  /** What is in sight, so that only that is sent. */
  look() {
    const seen = this.scroller?.inSight ?? [];
    const places = this.tab === "results" ? this.shownCards : seen;
    return {
      row: seen.slice(0, 64),
      detail: this.tab === "runs" ? [...this.open].slice(-16) : [],
      lane: this.tab === "timeline" ? seen.slice(0, 64) : [],
      card: this.tab === "results" ? places.slice(0, 64) : [],
      log: this.tab === "log" ? this.log : 0,
    };
  }

  /** @returns {number[]} */
  get shownCards() {
    if (this.comparing) return this.picked;
    if (this.asTable) return this.tableRows;
    const wide = this.columns();
    return (this.scroller?.inSight ?? []).flatMap((line) => this.places.slice(line * wide, (line + 1) * wide));
  }

  tell() {
    const look = this.look();
    const text = JSON.stringify(look);
    if (text === this.looked) return;
    this.looked = text;
    this.send({ t: "look", ...look });
  }

  /** @param {any} content */
  message(content) {
    if (content?.t === "who") {
      // Nothing else shows this batch: Python asks whether this view still does.
      this.looked = "";
      if (this.live) this.tell();
      return;
    }
    if (content?.t === "file" || content?.t === "whole") {
      if (this.live && !this.store.follows(content.revision)) this.again();
      if (content.t === "file") this.file(content);
      else this.arrived(content);
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
      this.looked = "";
    }
    this.schedule();
    this.speak();
  }

  /** A message was lost: ask for everything. */
  again() {
    if (seconds() - this.asked > 0.5) this.hello();
  }

  beat() {
    this.theme();
    // Whoever reads along keeps the board live.
    if (this.live && this.used > this.told + 15) {
      this.told = this.used;
      this.send({ t: "here" });
    }
    const { final } = this.store;
    if (!this.live && !final && seconds() - this.asked > (this.gone ? 30 : 5)) this.hello();
    // Nothing is answered to it: where there is nobody to send it to, that is heard of.
    if (this.live && !final && seconds() - this.store.heard > 5) this.send({ t: "ping" });
    if (this.gone && this.store.batch && !this.store.over) {
      this.store.lose();
      this.voice.textContent = "The kernel has gone";
    }
    if (!final) this.schedule();
  }

  /** @param {string} name @param {object} [args] */
  command(name, args = {}) {
    this.send({ t: "do", name, ...args });
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
    if (!this.stale && this.scroller) {
      this.scroller.draw(this.scroller.keys);
      this.tell();
      return;
    }
    this.stale = false;
    const held = this.held;
    const { tab } = this.body.dataset;
    const item = /** @type {HTMLElement | null | undefined} */ (held?.closest("[data-item]"))?.dataset.item;
    this.drawAll();
    if (held && !held.isConnected) this.refocus(held, tab === "runs" && tab === this.tab ? item : undefined);
  }

  /** What has the focus, if it is in the board. @returns {HTMLElement | null} */
  get held() {
    const focused = /** @type {Document | ShadowRoot} */ (this.root.getRootNode()).activeElement;
    return focused && this.root.contains(focused) ? /** @type {HTMLElement} */ (focused) : null;
  }

  /** What had the focus has gone: on to the same elsewhere, its row, or the tab. @param {HTMLElement} held @param {string | undefined} item */
  refocus(held, item) {
    const { act = "", run } = held.dataset;
    const name = { compare: "compare-end", "compare-end": "compare" }[act] ?? act;
    const same = name && this.root.querySelector(`[data-act="${name}"]:not(:disabled)${run === undefined ? "" : `[data-run="${run}"]`}`);
    const row = item === undefined ? null : this.root.querySelector(`[data-item="${item}"] .cnb-row`);
    /** @type {HTMLElement | null} */ (same || row || this.root.querySelector(`#${this.id}-${this.tab}`))?.focus({ preventScroll: true });
  }

  drawAll() {
    const { batch } = this.store;
    morph(this.head, this.header());
    morph(this.tabs, this.bar());
    if (!batch) {
      this.body.replaceChildren(h("p", { class: "cnb-empty" }, ...coded(this.silence())));
      return;
    }
    // Only Runs has heads that say how it is sorted; results stand in the order of the inputs.
    const by = { log: { ...this.by, filter: "", problems: false }, results: { ...this.by, sort: "#", down: false } };
    this.places = order(batch.total, this.store.rows, by[/** @type {keyof typeof by} */ (this.tab)] ?? this.by, this.now ?? 0);
    this.inputName = onlyInput(this.store.rows.values());
    this.body.setAttribute("aria-labelledby", `${this.id}-${this.tab}`);
    if (this.body.dataset.tab !== this.mode()) this.enter();
    if (this.tab === "runs") this.drawRuns();
    else if (this.tab === "timeline") this.drawTimeline();
    else if (this.tab === "results") this.drawResults();
    else this.drawLog();
    this.tell();
  }

  silence() {
    if (this.gone) return `The kernel has gone; what finished is in the record: \`cnb.load(${JSON.stringify(this.store.batch?.name || this.store.batch?.key || "…")})\` or \`resume=True\`.`;
    return seconds() - this.since > PATIENCE ? "No answer from the kernel yet. The board comes back when it answers." : "Connecting…";
  }

  /** Whether it is at most so wide. @param {number} pixels */
  within(pixels) {
    return this.root.clientWidth > 0 && this.root.clientWidth <= pixels;
  }

  mode() {
    if (this.tab !== "results") return this.tab;
    return this.comparing ? "compare" : this.asTable ? "table" : "cards";
  }

  /** Build the frame of a tab, once it is shown. */
  enter() {
    this.scroller?.close();
    this.scroller = null;
    this.body.replaceChildren();
    this.body.dataset.tab = this.mode();
    this.looked = "";
    const scroller = (/** @type {HTMLElement} */ into, /** @type {ConstructorParameters<typeof Scroller>[1]} */ of) => {
      into.addEventListener("scroll", () => this.schedule(true), { passive: true });
      this.scroller = new Scroller(into, of);
    };
    if (this.tab === "runs") {
      const grid = h("div", { class: "cnb-grid", role: "treegrid", "aria-label": "Runs" });
      this.columnsHead = h("div", { class: "cnb-cols cnb-row", role: "row" });
      const view = h("div", { class: "cnb-scroll", role: "presentation" });
      grid.append(this.columnsHead, view);
      this.body.append(grid);
      scroller(view, { height: () => (this.within(TWO_LINES) ? 58 : 34), build: (i) => this.item(i), stamp: (i) => this.itemStamp(i) });
    } else if (this.tab === "timeline") {
      this.axis = h("div", { class: "cnb-axis" });
      const view = h("div", { class: "cnb-scroll cnb-lanes", role: "list", "aria-label": "Timeline, a lane for each run" });
      this.body.append(this.axis, view);
      scroller(view, {
        height: (i) => 8 + 22 * this.tracks(i),
        build: (i) => this.lane(i),
        stamp: (i) => this.laneStamp(i),
      });
    } else if (this.tab === "results") {
      this.tools = h("div", { class: "cnb-tools" });
      this.body.append(this.tools);
      if (this.comparing || this.asTable) {
        this.sheet = h("div", { class: "cnb-scroll cnb-sheet", tabindex: 0, role: "region", "aria-label": this.comparing ? "Comparison" : "Results as a table" });
        this.body.append(this.sheet);
        if (!this.comparing) this.sheet.addEventListener("scroll", () => this.schedule(), { passive: true });
      } else {
        const view = h("div", { class: "cnb-scroll cnb-cards", role: "list", "aria-label": "Results" });
        this.body.append(view);
        scroller(view, { height: () => 212, build: (line) => this.cardLine(line), stamp: (line) => this.cardStamp(line) });
      }
    } else {
      this.earlier = h("div", { class: "cnb-earlier" });
      const view = h("div", { class: "cnb-scroll cnb-log", role: "log", "aria-live": "off", "aria-label": "Log", tabindex: 0 });
      this.body.append(this.earlier, view);
      scroller(view, { height: () => (this.within(LOG_TWO_LINES) ? 42 : 22), build: (i) => this.line(i), stamp: (i) => this.lineStamp(i) });
      this.follow = true;
      view.addEventListener("scroll", () => {
        this.follow = view.scrollTop + view.clientHeight >= view.scrollHeight - 30;
      });
    }
  }

  // -------------------------------------------------------------------------------------------------------------- the head

  header() {
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
    // A button that is no longer of use stays while it has the focus, which would else be lost.
    const stays = (/** @type {string} */ key) => this.held?.dataset.key === key && this.head.contains(this.held);
    const chips = STATUSES.filter((s) => counts[s]).map((s) =>
      h("span", { class: "cnb-chip", "data-s": s }, h("i", { "aria-hidden": "true" }, SIGNS[s] ?? ""), h("b", {}, count(counts[s] ?? 0)), ` ${s}`),
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
          over
            ? stays("pause") && action("pause", {}, "Pause", true)
            : action("pause", { "data-act": batch.paused ? "resume" : "pause" }, batch.paused ? "Resume" : "Pause", !this.live),
          over
            ? stays("stop") && action("stop", {}, counts.cancelled ? "Stopped" : "Stop", true)
            : action("stop", { "data-act": "stop", class: "cnb-stop" }, this.stopping() ? "Stopping…" : "Stop", !this.live || this.stopping()),
          again && ended
            ? action("retry", { "data-act": "retry-all" }, `Retry ${which} (${count(again)})`, !this.live)
            : stays("retry") && action("retry", {}, "Retrying…", true),
        ),
      ),
      this.progress(ended),
      this.figures(),
    );
    const notes = batch.notes.map((note) => h("p", { class: "cnb-note", dir: "auto" }, ...coded(note)));
    if (batch.dropped_calls)
      notes.push(h("p", { class: "cnb-note" }, `${plural(batch.dropped_calls, "call")} could not be stopped; the answers are dropped.`));
    if (!this.live && !this.store.final) notes.push(h("p", { class: this.gone ? "cnb-note cnb-gone" : "cnb-note" }, ...coded(this.silence())));
    head.append(...notes);
    return head;
  }

  stopping() {
    const counts = this.store.batch?.counts ?? {};
    return Boolean(counts.cancelling) && !counts.running && !counts.queued && !counts.waiting;
  }

  /** @param {number} ended */
  progress(ended) {
    const batch = /** @type {Batch} */ (this.store.batch);
    const share = batch.total ? ended / batch.total : 1;
    const bar = h("div", {
      class: "cnb-progress",
      role: "progressbar",
      "aria-valuemin": 0,
      "aria-valuemax": batch.total,
      "aria-valuenow": ended,
      "aria-valuetext": `${ended} of ${batch.total} ended`,
      "aria-label": "Runs that have ended",
    });
    // What has ended stands first, in full colour; what is under way comes after it, paler.
    for (const s of ["done", "failed", "cancelled", "unknown", "cancelling", "running", "waiting"])
      if (batch.counts[s])
        bar.append(h("span", { "data-key": s, "data-s": s, style: `width:${(100 * (batch.counts[s] ?? 0)) / batch.total}%` }));
    bar.dataset.share = String(Math.floor(share * 100));
    return bar;
  }

  figures() {
    const batch = /** @type {Batch} */ (this.store.batch);
    const { done = 0 } = batch.counts;
    const since = seconds() - this.store.heard;
    const final = this.store.over;
    const figure = (/** @type {Child} */ value, /** @type {Child} */ what, title = "") =>
      h("div", { class: "cnb-figure", title: title || null }, h("b", {}, value), h("span", {}, what));
    const row = h("div", { class: "cnb-figures" });
    row.append(
      figure(`${Math.floor((100 * done) / Math.max(1, batch.total))} %`, `${count(done)} of ${count(batch.total)} done`),
      figure(clock(batch.elapsed + (final || !this.live ? 0 : since)), "elapsed"),
    );
    if (!final)
      row.append(
        batch.eta === null
          ? figure("–", batch.paused ? "paused" : "left, not known yet")
          : figure(`~${clock(Math.max(0, batch.eta - since))}`, "left", "Learned from the runs that have finished"),
      );
    if (batch.speedup !== null && batch.speedup >= 1.05) {
      const title = "The time that the runs worked, their waits left out, by the time in which they did";
      row.append(
        h("div", { class: "cnb-figure cnb-fast", title }, h("b", {}, `${batch.speedup.toFixed(1)}×`), h("span", {}, "faster than one by one")),
      );
    }
    row.append(figure(count(batch.tokens), "tokens"));
    const unpriced = batch.unpriced_calls ? `${plural(batch.unpriced_calls, "call")} of unknown price` : "";
    if (batch.cost)
      row.append(
        figure(
          money(batch.cost) + (unpriced ? " +" : ""),
          batch.projected_cost !== null && !final ? `of ~${money(batch.projected_cost)}` : unpriced ? `and ${unpriced}` : "cost",
          unpriced && `and ${unpriced}`,
        ),
      );
    if (!final) {
      const flying = figure(
        count(batch.in_flight),
        batch.in_flight === 1 ? "call in flight" : "calls in flight",
        [batch.limit ? `at most ${plural(batch.limit, "run")} at once` : "", batch.limit_reason].filter(Boolean).join("; "),
      );
      flying.classList.add("cnb-flight");
      row.append(flying);
    }
    return row;
  }

  bar() {
    const bar = h("div", { class: "cnb-bar" });
    if (!this.store.batch) return bar;
    const list = h("div", { class: "cnb-tabs", role: "tablist", "aria-label": "Views of the batch" });
    for (const tab of TABS)
      list.append(
        h(
          "button",
          {
            type: "button",
            role: "tab",
            id: `${this.id}-${tab}`,
            "aria-selected": String(tab === this.tab),
            "aria-controls": `${this.id}-panel`,
            tabindex: tab === this.tab ? 0 : -1,
            "data-act": "tab",
            "data-tab": tab,
          },
          tab[0]?.toUpperCase() + tab.slice(1),
        ),
      );
    const shown = this.places.length;
    const filtered = this.by.filter || this.by.problems;
    const sorted = this.by.sort !== "#" || this.by.down;
    const said = [
      filtered && this.tab !== "log" ? `${count(shown)} of ${count(this.store.batch.total)} shown` : "",
      sorted && this.tab === "timeline" ? `sorted by ${this.by.sort === "inputs" ? this.inputName || "inputs" : this.by.sort} ${this.by.down ? "↓" : "↑"}` : "",
    ];
    bar.append(
      list,
      h("span", { class: "cnb-shown" }, said.filter(Boolean).join(" · ")),
      h("label", { class: "cnb-check" }, h("input", { type: "checkbox", "data-in": "problems", checked: this.by.problems }), "only problems"),
      h("input", { type: "search", class: "cnb-filter", placeholder: "Filter", "aria-label": "Filter the runs", "data-in": "filter", spellcheck: "false" }),
    );
    return bar;
  }

  /** Say what changed to a screen reader, seldom enough to be borne. */
  speak() {
    const batch = this.store.batch;
    if (!batch) return;
    const { done = 0, failed = 0, cancelled = 0 } = batch.counts;
    const parts = [`${done} of ${batch.total} done`];
    if (failed) parts.push(`${failed} failed`);
    if (cancelled) parts.push(`${cancelled} cancelled`);
    const asks = [...this.store.rows.values()].find((row) => row.waits?.some((w) => w.reason === "person"));
    if (asks) parts.push(`run ${asks.index} needs you`);
    const text = parts.join(", ");
    if (text === this.said.text || (!this.store.final && seconds() - this.said.at < 15)) return;
    this.said = { at: seconds(), text };
    this.voice.textContent = text;
  }

  /** What a run is called where the name of its one input is said above. @param {string} label */
  named(label) {
    return this.inputName ? label.slice(this.inputName.length + 1) : label;
  }

  // ------------------------------------------------------------------------------------------------------------------ Runs

  drawRuns() {
    const grid = /** @type {HTMLElement} */ (this.columnsHead?.parentElement);
    const costs = Boolean(this.store.batch?.cost);
    grid.classList.toggle("cnb-costs", costs);
    grid.style.setProperty("--tasks", `${this.tasksWidth()}px`);
    grid.setAttribute("aria-rowcount", String(this.places.length + 1));
    const column = (/** @type {string} */ key, /** @type {string} */ name, right = false) =>
      h(
        "div",
        {
          role: "columnheader",
          class: right ? "cnb-right" : null,
          "aria-sort": this.by.sort === key ? (this.by.down ? "descending" : "ascending") : "none",
        },
        h("button", { type: "button", "data-act": "sort", "data-sort": key }, name, this.by.sort === key && (key !== "#" || this.by.down) ? h("i", { "aria-hidden": "true" }, this.by.down ? " ↓" : " ↑") : null),
      );
    const plain = (/** @type {string} */ name) => h("div", { role: "columnheader" }, name);
    morph(
      /** @type {HTMLElement} */ (this.columnsHead),
      h("div", { class: "cnb-cols cnb-row", role: "row", "aria-rowindex": 1 }, column("#", "#", true), column("status", "status"), column("inputs", this.inputName || "inputs"), plain("tasks"), plain("now"), column("time", "time", true), column("tokens", "tokens", true), costs ? column("cost", "cost", true) : null),
    );
    if (!this.places.includes(this.active)) this.active = this.places[0] ?? -1;
    this.scroller?.draw(this.places);
    this.empty();
  }

  /** Pixels that the tasks of a crew need side by side, about. @param {Spec[]} specs */
  pipeWidth(specs) {
    let wide = 0;
    for (const step of stages(specs)) {
      for (const i of step) {
        const joined = (!this.within(NO_JOINS) && specs[i]?.joined) || "";
        wide += 30 + 7.2 * (specs[i]?.name ?? "").length + (joined ? 14 + 6.2 * joined.length : 0);
      }
      wide += step.length > 1 ? 28 : 16;
    }
    return wide;
  }

  /** Pixels that the tasks of the widest crew need, about: the columns of all rows must stand below one another. */
  tasksWidth() {
    let most = 60;
    for (const specs of this.store.shapes.values()) {
      const name = Math.max(...specs.map((spec) => spec.name.length), 0);
      most = Math.max(most, this.isLong(specs) ? 120 + 7.2 * Math.min(24, name) : this.pipeWidth(specs));
    }
    return Math.ceil(most);
  }

  /** Whether a crew has more tasks than can be told apart side by side. @param {Spec[]} specs */
  isLong(specs) {
    const wide = this.root.clientWidth;
    const room = wide <= TWO_LINES ? wide / 2 - 20 : 0.46 * wide;
    return (specs.length > 6 && this.pipeWidth(specs) > room) || (specs.length > 2 && wide > 0 && room / specs.length < 56);
  }

  empty() {
    const scroller = this.scroller;
    if (!scroller) return;
    const none = this.places.length ? "" : this.by.problems && !this.by.filter ? "No problems." : "No run matches the filter.";
    if (scroller.space.dataset.empty !== none) scroller.space.dataset.empty = none;
  }

  /** @param {number} i */
  itemStamp(i) {
    const row = this.store.rows.get(i);
    const ticking = row && !FINAL.has(row.status) ? Math.floor(this.now ?? 0) : 0;
    return [row ? versionOf(row) : 0, this.open.has(i) ? 1 + versionOf(this.store.details.get(i)) : 0, this.inputName, this.active === i, ticking, Boolean(this.store.batch?.cost), row && this.isLong(this.store.shapes.get(row.shape) ?? []), this.by.sort === "#" ? 0 : this.places.indexOf(i)].join();
  }

  /** @param {number} i */
  item(i) {
    const row = this.store.rows.get(i);
    const open = this.open.has(i);
    const item = h("div", { class: open ? "cnb-item cnb-open" : "cnb-item", role: "rowgroup" });
    const main = h("div", {
      class: "cnb-row",
      role: "row",
      "data-s": row?.status ?? "queued",
      "data-act": "toggle",
      "data-run": i,
      "data-key": "row",
      tabindex: this.active === i ? 0 : -1,
      "aria-rowindex": this.places.indexOf(i) + 2,
      "aria-expanded": String(open),
      "aria-level": 1,
    });
    const cell = (/** @type {string} */ kind, /** @type {(Child | Child[])[]} */ ...content) =>
      h("div", { role: "gridcell", class: `cnb-${kind}` }, ...content);
    if (!row) {
      main.append(cell("num", String(i)), cell("status"), cell("inputs", "…"), cell("tasks"), cell("now"), cell("time"), cell("tokens"));
      item.append(main);
      return item;
    }
    const now = this.now ?? 0;
    const time = took(row, now);
    main.append(
      cell("num", String(i)),
      cell("status", h("i", { "aria-hidden": "true" }, SIGNS[row.status] ?? ""), row.status),
      cell("inputs", h("bdi", { title: row.label ?? "" }, this.named(row.label ?? "") || "no inputs")),
      cell("tasks", this.pipeline(row)),
      cell("now", this.happening(row, now)),
      cell("time", time === undefined ? "" : row.finished === undefined ? clock(time) : span(time)),
      cell("tokens", row.tokens ? count(row.tokens) : ""),
    );
    if (this.store.batch?.cost) main.append(cell("cost", row.cost === undefined ? "" : money(row.cost)));
    item.append(main);
    const asks = (row.waits ?? []).filter((w) => w.reason === "person");
    if (asks.length) item.append(wide("asks", ...asks.map((w) => this.form(row, w))));
    if (open) item.append(wide("detail", this.detail(i, row)));
    return item;

    function wide(/** @type {string} */ kind, /** @type {Child[]} */ ...content) {
      return h("div", { role: "row", "data-key": kind, "aria-level": 2, class: `cnb-${kind}` }, h("div", { role: "gridcell", "aria-colspan": 7 }, ...content));
    }
  }

  /** The tasks of a run in their steps, side by side where they run at once. @param {Row} row */
  pipeline(row) {
    const specs = this.store.shapes.get(row.shape) ?? [];
    if (this.isLong(specs)) return this.brief(row, specs);
    const line = h("span", { class: "cnb-pipe" });
    if (!row.tasks?.length && row.from_record) line.append(h("span", { class: "cnb-quiet" }, "from the record"));
    stages(specs).forEach((step, place) => {
      if (place) line.append(h("span", { class: "cnb-then", "aria-hidden": "true" }, "›"));
      const chips = step.map((i) => {
        const status = row.tasks?.[i]?.status ?? "queued";
        const name = specs[i]?.name ?? "";
        const { joined } = specs[i] ?? {};
        const from = (specs[i]?.joins ?? []).map((j) => specs[j]?.name).join(" and ");
        const title = `${name}: ${status}${from ? `, joins ${from}` : ""}${specs[i]?.agent ? ` (${specs[i]?.agent})` : ""}`;
        return h(
          "span",
          { class: "cnb-task", "data-s": status, title, "aria-label": title, role: "img" },
          h("i", {}, SIGNS[status] ?? ""),
          h("bdi", {}, name),
          joined ? h("small", {}, `← ${joined}`) : null,
        );
      });
      line.append(step.length > 1 ? h("span", { class: "cnb-group", style: `--n:${step.length}` }, chips) : /** @type {Node} */ (chips[0]));
    });
    return line;
  }

  /** The tasks of a run as a number, and by name those of them that are at work or have failed. @param {Row} row @param {Spec[]} specs */
  brief(row, specs) {
    const statuses = specs.map((_, i) => row.tasks?.[i]?.status ?? "queued");
    const done = statuses.filter((s) => s === "done" || s === "skipped").length;
    const title = specs.map((spec, i) => `${spec.name}: ${statuses[i]}`).join("\n");
    const line = h("span", { class: "cnb-pipe cnb-brief", title });
    const sum = { class: "cnb-task cnb-of", "data-s": done ? "done" : "queued", role: "img", "aria-label": `${done} of ${specs.length} tasks done` };
    line.append(h("span", sum, h("i", {}, SIGNS[done ? "done" : "queued"] ?? ""), `${done}/${specs.length}`));
    const shown = specs.flatMap((_, i) => (["running", "waiting", "failed", "unknown"].includes(statuses[i] ?? "") ? [i] : []));
    for (const i of shown.slice(0, 2)) {
      const name = specs[i]?.name ?? "";
      line.append(h("span", { class: "cnb-task", "data-s": statuses[i], role: "img", "aria-label": `${name}: ${statuses[i]}` }, h("i", {}, SIGNS[statuses[i] ?? ""] ?? ""), h("bdi", {}, name)));
    }
    if (shown.length > 2) line.append(h("span", { class: "cnb-quiet cnb-rest" }, `+${shown.length - 2}`));
    return line;
  }

  /** What a run does now, or how it ended. @param {Row} row @param {number} now @returns {Child[]} */
  happening(row, now) {
    if (row.status === "failed") return [h("span", { class: "cnb-bad", title: row.error ?? "" }, row.error || "failed")];
    if (row.status === "done") return [h("bdi", { class: "cnb-quiet" }, row.said ?? (row.from_record ? "from the record" : ""))];
    if (row.status === "cancelled") {
      const said = `stopped${row.stopped ? `: ${row.stopped}` : ""}${row.dropped_calls ? `; ${plural(row.dropped_calls, "answer")} dropped` : ""}`;
      return [h("span", { class: "cnb-quiet", title: said }, said)];
    }
    if (row.status === "unknown") return [h("span", { class: "cnb-quiet" }, "the kernel has gone")];
    if (row.status === "queued") return [h("span", { class: "cnb-quiet" }, (row.attempt ?? 1) > 1 ? `attempt ${row.attempt}` : "")];
    if (row.status === "cancelling") return [h("span", { class: "cnb-quiet" }, "ending its calls")];
    const specs = this.store.shapes.get(row.shape) ?? [];
    const busy = (row.tasks ?? []).flatMap((task, i) => (task.status === "running" || task.status === "waiting" ? [{ task, i }] : []));
    // Where there is room for one only, it is one that speaks.
    busy.sort((a, b) => Number(Boolean(b.task.text)) - Number(Boolean(a.task.text)));
    const waits = busy.map(({ i }) => row.waits?.find((w) => w.task === i));
    const [first] = waits;
    // Two that wait for the same take the room of one.
    if (first && waits.length > 1 && waits.every((w) => w?.reason === first.reason && w.detail === first.detail)) {
      const last = waits.reduce((a, b) => ((b?.until ?? 0) > (a?.until ?? 0) ? b : a)) ?? first;
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
      else parts.push(h("span", { class: "cnb-quiet" }, row.call ? asking(row.call) : this.pausing(row)));
    }
    const quiet = now - (row.last ?? now);
    if (quiet >= QUIET && !row.waits?.length) parts.push(h("span", { class: "cnb-wait" }, `quiet for ${clock(quiet)}`));
    return parts;
  }

  /** What a run does while none of its tasks is at work. @param {Row} row */
  pausing(row) {
    if (!row.tasks) return "building the crew";
    return row.tasks.every((task) => task.status === "done" || task.status === "skipped") ? "finishing" : "between tasks";
  }

  /** @param {Row} row @param {Wait} wait */
  form(row, wait) {
    const specs = this.store.shapes.get(row.shape) ?? [];
    const name = wait.task === undefined ? "this run" : (specs[wait.task]?.name ?? "this task");
    const id = `${this.id}-ask-${row.index}-${wait.task ?? "x"}`;
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
        h("button", { type: "button", "data-act": "feedback", "data-run": row.index, "data-wait": wait.key, "data-for": id }, "Send feedback"),
      ),
    );
  }

  /** @param {number} i @param {Row} row */
  detail(i, row) {
    const detail = this.store.details.get(i);
    const box = h("div", { class: "cnb-inner" });
    if (!detail) {
      box.append(h("p", { class: "cnb-quiet" }, this.live ? "Loading…" : "What happened in this run is not kept in this page."));
      return box;
    }
    const specs = this.store.shapes.get(row.shape) ?? [];
    const ended = FINAL.has(row.status);
    const held = this.held;
    const stays = held?.dataset.key === "act" && held.dataset.run === String(i);
    box.append(
      h(
        "div",
        { class: "cnb-facts", "data-key": "facts" },
        h("bdi", { class: "cnb-label" }, detail.label?.text || "no inputs"),
        (row.attempt ?? 1) > 1 ? h("span", { class: "cnb-tag" }, `attempt ${row.attempt}`) : null,
        row.from_record ? h("span", { class: "cnb-tag" }, "from the record") : null,
        row.offline ? h("span", { class: "cnb-tag" }, "offline LLM") : null,
        detail.worker ? h("span", { class: "cnb-tag" }, `on ${detail.worker}`) : null,
        detail.why ? h("span", { class: "cnb-quiet" }, `CrewAI's own loop: ${detail.why}`) : null,
        h(
          "span",
          { class: "cnb-acts", "data-key": "acts" },
          !ended && row.status !== "unknown"
            ? action("act", { "data-act": "cancel", "data-run": i }, "Stop this run", !this.live || row.status === "cancelling")
            : ended && row.status !== "done"
              ? action("act", { "data-act": "retry", "data-run": i }, "Retry this run", !this.live)
              : stays && action("act", { "data-run": i }, row.status, true),
        ),
      ),
    );
    const output =
      detail.output &&
      h("div", { class: "cnb-output", "data-key": "output" }, h("h4", {}, "Output", h("button", { type: "button", "data-act": "copy", "data-run": i }, "Copy")), sanitized(detail.output.html), leftOut(detail.output));
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
          detail.error.traceback ? h("details", {}, h("summary", {}, "Traceback"), h("pre", { class: "cnb-pre", tabindex: 0 }, leftOut(detail.error.traceback), detail.error.traceback.text)) : null,
        ),
      );
    stages(specs).forEach((step) => {
      const cards = step.map((place) => this.taskCard(place, specs, detail.tasks?.[place]));
      box.append(h("div", { class: "cnb-step", "data-key": `step${step[0]}` }, cards));
    });
    if (detail.calls?.length || detail.calls_left_out)
      box.append(h("div", { class: "cnb-step", "data-key": "calls" }, h("div", { class: "cnb-taskcard" }, h("h4", {}, "For the run as a whole"), this.calls(detail.calls, detail.calls_left_out))));
    if (detail.log?.length) box.append(this.logLines(detail, specs));
    if (output && detail.status !== "done") box.append(output);
    return box;
  }

  /** What CrewAI, or a tool's logger, had to say in a run. @param {Detail} detail @param {Spec[]} specs */
  logLines(detail, specs) {
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
        lines.map((line, n) =>
          h(
            "div",
            { class: "cnb-logline", "data-key": left + n },
            h("time", {}, clock(Math.floor(line.at))),
            line.task === undefined ? null : h("bdi", { class: "cnb-quiet" }, specs[line.task]?.name ?? ""),
            h("span", { dir: "auto" }, line.text.text ?? "", leftOut(line.text)),
          ),
        ),
      ),
    );
  }

  /** @param {number} place @param {Spec[]} specs @param {TaskDetail | undefined} task */
  taskCard(place, specs, task) {
    const spec = specs[place];
    const status = task?.status ?? "queued";
    const from = (spec?.joins ?? []).map((j) => specs[j]?.name ?? "").join(", ");
    const now = this.now ?? 0;
    const time = task?.started === undefined ? "" : span((task.finished ?? now) - task.started);
    return h(
      "div",
      { class: "cnb-taskcard", "data-key": `task${place}`, "data-s": status },
      h(
        "h4",
        {},
        h("span", { class: "cnb-task", "data-s": status }, h("i", { "aria-hidden": "true" }, SIGNS[status] ?? ""), h("bdi", {}, spec?.name ?? "")),
        h("span", { class: "cnb-word", "data-s": status }, status),
        h("bdi", { class: "cnb-quiet" }, task?.agent || spec?.agent || ""),
        from ? h("bdi", { class: "cnb-quiet" }, `← joins ${from}`) : null,
        h("span", { class: "cnb-sum" }, [time, task?.tokens ? plural(task.tokens, "token") : ""].filter(Boolean).join(" · ")),
      ),
      task?.error ? h("p", { class: "cnb-bad" }, task.error.text, leftOut(task.error)) : null,
      this.calls(task?.calls, task?.calls_left_out ?? 0),
      task?.text ? h("pre", { class: "cnb-pre cnb-live", dir: "auto", "data-follow": true, "data-key": "text", tabindex: 0 }, leftOut(task.text), task.text.text) : null,
      task?.output ? h("div", { "data-key": "output" }, sanitized(task.output.html), leftOut(task.output)) : null,
      task?.is_final ? h("p", { class: "cnb-quiet" }, "Its output is the output of the run, above.") : null,
    );
  }

  /** @param {Call[] | undefined} calls @param {number} left */
  calls(calls, left) {
    if (!calls?.length) return null;
    const now = this.now ?? 0;
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
        h("span", { class: "cnb-sum" }, [time, call.tokens ? plural(call.tokens, "token") : "", call.cost ? money(call.cost) : ""].filter(Boolean).join(" · ")),
      ];
      const key = `${left + n}`;
      if (call.kind === "wait" || (!call.detail && !call.output)) list.append(h("div", { class: "cnb-call", "data-key": key }, head));
      else
        list.append(
          h(
            "details",
            { class: "cnb-call", "data-key": key },
            h("summary", {}, head),
            call.detail ? h("div", { class: "cnb-said" }, h("small", {}, call.kind === "tool" ? "arguments" : "asked"), h("pre", { class: "cnb-pre", dir: "auto", tabindex: 0 }, call.detail.text, leftOut(call.detail))) : null,
            call.output ? h("div", { class: "cnb-said" }, h("small", {}, call.status === "failed" ? "error" : "answered"), h("pre", { class: "cnb-pre", dir: "auto", tabindex: 0 }, call.output.text, leftOut(call.output))) : null,
          ),
        );
    });
    return list;
  }

  // -------------------------------------------------------------------------------------------------------------- Timeline

  /** Rows of bars that a lane has: as many as tasks run at once. @param {number} i */
  tracks(i) {
    const row = this.store.rows.get(i);
    const specs = row ? (this.store.shapes.get(row.shape) ?? []) : [];
    return Math.min(6, Math.max(1, ...stages(specs).map((step) => step.length)));
  }

  /** The time that the timeline shows. */
  window() {
    return this.zoom ?? this.whole();
  }

  /** The time from the start to the last that is known. */
  whole() {
    let to = 0.5;
    for (const row of this.store.rows.values()) to = Math.max(to, row.finished ?? (row.started === undefined ? 0 : (this.now ?? 0)));
    return { from: 0, to: to * 1.02 };
  }

  drawTimeline() {
    this.frameOfTime = this.window();
    const { from, to } = this.frameOfTime;
    const batch = /** @type {Batch} */ (this.store.batch);
    const at = (/** @type {number} */ t) => (100 * (t - from)) / (to - from);
    const axis = h("div", { class: "cnb-axis" });
    if (batch.speedup !== null && batch.speedup >= 1.05)
      axis.append(
        h(
          "div",
          { class: "cnb-versus" },
          h("span", {}, "one by one"),
          h("div", {}, h("i", { style: "width:100%" }), h("b", {}, clock(batch.worked))),
          h("span", {}, "at once"),
          h("div", {}, h("i", { class: "cnb-us", style: `width:${100 / batch.speedup}%` }), h("b", {}, `${clock(batch.at_work)}, ${batch.speedup.toFixed(1)}× faster`)),
        ),
      );
    const key = (/** @type {string} */ k, /** @type {string} */ name) => h("span", {}, h("i", { class: "cnb-bar-i", "data-k": k }), name);
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
        h(
          "span",
          { class: "cnb-zoom", role: "group", "aria-label": "Zoom" },
          h("button", { type: "button", "data-act": "zoom-out", title: "Zoom out (−)", "aria-label": "Zoom out" }, "−"),
          h("button", { type: "button", "data-act": "zoom-in", title: "Zoom in (+), or Ctrl and the wheel", "aria-label": "Zoom in" }, "+"),
          h("button", { type: "button", "data-act": "zoom-fit", "aria-disabled": this.zoom ? null : "true", title: "Show all (0)" }, "Fit"),
        ),
      ),
      h("div", { class: "cnb-lane cnb-overlap" }, h("div", { class: "cnb-lanehead" }, "runs at once"), this.overlap(from, to)),
      h(
        "div",
        { class: "cnb-lane cnb-marks", "aria-hidden": "true" },
        h("div", { class: "cnb-lanehead" }),
        h("div", { class: "cnb-track" }, marks(from, to, Math.max(3, Math.floor(this.root.clientWidth / 110))).map((m) => h("span", { style: `left:${at(m)}%` }, to - from < 5 ? `${m.toFixed(1)} s` : clock(m)))),
      ),
    );
    morph(/** @type {HTMLElement} */ (this.axis), axis);
    if (!this.places.includes(this.active)) this.active = this.places[0] ?? -1;
    this.scroller?.draw(this.places);
    this.empty();
  }

  /** How many runs were under way, over time. @param {number} from @param {number} to */
  overlap(from, to) {
    /** @type {[number, number][]} */
    const steps = [];
    for (const row of this.store.rows.values()) {
      if (row.started === undefined || row.from_record) continue;
      steps.push([row.started, 1], [row.finished ?? this.now ?? 0, -1]);
    }
    steps.sort((a, b) => a[0] - b[0] || b[1] - a[1]);
    let [level, most] = [0, 1];
    const points = [];
    for (const [t, by] of steps) {
      const x = (100 * (t - from)) / (to - from);
      points.push([x, level]);
      level += by;
      most = Math.max(most, level);
      points.push([x, level]);
    }
    const y = (/** @type {number} */ n) => (24 - (22 * n) / most).toFixed(2);
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

  /** @param {number} i */
  laneStamp(i) {
    const row = this.store.rows.get(i);
    const { from, to } = this.frameOfTime ?? { from: 0, to: 1 };
    // While it fits all, the scale moves with the clock, and then every lane does.
    return [row ? versionOf(row) : 0, versionOf(this.store.lanes.get(i)), this.active === i, from.toFixed(3), to.toFixed(2), this.root.clientWidth].join();
  }

  /** @param {number} i */
  lane(i) {
    const row = this.store.rows.get(i);
    const lane = this.store.lanes.get(i);
    const { from, to } = this.frameOfTime ?? { from: 0, to: 1 };
    const now = this.now ?? 0;
    const specs = row ? (this.store.shapes.get(row.shape) ?? []) : [];
    const where = specs.map(() => 0);
    for (const step of stages(specs)) step.forEach((task, n) => (where[task] = Math.min(n, 5)));
    const track = h("div", { class: "cnb-track", style: `height:${22 * this.tracks(i)}px` });
    const pixels = Math.max(200, this.axis?.querySelector(".cnb-marks .cnb-track")?.clientWidth ?? 0);
    /** @type {Map<string, number>} the right edge of the last bar of each kind, so that slivers are drawn once */
    const edges = new Map();
    const bar = (/** @type {{kind: string, start: number, end: number, top: number, title: string, text?: string, status?: string | undefined, part?: string, until?: number}} */ b) => {
      const [left, right] = [Math.max(b.start, from), Math.min(b.end, to)];
      if (right < left || b.end < from || b.start > to) return;
      const edge = edges.get(`${b.kind}${b.top}${b.part}`) ?? -1;
      const x = (pixels * (left - from)) / (to - from);
      const w = (pixels * (right - left)) / (to - from);
      if (x + w < edge + 0.7) return;
      edges.set(`${b.kind}${b.top}${b.part}`, x + w);
      const room = b.until === undefined ? w : (pixels * (Math.min(b.until, to) - left)) / (to - from);
      const said = b.text && room > 30 ? b.text : "";
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
            style: `left:${((100 * (left - from)) / (to - from)).toFixed(3)}%;width:${((100 * (right - left)) / (to - from)).toFixed(3)}%;top:${b.top}px`,
          },
          said ? h("bdi", { style: `max-width:${Math.floor(room)}px` }, said) : null,
        ),
      );
    };
    const between = (/** @type {number} */ a, /** @type {number | undefined} */ b) => `${clock(a)} to ${b === undefined ? "now" : clock(b)}, ${span((b ?? now) - a)}`;
    if (row && !row.from_record) {
      const begun = row.started ?? row.finished ?? now;
      if (begun - row.queued > 0.02) bar({ kind: "queue", start: row.queued, end: begun, top: 4, title: `queued\n${between(row.queued, row.started ?? row.finished)}` });
      row.tasks?.forEach((task, place) => {
        if (task.started === undefined) return;
        const name = specs[place]?.name ?? "";
        // Its name may run on to where the next task of its line begins.
        const after = row.tasks?.filter((t, i) => where[i] === where[place] && (t.started ?? -1) > (task.started ?? 0)).map((t) => t.started ?? to) ?? [];
        bar({ kind: "task", until: Math.min(to, ...after), part: "band", start: task.started, end: task.finished ?? now, top: 22 * (where[place] ?? 0), status: task.status, text: name, title: `${name}: ${task.status}\n${between(task.started, task.finished)}` });
      });
    }
    for (const s of lane?.spans ?? []) {
      const kind = s.kind === "wait" ? s.name : s.kind;
      const what = { llm: `LLM ${s.name}`, tool: `tool ${s.name}` }[s.kind] ?? `waits: ${s.name}`;
      const more = [s.detail, s.tokens ? plural(s.tokens, "token") : "", s.status && s.status !== "running" ? s.status : ""].filter(Boolean);
      bar({ kind, part: "call", start: s.started, end: s.finished ?? now, top: 22 * (where[s.task] ?? 0), status: s.status, title: [what, between(s.started, s.finished), ...more].join("\n") });
    }
    if (row?.status === "failed" && row.finished !== undefined && row.finished >= from && row.finished <= to)
      track.append(h("span", { class: "cnb-end", style: `left:${((100 * (row.finished - from)) / (to - from)).toFixed(3)}%`, title: "failed", "aria-hidden": "true" }, "✗"));
    const time = row ? took(row, now) : undefined;
    const name = this.named(row?.label ?? "") || `run ${i}`;
    return h(
      "div",
      {
        class: "cnb-lane",
        role: "listitem",
        tabindex: this.active === i ? 0 : -1,
        "data-run": i,
        "data-s": row?.status ?? "queued",
        "aria-label": `Run ${i}, ${name}: ${row?.status ?? "queued"}${time === undefined ? "" : `, ${span(time)}`}${lane?.left_out ? `, ${lane.left_out} earlier calls not drawn` : ""}`,
      },
      h("div", { class: "cnb-lanehead" }, h("i", { "aria-hidden": "true", title: row?.status ?? "" }, SIGNS[row?.status ?? "queued"] ?? ""), h("small", {}, String(i)), h("bdi", { title: name }, name)),
      track,
    );
  }

  // --------------------------------------------------------------------------------------------------------------- Results

  columns() {
    return Math.max(1, Math.floor((this.body.clientWidth || 800) / 300));
  }

  /** Runs whose output has fields, as far as their outputs are here. */
  structured() {
    let [with_, without] = [0, 0];
    for (const card of this.store.cards.values()) if (card.text) fieldsOf(card) ? with_++ : without++;
    return with_ > 0 && with_ >= without;
  }

  drawResults() {
    const tools = h("div", { class: "cnb-tools" }, this.comparing ? this.compareTools() : this.resultTools());
    morph(/** @type {HTMLElement} */ (this.tools), tools);
    if (this.comparing) this.drawComparison();
    else if (this.asTable) morph(/** @type {HTMLElement} */ (this.sheet), this.resultTable());
    else {
      const lines = Math.ceil(this.places.length / this.columns());
      this.scroller?.draw(Array.from({ length: lines }, (_, line) => line));
      this.empty();
    }
  }

  /** @returns {Child[]} */
  compareTools() {
    return [
      h("button", { type: "button", "data-act": "compare-end" }, "← Back"),
      h("b", {}, `Runs ${this.picked.join(", ")}`),
      h(
        "label",
        { class: "cnb-check" },
        h("input", { type: "checkbox", "data-in": "different", checked: this.onlyDifferent }),
        "only differences",
      ),
      this.picked.length === 2
        ? h("span", { class: "cnb-quiet" }, h("del", {}, "only in the first"), " ", h("ins", {}, "only in the second"))
        : h("span", { class: "cnb-quiet" }, h("ins", {}, "not in the first")),
    ];
  }

  /** @returns {Child[]} */
  resultTools() {
    const picked = this.picked.length;
    const form = (/** @type {string} */ act, /** @type {string} */ name, /** @type {boolean} */ on) =>
      h("button", { type: "button", "data-act": act, "aria-pressed": String(on) }, name);
    const file = (/** @type {string} */ format, /** @type {string} */ name) =>
      h(
        "button",
        { type: "button", "data-act": "file", "data-format": format, disabled: !this.live, "aria-label": `Download as ${name}` },
        name,
      );
    return [
      this.structured() || this.asTable
        ? h(
            "span",
            { class: "cnb-seg", role: "group", "aria-label": "Form of the results" },
            form("cards", "Cards", !this.asTable),
            form("table", "Table", this.asTable),
          )
        : null,
      h(
        "button",
        { type: "button", class: "cnb-go", "data-act": "compare", disabled: picked < 2 },
        picked ? `Compare ${picked}` : "Compare",
      ),
      h("span", { class: this.overpicked ? "cnb-wait" : "cnb-quiet", role: "status" }, this.overpicked ? "at most four" : picked < 2 ? "pick two to four" : ""),
      h(
        "span",
        { class: "cnb-acts" },
        h("span", { class: "cnb-quiet" }, "Download"),
        file("md", "Markdown"),
        file("json", "JSON"),
        file("csv", "CSV"),
      ),
    ];
  }

  /** @param {number} line */
  cardStamp(line) {
    const wide = this.columns();
    const shown = this.places.slice(line * wide, (line + 1) * wide);
    const ticking = shown.some((i) => !FINAL.has(this.store.rows.get(i)?.status ?? "done")) ? Math.floor(this.now ?? 0) : 0;
    return [wide, ticking, ...shown.map((i) => `${i}:${versionOf(this.store.rows.get(i))}:${versionOf(this.store.cards.get(i))}:${this.picked.indexOf(i)}`)].join();
  }

  /** @param {number} line */
  cardLine(line) {
    const wide = this.columns();
    return h(
      "div",
      { class: "cnb-cardline", role: "presentation", style: `grid-template-columns:repeat(${wide},minmax(0,1fr))` },
      this.places.slice(line * wide, (line + 1) * wide).map((i) => this.card(i)),
    );
  }

  /** @param {number} i */
  card(i) {
    const row = this.store.rows.get(i);
    const card = this.store.cards.get(i);
    const status = row?.status ?? "queued";
    const name = this.named(row?.label ?? "") || `run ${i}`;
    const ended = FINAL.has(status);
    const structured = fieldsOf(card);
    const time = row ? took(row, this.now ?? 0) : undefined;
    return h(
      "article",
      { class: "cnb-card", role: "listitem", "data-key": `card${i}`, "data-s": status, "aria-label": `Run ${i}, ${name}` },
      h(
        "header",
        {},
        h("label", {}, h("input", { type: "checkbox", "data-in": "pick", "data-run": i, checked: this.picked.includes(i), "aria-label": `Compare run ${i}` }), h("i", { "data-s": status, title: status }, SIGNS[status] ?? ""), h("small", {}, String(i)), h("bdi", { title: name }, name)),
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
        ended && status !== "cancelled" && !card?.text && !card?.error ? h("p", { class: "cnb-quiet" }, this.live && !card ? "…" : status) : null,
      ),
      h(
        "footer",
        {},
        h("span", {}, [time === undefined ? "" : span(time), row?.tokens ? plural(row.tokens, "token") : ""].filter(Boolean).join(" · ")),
        card?.text ? h("button", { type: "button", "data-act": "copy", "data-run": i, "aria-label": `Copy the output of run ${i}` }, "Copy") : null,
        h("button", { type: "button", "data-act": "show", "data-run": i, "aria-label": `Open run ${i}` }, "Open"),
      ),
    );
  }

  /** What a run that has not ended has to say, task by task: the end of its words. @param {Row} row @returns {Child[]} */
  speech(row) {
    const specs = this.store.shapes.get(row.shape) ?? [];
    const speaking = (row.tasks ?? []).flatMap((task, i) => (task.text && (task.status === "running" || task.status === "waiting") ? [{ text: task.text, i }] : []));
    if (row.status !== "running" || !speaking.length) {
      const said = row.status === "queued" ? ["queued"] : this.happening(row, this.now ?? 0);
      return [h("p", { class: "cnb-quiet cnb-doing" }, ...said)];
    }
    return speaking.map(({ text, i }) => h("p", { class: "cnb-tail", "data-key": `tail${i}` }, h("small", {}, h("bdi", {}, specs[i]?.name ?? "")), " ", h("bdi", { class: "cnb-caret" }, text)));
  }

  /** Anew only where something of it has changed: to find what differs takes time. */
  drawComparison() {
    const { rows, cards } = this.store;
    const parts = this.picked.flatMap((i) => [i, versionOf(rows.get(i)), versionOf(cards.get(i)), this.wholeOf(i) !== undefined]);
    const stamp = [this.onlyDifferent, this.live, ...parts].join();
    const sheet = /** @type {HTMLElement} */ (this.sheet);
    if (this.compared === stamp && sheet.firstChild) return;
    this.compared = stamp;
    morph(sheet, this.comparison());
  }

  comparison() {
    const sheet = h("div", { class: "cnb-scroll cnb-sheet", tabindex: 0, role: "region", "aria-label": "Comparison" });
    const tables = this.picked.map((i) => fields(this.wholeOf(i)) ?? fieldsOf(this.store.cards.get(i)));
    const notes = this.picked.map((i) => {
      const left = this.store.cards.get(i)?.left_out;
      if (!left || this.wholeOf(i) !== undefined) return null;
      return h("p", { class: "cnb-left" }, this.live ? `${count(left)} more characters are on their way` : `${count(left)} more characters are not here, and not compared`);
    });
    const heads = this.picked.map((i) => {
      const row = this.store.rows.get(i);
      return h("div", { class: "cnb-side", "data-s": row?.status ?? "queued" }, h("i", { "aria-hidden": "true" }, SIGNS[row?.status ?? "queued"] ?? ""), h("small", {}, String(i)), h("bdi", {}, this.named(row?.label ?? "") || `run ${i}`));
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
      const said = card?.error ? h("p", { class: "cnb-bad" }, card.error) : card?.stopped !== undefined ? h("p", { class: "cnb-quiet" }, stopped(card.stopped)) : html ? sanitized(html) : card?.text;
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
    return card?.left_out ? this.ask(run, card.fields ? "text" : "html") : undefined;
  }

  /** A whole output; undefined while it is not here. @param {number} run @param {"text"|"html"} form */
  ask(run, form) {
    const key = `${run}:${form}`;
    const row = this.store.rows.get(run);
    const known = this.wholes.get(key);
    if (known?.row === row && known) return known.text ?? undefined;
    if (!this.live) return undefined;
    this.wholes.delete(key);
    this.wholes.set(key, { row, text: null });
    // The oldest go: they may be large.
    for (const old of [...this.wholes.keys()].slice(0, -8)) this.wholes.delete(old);
    this.send({ t: "whole", run, form });
    return undefined;
  }

  resultTable() {
    const sheet = h("div", { class: "cnb-scroll cnb-sheet", tabindex: 0, role: "region", "aria-label": "Results as a table" });
    // The rows near the place that is scrolled to; each has the same height.
    const tall = 30;
    const first = Math.max(0, Math.floor((this.sheet?.scrollTop ?? 0) / tall) - 5);
    const shown = this.places.slice(first, first + 40);
    this.tableRows = shown;
    const data = shown.map((i) => ({ i, row: this.store.rows.get(i), card: this.store.cards.get(i) }));
    const names = [...new Set([...this.store.cards.values()].slice(0, 200).flatMap((card) => Object.keys(fieldsOf(card) ?? {})))].slice(0, 30);
    const gap = (/** @type {number} */ rows) => (rows > 0 ? h("tr", { "aria-hidden": "true", style: `height:${rows * tall}px` }, h("td", { colspan: names.length + 2 })) : null);
    sheet.append(
      h(
        "table",
        { class: "cnb-fields cnb-wide cnb-even", "aria-rowcount": this.places.length + 1 },
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "run"), h("th", { scope: "col" }, "inputs"), names.map((name) => h("th", { scope: "col" }, h("bdi", {}, name))))),
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
              h("th", { scope: "row" }, h("i", { "data-s": status, title: status }, SIGNS[status] ?? ""), ` ${i}`),
              h("td", { dir: "auto" }, row?.label ?? ""),
              values ? names.map((name) => h("td", { dir: "auto", title: words(values[name]) }, words(values[name]))) : h("td", { colspan: names.length, dir: "auto", class: card?.error ? "cnb-bad" : null }, card?.error ?? card?.text?.slice(0, 300) ?? (status === "cancelled" ? stopped(card?.stopped) : status)),
            );
          }),
          gap(this.places.length - first - shown.length),
        ),
      ),
    );
    return sheet;
  }

  // ------------------------------------------------------------------------------------------------------------------- Log

  drawLog() {
    const words = this.by.filter.toLowerCase().split(/\s+/).filter(Boolean);
    this.lines = this.store.lines.filter((line) => {
      if (this.by.problems && !["failed", "waiting", "cancelled"].includes(line.status)) return false;
      if (!words.length) return true;
      const text = `${line.run} ${this.store.rows.get(line.run)?.label ?? ""} ${line.text}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    morph(
      /** @type {HTMLElement} */ (this.earlier),
      h("div", { class: "cnb-earlier" }, this.store.moreLines ? ["There are earlier lines. ", this.log < 5000 && this.live ? h("button", { type: "button", "data-act": "earlier" }, "Show earlier") : null] : null),
    );
    const scroller = /** @type {Scroller} */ (this.scroller);
    scroller.draw(this.lines.map((_, n) => n));
    if (this.follow) {
      scroller.view.scrollTop = scroller.view.scrollHeight;
      scroller.draw(scroller.keys);
    }
    scroller.space.dataset.empty = this.lines.length ? "" : this.by.filter || this.by.problems ? "No line matches." : "Nothing has happened yet.";
  }

  /** @param {number} n */
  lineStamp(n) {
    const line = this.lines?.[n];
    return line ? `${line.at} ${line.run} ${line.text}` : "";
  }

  /** @param {number} n */
  line(n) {
    const line = this.lines?.[n];
    if (!line) return h("div", { class: "cnb-line" });
    const label = this.store.rows.get(line.run)?.label ?? "";
    return h(
      "div",
      { class: "cnb-line", "data-s": line.status },
      h("time", {}, `${clock(Math.floor(line.at))}.${Math.floor((line.at % 1) * 10)}`),
      h("small", {}, `#${line.run}`),
      h("bdi", { class: "cnb-quiet", title: label }, this.named(label)),
      h("i", { "aria-hidden": "true" }, SIGNS[line.status] ?? "·"),
      h("bdi", { title: line.text }, line.text),
    );
  }

  // ------------------------------------------------------------------------------------------------------------ what people do

  /** @param {MouseEvent} e */
  clicked(e) {
    const target = /** @type {HTMLElement} */ (e.target);
    const el = /** @type {HTMLElement | null} */ (target.closest("[data-act]"));
    if (!el || el.hasAttribute("disabled") || el.getAttribute("aria-disabled") === "true") return;
    const run = Number(el.dataset.run);
    switch (el.dataset.act) {
      case "tab":
        return this.go(/** @type {any} */ (el.dataset.tab));
      case "toggle":
        // A click that ends a selection is no wish to open the row.
        if (!String(getSelection() ?? "")) this.toggle(run);
        return;
      case "sort":
        return this.sort(el.dataset.sort ?? "#");
      case "pause":
      case "resume":
        return this.command(el.dataset.act);
      case "stop":
        return this.command("cancel");
      case "retry-all":
        return this.command("retry");
      case "cancel":
      case "retry":
        return this.command(el.dataset.act, { run });
      case "approve":
        this.command("answer", { run, key: el.dataset.wait ?? "", text: "", approve: true });
        return this.reveal(run); // the form goes, and with it the button that has the focus
      case "feedback":
        return this.feedback(el);
      case "copy":
        return this.copy(el, run);
      case "show":
        this.open.add(run);
        this.active = run;
        this.go("runs");
        this.reveal(run);
        return;
      case "cards":
      case "table":
        this.asTable = el.dataset.act === "table";
        return this.schedule();
      case "compare":
      case "compare-end":
        this.comparing = el.dataset.act === "compare";
        this.onlyDifferent = this.overpicked = false;
        return this.schedule();
      case "file":
        return this.send({ t: "file", format: el.dataset.format });
      case "earlier":
        this.log = Math.min(5000, this.log * 4);
        this.follow = false;
        return this.schedule();
      case "zoom-in":
        return this.zoomBy(0.5);
      case "zoom-out":
        return this.zoomBy(2);
      case "zoom-fit":
        this.zoom = null;
        return this.schedule();
    }
  }

  /** @param {typeof TABS[number]} tab */
  go(tab) {
    this.tab = tab;
    this.comparing = false;
    this.stale = true;
    this.hideTip();
    this.draw();
  }

  /** @param {number} run */
  toggle(run) {
    this.active = run;
    if (this.open.delete(run)) this.scroller?.measured.delete(run);
    else {
      this.open.add(run);
      if (this.scroller) this.scroller.opened = run;
    }
    this.schedule();
  }

  /** @param {string} key */
  sort(key) {
    const numbers = ["time", "tokens", "cost"];
    this.by = this.by.sort === key ? { ...this.by, down: !this.by.down } : { ...this.by, sort: key, down: numbers.includes(key) };
    this.schedule();
  }

  /** @param {number} run */
  reveal(run) {
    this.scroller?.reveal(run);
    const node = this.scroller?.drawn.get(run)?.node;
    const row = node?.matches("[tabindex]") ? node : node?.querySelector("[tabindex]");
    /** @type {HTMLElement | null | undefined} */ (row)?.focus({ preventScroll: true });
    this.schedule();
  }

  /** @param {HTMLElement} el */
  feedback(el) {
    const box = /** @type {HTMLTextAreaElement | null} */ (this.root.querySelector(`#${el.dataset.for}`));
    const text = box?.value.trim() ?? "";
    if (!text) {
      box?.focus();
      return;
    }
    this.command("answer", { run: Number(el.dataset.run), key: el.dataset.wait ?? "", text, approve: false });
    if (box) box.value = "";
  }

  /** @param {HTMLElement} el @param {number} run */
  copy(el, run) {
    const card = this.store.cards.get(run);
    // A card in sight is up to date; what is elsewhere is asked for.
    const here = this.tab === "results" && card && !card.left_out ? card.text : this.ask(run, "text");
    if (here === undefined && this.live) {
      this.copying = { run, button: el };
      el.textContent = "Fetching…";
      return;
    }
    const shown = card?.text ?? el.closest(".cnb-output")?.querySelector(".cnb-md")?.textContent ?? "";
    this.put(el, here ?? shown, here === undefined && (card ?? this.store.details.get(run)?.output)?.left_out ? "Copied in part" : "Copied");
  }

  /** Put a text on the clipboard. @param {HTMLElement} el the button, which says so @param {string} text @param {string} well */
  put(el, text, well = "Copied") {
    const said = (/** @type {string} */ word) => {
      el.textContent = word;
      setTimeout(() => (el.textContent = "Copy"), 1500);
    };
    const byHand = () => {
      // Pages that are not served from a secure place have no clipboard to write to.
      const box = document.createElement("textarea");
      box.value = text;
      this.root.append(box);
      box.select();
      const done = document.execCommand("copy");
      box.remove();
      said(done ? well : "Not allowed");
      el.focus({ preventScroll: true });
    };
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(() => said(well), byHand);
    else byHand();
  }

  /** Put a part to those that came before; the text, once it is whole, and null where a part of it was lost. @param {string} key @param {FilePart | WholePart} part */
  join(key, part) {
    const parts = part.part === 0 ? [] : (this.files.get(key) ?? []);
    parts[part.part] = part.text;
    this.files.set(key, parts);
    if (part.part !== part.parts - 1) return undefined;
    this.files.delete(key);
    return Object.keys(parts).length === part.parts ? parts.join("") : null;
  }

  /** @param {WholePart} part */
  arrived(part) {
    if (part.view !== this.id) return;
    const key = `${part.run}:${part.form}`;
    const text = this.join(key, part);
    const wanted = this.wholes.get(key);
    if (text === null) this.wholes.delete(key); // it is asked for again when it is drawn
    if (text === undefined || text === null || !wanted) return;
    wanted.text = text;
    if (part.form === "text" && this.copying?.run === part.run) {
      this.put(this.copying.button, text);
      this.copying = null;
    }
    this.schedule();
  }

  /** @param {FilePart} part */
  file(part) {
    if (part.view !== this.id) return;
    const text = this.join(part.format, part);
    if (text === null) this.send({ t: "file", format: part.format });
    if (text === undefined || text === null) return;
    const kind = { md: "text/markdown", json: "application/json", csv: "text/csv" }[part.format];
    const url = URL.createObjectURL(new Blob([text], { type: `${kind};charset=utf-8` }));
    const name = (this.store.batch?.name || "results").replace(/[^\p{L}\p{N}_-]+/gu, "-").slice(0, 60);
    h("a", { href: url, download: `${name}.${part.format}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  /** @param {Event} e */
  typed(e) {
    const el = /** @type {HTMLInputElement} */ (e.target);
    if (el.dataset.in === "filter") this.by = { ...this.by, filter: el.value };
    else if (el.dataset.in === "problems") this.by = { ...this.by, problems: el.checked };
    else if (el.dataset.in === "different") this.onlyDifferent = el.checked;
    else if (el.dataset.in === "pick" && e.type === "change") {
      const run = Number(el.dataset.run);
      this.picked = this.picked.filter((i) => i !== run);
      this.overpicked = el.checked && this.picked.length >= 4;
      if (el.checked && this.picked.length < 4) this.picked.push(run);
      else el.checked = false;
    } else return;
    this.schedule();
  }

  /** @param {KeyboardEvent} e */
  key(e) {
    // The notebook has keys of its own: what is pressed in the board must not run or delete cells.
    e.stopPropagation();
    this.used = seconds();
    const target = /** @type {HTMLElement} */ (e.composedPath()[0]);
    if (target.matches("input, textarea, select") || e.altKey || (e.ctrlKey && e.key !== "Enter") || e.metaKey) {
      if (e.key === "Enter" && (e.ctrlKey || e.metaKey) && target.matches("textarea")) /** @type {HTMLElement | null} */ (target.parentElement?.querySelector('[data-act="feedback"]'))?.click();
      return;
    }
    if (target.getAttribute("role") === "tab") {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
      if (!step && e.key !== "Home" && e.key !== "End") return;
      e.preventDefault();
      const at = e.key === "Home" ? 0 : e.key === "End" ? TABS.length - 1 : (TABS.indexOf(this.tab) + (step ?? 0) + TABS.length) % TABS.length;
      this.go(TABS[at] ?? "runs");
      /** @type {HTMLElement | null} */ (this.root.querySelector(`#${this.id}-${this.tab}`))?.focus();
      return;
    }
    if (this.tab === "timeline" && ["+", "=", "-", "0"].includes(e.key)) {
      if (e.key === "0") this.zoom = null;
      else this.zoomBy(e.key === "-" ? 2 : 0.5);
      this.schedule();
      return;
    }
    if (e.key === "Escape") {
      this.hideTip();
      const item = /** @type {HTMLElement | null} */ (target.closest(".cnb-item"));
      const run = Number(item?.dataset.item);
      if (item && this.open.has(run)) {
        this.toggle(run);
        this.reveal(run);
      } else if (target.matches(".cnb-span")) /** @type {HTMLElement | null} */ (target.closest(".cnb-lane"))?.focus();
      return;
    }
    if (target.matches(".cnb-span") && (e.key === "ArrowRight" || e.key === "ArrowLeft")) {
      e.preventDefault();
      const all = [...(target.parentElement?.querySelectorAll(".cnb-span") ?? [])];
      /** @type {HTMLElement | undefined} */ (all[all.indexOf(target) + (e.key === "ArrowRight" ? 1 : -1)])?.focus();
      return;
    }
    if (target.matches(".cnb-lane") && e.key === "ArrowRight") {
      e.preventDefault();
      /** @type {HTMLElement | null} */ (target.querySelector(".cnb-span"))?.focus();
      return;
    }
    if (!target.matches(".cnb-row[data-run], .cnb-lane, .cnb-span")) return;
    const at = this.places.indexOf(this.active);
    const page = 10;
    /** @type {Record<string, number>} */
    const moves = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: this.places.length - 1 };
    const to = moves[e.key];
    if (to !== undefined) {
      e.preventDefault();
      this.active = this.places[Math.max(0, Math.min(this.places.length - 1, to))] ?? this.active;
      this.reveal(this.active);
    } else if ((e.key === "Enter" || e.key === " ") && this.tab === "runs") {
      e.preventDefault();
      this.toggle(this.active);
    } else if (e.key === "Enter") {
      this.open.add(this.active);
      this.go("runs");
      this.reveal(this.active);
    }
  }

  /** @param {number} by @param {number} [at] the time that stays where it is */
  zoomBy(by, at) {
    const all = this.window();
    const middle = at ?? (all.from + all.to) / 2;
    const from = Math.max(0, middle - (middle - all.from) * by);
    const to = middle + (all.to - middle) * by;
    this.zoom = to - from >= this.whole().to ? null : { from, to: Math.max(to, from + 0.05) };
    this.schedule();
  }

  /** @param {WheelEvent} e */
  wheel(e) {
    if (this.tab !== "timeline" || !(e.ctrlKey || e.metaKey)) return;
    e.preventDefault();
    const track = /** @type {HTMLElement | null} */ (this.root.querySelector(".cnb-overlap .cnb-track"));
    if (!track || !this.frameOfTime) return;
    const box = track.getBoundingClientRect();
    const { from, to } = this.frameOfTime;
    this.zoomBy(e.deltaY > 0 ? 1.25 : 0.8, from + ((e.clientX - box.left) / box.width) * (to - from));
  }

  /** Drag the timeline along once it is zoomed. @param {PointerEvent} e */
  grab(e) {
    const track = /** @type {HTMLElement} */ (e.target).closest(".cnb-track");
    if (this.tab !== "timeline" || !track || !this.zoom || e.button) return;
    const start = { x: e.clientX, ...this.zoom };
    const wide = track.getBoundingClientRect().width;
    const move = (/** @type {PointerEvent} */ m) => {
      const by = ((start.x - m.clientX) / wide) * (start.to - start.from);
      const from = Math.max(0, start.from + by);
      this.zoom = { from, to: from + start.to - start.from };
      this.schedule();
    };
    const end = new AbortController();
    window.addEventListener("pointermove", move, { signal: end.signal });
    window.addEventListener("pointerup", () => end.abort(), { signal: end.signal });
    this.stop.signal.addEventListener("abort", () => end.abort(), { signal: end.signal });
  }

  /** @param {PointerEvent} e */
  hover(e) {
    const el = /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (e.target).closest("[data-tip]"));
    if (el) this.showTip(el, e.clientX, e.clientY, e.clientY);
    else this.hideTip();
  }

  /** @param {FocusEvent} e */
  focused(e) {
    const el = /** @type {HTMLElement} */ (e.target);
    const row = /** @type {HTMLElement | null} */ (el.closest(".cnb-row[data-run], .cnb-lane[data-run]"));
    if (row && this.active !== Number(row.dataset.run)) {
      this.active = Number(row.dataset.run);
      this.schedule();
    }
    if (el.dataset.tip) {
      const box = el.getBoundingClientRect();
      this.showTip(el, box.left + Math.min(40, box.width / 2), box.bottom, box.top);
    } else this.hideTip();
  }

  /** Below `bottom`, or where the board ends before it, above `top`. @param {HTMLElement} el @param {number} x @param {number} bottom @param {number} top */
  showTip(el, x, bottom, top) {
    const [first = "", ...rest] = (el.dataset.tip ?? "").split("\n");
    this.tip.replaceChildren(h("b", { dir: "auto" }, first), ...rest.map((line) => h("span", { dir: "auto" }, line)));
    this.tip.hidden = false;
    const box = this.root.getBoundingClientRect();
    this.tip.style.left = `${Math.max(4, Math.min(x - box.left + 12, box.width - this.tip.offsetWidth - 8))}px`;
    const below = bottom - box.top + 14;
    const fits = below + this.tip.offsetHeight <= box.height - 4;
    this.tip.style.top = `${fits ? below : Math.max(4, top - box.top - this.tip.offsetHeight - 8)}px`;
  }

  hideTip() {
    this.tip.hidden = true;
  }

  /** Whether the page is dark is read off the page: front ends say it in many ways, and this one is true in all. */
  theme() {
    const [r = 255, g = 255, b = 255] = (getComputedStyle(this.root).backgroundColor.match(/[\d.]+/g) ?? []).map(Number);
    const theme = 0.299 * r + 0.587 * g + 0.114 * b < 128 ? "dark" : "light";
    if (this.root.dataset.theme !== theme) this.root.dataset.theme = theme;
  }
}

/** Seconds by the browser's clock. */
function seconds() {
  return performance.now() / 1000;
}

/** @type {WeakMap<object, number>} */
const versions = new WeakMap();
let lastVersion = 0;

/** A number that is the same for the same object only. @param {object | undefined} value */
function versionOf(value) {
  if (!value) return 0;
  let version = versions.get(value);
  if (version === undefined) versions.set(value, (version = ++lastVersion));
  return version;
}

/** @param {{left_out?: number} | undefined} cut */
function leftOut(cut) {
  return cut?.left_out ? h("small", { class: "cnb-left" }, ` … ${count(cut.left_out)} more characters are not shown here `) : null;
}

/** A run that was stopped is no crash. @param {string | undefined} why */
function stopped(why) {
  return why ? `stopped: ${why}` : "stopped";
}

/** @param {Record<string, unknown>} values */
function fieldTable(values) {
  return h(
    "table",
    { class: "cnb-fields" },
    h("tbody", {}, Object.entries(values).slice(0, 60).map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, h("bdi", {}, name)), h("td", { dir: "auto" }, words(value))))),
  );
}

/** Parts of a comparison as marked text. @param {Parts} parts @param {"ins"|"del"} mark @returns {Child[]} */
function marked(parts, mark) {
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

export default {
  /** @param {{model: Model, el: HTMLElement}} given */
  render({ model, el }) {
    const view = new View(model, el);
    return () => view.close();
  },
};
