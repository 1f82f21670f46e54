// @ts-check
/** What is known of a batch. */

/** @import {Batch, Call, Card, Detail, Grid, Lane, Line, Mean, Row, Score, Spec, Task, TaskDetail, Tick} from "./messages.js" */
import { worked } from "./clock.js";
import { FINAL } from "./statuses.js";

/** @typedef {{name: string, wide: number, values: Set<string>}} Column an input: characters of its longest value, and the first of its values */

/** Values that are told apart to see which columns say most. */
const DISTINCT = 50;

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
    /** The inputs that tell rows apart, by name. @type {Map<string, Column>} */ this.columns = new Map();
    /** @type {Line[]} */ this.lines = [];
    this.moreLines = false;
    /** What a sweep is over; null for any other batch. @type {Grid | null} */ this.grid = null;
    /** Scores of runs by name. @type {Map<number, Record<string, Score | null>>} */ this.scores = new Map();
    /** Names of scores, in the order in which they came. @type {string[]} */ this.scoreNames = [];
    /** @type {Map<string, [number, number]>} */ this.ranges = new Map();
    /** @type {Mean[] | null} */ this.means = null;
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
    for (const [kind, known] of /** @type {[keyof Tick, Map<number, any>][]} */ ([
      ["rows", this.rows],
      ["details", this.details],
      ["lanes", this.lanes],
      ["cards", this.cards],
      ["shapes", this.shapes],
      ["scores", this.scores],
    ]))
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
      const known = this.columns.get(name) ?? { name, wide: name.length + 2, values: new Set() };
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
        /** @type {<T extends TaskDetail>(task: T) => T} */
        const gone = (task) => ({ ...task, calls: still(task.calls), status: open(task.status) ? "unknown" : task.status });
        const [tasks, inside] = [(detail.tasks ?? []).map(gone), (detail.inside ?? []).map(gone)];
        this.details.set(i, { ...detail, status: "unknown", tasks, inside, calls: still(detail.calls) });
      }
  }
}
