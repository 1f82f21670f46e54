// @ts-check
/**
 * What crosses between Python (`launcher.py`) and the form.
 *
 * @typedef {{name: string, kind: string, required: boolean, default: string, choices: string[],
 *   own?: boolean}} Field
 * @typedef {{name: string, label: string, empty: string, kind: string, main: boolean}} Control
 * @typedef {Record<string, string>} Row
 * @typedef {{alert?: string, number?: number, rows?: Record<string, Record<string, string>>,
 *   options?: Record<string, string>}} Problems
 * @typedef {{word?: string, total?: number, open?: number, done?: number, failed?: number, stopped?: number}} Counts
 */

export {};
