// @ts-check
/** Which part of the time is shown, and how people change it. */

/** @typedef {{from: number, to: number}} Period seconds since the batch was created */

/** Round places for the marks of an axis. @param {number} from @param {number} to @param {number} most */
export function marks(from, to, most) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
  const step = steps.find((s) => (to - from) / s <= most) ?? 86400 * Math.ceil((to - from) / most / 86400);
  const found = [];
  for (let at = Math.ceil(from / step - 1e-9) * step; at <= to + 1e-9; at += step) found.push(Number(at.toFixed(3)));
  return found;
}

/** The period that is shown: all of it, until somebody zooms. */
export class Scale {
  /** @param {() => number} end the last moment that is known @param {() => void} changed */
  constructor(end, changed) {
    this.end = end;
    this.changed = changed;
    /** @type {Period | null} what is zoomed to; null for all */
    this.zoom = null;
    /** What was drawn last. @type {Period} */
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
    this.by(e.deltaY > 0 ? 1.25 : 0.8, from + ((e.clientX - box.left) / box.width) * (to - from));
  }

  /** Drag the time along once it is zoomed. @param {PointerEvent} e @param {AbortSignal} closed */
  grab(e, closed) {
    const track = /** @type {HTMLElement} */ (e.target).closest(".cnb-track");
    if (!track || !this.zoom || e.button) return;
    const start = { x: e.clientX, ...this.zoom };
    const wide = track.getBoundingClientRect().width;
    const move = (/** @type {PointerEvent} */ m) => {
      const from = Math.max(0, start.from + ((start.x - m.clientX) / wide) * (start.to - start.from));
      this.zoom = { from, to: from + start.to - start.from };
      this.changed();
    };
    const end = new AbortController();
    window.addEventListener("pointermove", move, { signal: end.signal });
    window.addEventListener("pointerup", () => end.abort(), { signal: end.signal });
    closed.addEventListener("abort", () => end.abort(), { signal: end.signal });
  }
}
