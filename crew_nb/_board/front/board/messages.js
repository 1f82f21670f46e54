// @ts-check
/**
 * What crosses between Python (`widget.py`) and the page.
 *
 * @typedef {"queued"|"running"|"waiting"|"done"|"failed"|"cancelling"|"cancelled"|"skipped"|"unknown"} Status
 * @typedef {{name: string, agent?: string, joins?: number[], joined?: string, is_async?: boolean, is_step?: boolean,
 *   asks_human?: boolean}} Spec
 * @typedef {{status: Status, started?: number, finished?: number, rounds?: number, taken_over?: boolean, text?: string, tool?: string, call?: string,
 *   error?: string}} Task
 * @typedef {{text?: string, left_out?: number}} Cut
 * @typedef {{html: string, left_out: number}} Shown
 * @typedef {{key: string, reason: string, since: number, until?: number, detail?: string, task?: number,
 *   draft?: Cut}} Wait
 * @typedef {{index: number, label?: string, cells?: Record<string, string>, status: Status, shape: number, attempt?: number, queued: number,
 *   started?: number, finished?: number, last?: number, tokens: number, saved?: number, cost?: number, tasks?: Task[], call?: string,
 *   waits?: Wait[], error?: string, stopped?: string, said?: string, offline?: boolean, from_record?: boolean,
 *   recorded?: boolean, dropped_calls: number, worker?: string}} Row
 * @typedef {{kind: "llm"|"tool"|"wait", name: string, status: string, started: number, finished?: number,
 *   agent?: string, attempt?: number, tokens: number, cost?: number, detail?: Cut, output?: Cut}} Call
 * @typedef {{agent?: string, status: Status, started?: number, finished?: number, rounds?: number, taken_over?: boolean, tokens: number,
 *   text?: Shown, output?: Shown, is_final?: boolean, is_parents?: boolean, error?: Cut, calls?: Call[],
 *   calls_left_out: number, inside_left_out?: number}} TaskDetail
 * @typedef {TaskDetail & {place: number, name: string, parent: number, crew: number, joined?: string, is_step?: boolean}} Found
 *   a task that a step of a flow, or a task, has begun
 * @typedef {{index: number, status: Status, label: Cut, why?: string, worker?: string, tasks?: TaskDetail[],
 *   inside?: Found[], calls?: Call[], calls_left_out: number, output?: Shown, log?: {at: number, task?: number, text: Cut}[],
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
 *   elapsed: number, idle?: [number, number][], eta: number|null, tokens: number, saved: number, cost: number|null, projected_cost: number|null,
 *   unpriced_calls: number, speedup: number|null, worked: number, at_work: number, offline: number, from_record: number,
 *   dropped_calls: number}} Batch
 * @typedef {number | boolean | string} Score
 * @typedef {{factors: string[], by: string, inputs: string[], variants: string[], repeats: number}} Grid
 * @typedef {{score: string, rows: [number, number | null, number | null, number | null, number][]}} Mean by variant: the mean,
 *   its interval, and of how many runs
 * @typedef {{t?: string, revision: number, full: boolean, batch: Batch, now: number, shapes?: Record<string, Spec[]>,
 *   rows?: Record<string, Row>, details?: Record<string, Detail>, lanes?: Record<string, Lane>,
 *   cards?: Record<string, Card>, lines?: Line[], more_lines?: boolean, grid?: Grid, means?: Mean[],
 *   scores?: Record<string, Record<string, Score | null>>}} Tick
 * @typedef {{t: "file", revision: number, view: string, format: "md"|"json"|"csv", part: number, parts: number,
 *   text: string}} FilePart
 * @typedef {{t: "whole", revision: number, view: string, run: number, form: "text"|"html", part: number, parts: number,
 *   text: string}} WholePart
 */

export {};
