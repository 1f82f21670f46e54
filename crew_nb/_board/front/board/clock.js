// @ts-check
/** Seconds by the browser's clock. */
export function seconds() {
  return performance.now() / 1000;
}

/**
 * A moment on the board's one clock, which stands still while nothing of the batch is under way: between its end and a retry.
 * @param {number} at seconds since the batch was created @param {[number, number][]} idle
 */
export function worked(at, idle) {
  return at - idle.reduce((sum, [from, to]) => sum + Math.max(0, Math.min(at, to) - from), 0);
}
