// @ts-check
/** Keys that are pressed in a widget. */

/**
 * Hear of the keys that are pressed in an element, and keep them from the notebook, whose single keys run, add and delete
 * cells.
 * @param {HTMLElement} root @param {AbortSignal} signal @param {(e: KeyboardEvent) => void} heard
 */
export function takeKeys(root, signal, heard) {
  const take = (/** @type {KeyboardEvent} */ e) => {
    if (!e.composedPath().includes(root)) return;
    e.stopPropagation();
    heard(e);
  };
  // Some notebooks (Notebook 7) take the keys on their way down to the widget: it must hear of them before they do.
  window.addEventListener("keydown", take, { capture: true, signal });
}
