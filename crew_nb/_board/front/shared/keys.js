// @ts-check
/** Keys that are pressed in a widget: which are its own, and which the editor's around it. */

/** With Ctrl (or Cmd) these edit a text; those that do so with Shift, too, are of the second kind. */
const EDIT = /^(a|c|x|y|insert)$/;
const EDIT_SHIFTED = /^(v|z|arrow(left|right|up|down)|home|end|backspace|delete)$/;
/** On a Mac Ctrl moves the caret as Emacs does, and editors leave it that. */
const EDIT_MAC = /^[abdefhknopty]$/;

/** Whether what is typed in an element is text. @param {Element} el */
function isText(el) {
  return el.matches("textarea, select, [contenteditable]") || (el.matches("input") && !el.matches("[type=checkbox], [type=radio], [type=button], [type=file]"));
}

/**
 * Whether a key is the editor's (JupyterLab, VS Code), which saves or searches with it: function keys, and Ctrl or Cmd with
 * what edits no text under the focus. Plain keys are not, nor is Enter: they would run, add and delete cells.
 * @param {KeyboardEvent} e @param {Element} el that has the focus
 */
export function isEditors(e, el) {
  if (/^F\d+$/.test(e.key)) return true;
  // AltGr is Ctrl and Alt to Windows, and writes.
  if (!(e.ctrlKey || e.metaKey) || e.key === "Enter" || e.getModifierState("AltGraph")) return false;
  // In alphabets that are not Latin the place of a letter says which it is.
  const key = (/^Key[A-Z]$/.test(e.code) && !/^[a-z]$/i.test(e.key) ? e.code.slice(3) : e.key).toLowerCase();
  if (!isText(el)) return !(/^(c|insert)$/.test(key) && !e.shiftKey && !e.altKey);
  const mac = /^Mac/.test(navigator.platform);
  if (mac && e.ctrlKey && !e.metaKey) return !EDIT_MAC.test(key);
  if (e.altKey) return true;
  return !(EDIT_SHIFTED.test(key) || (EDIT.test(key) && !e.shiftKey));
}

/** Give the focus back to what the widget stands in: in a notebook its cell. @param {HTMLElement} root */
function leave(root) {
  const around = /** @type {HTMLElement | null | undefined} */ (root.parentElement?.closest(".jp-Cell") ?? root.parentElement?.closest("[tabindex]"));
  around?.focus({ preventScroll: true });
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  if (root.contains(focused)) focused?.blur();
}

/**
 * Hear of the keys that are pressed in an element, and keep them from the notebook. The editor's keys reach the editor, and
 * so does Escape where it does nothing here: with it the focus goes back to the cell.
 * @param {HTMLElement} root @param {AbortSignal} signal @param {(e: KeyboardEvent) => boolean | void} heard says whether
 *   Escape did something
 */
export function takeKeys(root, signal, heard) {
  const take = (/** @type {KeyboardEvent} */ e) => {
    if (!e.composedPath().includes(root)) return;
    if (isEditors(e, /** @type {Element} */ (e.composedPath()[0]))) return;
    if (!heard(e) && e.key === "Escape" && !e.isComposing) leave(root);
    else e.stopPropagation();
  };
  // Some notebooks (Notebook 7) take the keys on their way down to the widget: it must hear of them before they do.
  window.addEventListener("keydown", take, { capture: true, signal });
}
