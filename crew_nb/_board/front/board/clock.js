// @ts-check
/** Seconds by the browser's clock. */
export function seconds() {
  return performance.now() / 1000;
}
