/** A page for the board's modules, and the other end of their line. */
import { JSDOM } from "jsdom";

/** A page with the few things that jsdom lacks: layout is Chromium's business, and is tested there. */
export function page() {
  const dom = new JSDOM("<!doctype html><body></body>", { pretendToBeVisual: true });
  const { window } = dom;
  window.matchMedia = () => ({ matches: false, addEventListener() {}, removeEventListener() {} });
  window.ResizeObserver = class {
    observe() {}
    unobserve() {}
    disconnect() {}
  };
  const names = ["window", "document", "Node", "Element", "Text", "HTMLInputElement", "MutationObserver", "ResizeObserver", "AbortController", "navigator"];
  for (const name of [...names, "matchMedia", "getComputedStyle", "requestAnimationFrame", "cancelAnimationFrame", "getSelection"])
    globalThis[name] = typeof window[name] === "function" && /^[a-z]/.test(name) ? window[name].bind(window) : window[name];
  return window;
}

/** The other end: what anywidget hands to a view, with everything it says kept. */
export class Model {
  sent = [];
  callbacks = [];
  constructor(frozen = {}) {
    this.frozen = frozen;
  }
  get() {
    return this.frozen;
  }
  send(content) {
    this.sent.push(content);
  }
  on(name, callback) {
    this.callbacks.push({ name, callback });
  }
  off(name, callback) {
    this.callbacks = this.callbacks.filter((c) => c.name !== name || c.callback !== callback);
  }
  say(content) {
    this.trigger("msg:custom", content);
  }
  trigger(name, ...args) {
    for (const known of this.callbacks) if (known.name === name) known.callback(...args);
  }
}

export const SPECS = [
  { name: "research", agent: "Researcher", is_async: true },
  { name: "market", agent: "Analyst", is_async: true },
  { name: "synthesis", agent: "Editor", joins: [0, 1], joined: "← joins both" },
];

/** A row with three tasks. */
export function row(index, more = {}) {
  return {
    index,
    label: `topic=${index}`,
    cells: { topic: String(index) },
    status: "running",
    shape: 0,
    queued: 0,
    started: 1,
    tokens: 10 * index,
    dropped_calls: 0,
    tasks: [{ status: "done" }, { status: "running", text: "and then" }, { status: "queued" }],
    ...more,
  };
}

/** A message as Python sends it. */
export function tick(revision, rows, more = {}) {
  const counts = {};
  for (const r of rows) counts[r.status] = (counts[r.status] ?? 0) + 1;
  return {
    t: "tick",
    revision,
    full: revision === 1,
    now: 5,
    shapes: { 0: SPECS },
    rows: Object.fromEntries(rows.map((r) => [r.index, r])),
    batch: {
      key: "k",
      name: "sweep",
      total: rows.length,
      counts,
      created: 0,
      finished: null,
      paused: false,
      notes: [],
      limit: 4,
      limit_reason: "",
      in_flight: 1,
      elapsed: 5,
      eta: null,
      tokens: 100,
      cost: null,
      projected_cost: null,
      unpriced_calls: 0,
      speedup: null,
      offline: 0,
      from_record: 0,
      dropped_calls: 0,
    },
    ...more,
  };
}

/** Two frames, so that what was scheduled is drawn. */
export function drawn() {
  return new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
}
