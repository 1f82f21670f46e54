// @ts-check
/** Numbers, times and money as a person says them. */

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

/** A number of things: `1 run`, `2,000 runs`. @param {number} n @param {string} one */
export function plural(n, one) {
  return `${count(n)} ${one}${n === 1 ? "" : "s"}`;
}

/** US dollars, with more places where less than a cent must not look like nothing. @param {number} dollars */
export function money(dollars) {
  if (dollars === 0 || dollars >= 0.01)
    return "$" + dollars.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  return dollars >= 0.0001 ? `$${dollars.toFixed(4)}` : "<$0.0001";
}
