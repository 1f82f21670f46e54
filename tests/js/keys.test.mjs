import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { isEditors, takeKeys } from "../../crew_nb/_board/front/shared/keys.js";
import { page } from "./board.mjs";

let window;
beforeEach(() => (window = page()));
afterEach(() => window.close());

/** A key as people write it: `Ctrl+Shift+z`. */
function pressed(keys) {
  const [key, ...held] = keys.split("+").reverse();
  const code = /^[a-z]$/.test(key) ? `Key${key.toUpperCase()}` : key;
  return new window.KeyboardEvent("keydown", { key, code, bubbles: true, ctrlKey: held.includes("Ctrl"), metaKey: held.includes("Cmd"), shiftKey: held.includes("Shift"), altKey: held.includes("Alt"), modifierAltGraph: held.includes("AltGr") });
}

const element = (html) => Object.assign(document.createElement("div"), { innerHTML: html }).firstChild;
const FIELDS = ["<textarea></textarea>", '<input type="search">', '<input type="text">'];
const OTHERS = ["<button></button>", '<div tabindex="0"></div>', '<input type="checkbox">', "<pre></pre>"];
const editors = (keys, html) => keys.split(" ").filter((key) => isEditors(pressed(key), element(html)));

test("function keys, and Ctrl or Cmd with what edits no text, are the editor's, in a field too", () => {
  const keys = "F1 Shift+F5 Ctrl+s Cmd+s Ctrl+Shift+p Ctrl+Shift+c Ctrl+f Ctrl+b Ctrl+k Ctrl+` Ctrl+1 Ctrl+Tab Ctrl+Alt+ArrowUp Ctrl+PageDown";
  for (const html of [...FIELDS, ...OTHERS]) assert.equal(editors(keys, html).join(" "), keys, html);
});

test("plain keys and Enter are never the editor's, and neither is what AltGr writes", () => {
  const keys = "d a b x z Shift+M Enter Ctrl+Enter Cmd+Enter Shift+Enter Escape ArrowDown Delete Alt+d Ctrl+Alt+AltGr+q";
  for (const html of [...FIELDS, ...OTHERS]) assert.deepEqual(editors(keys, html), [], html);
});

test("what edits the text under the focus is the field's; elsewhere only copying is kept", () => {
  const keys = "Ctrl+a Ctrl+c Ctrl+v Ctrl+x Ctrl+z Ctrl+y Ctrl+Shift+z Cmd+z Cmd+Shift+z Ctrl+ArrowLeft Ctrl+Shift+ArrowRight Cmd+ArrowUp Ctrl+Home Ctrl+Shift+End Ctrl+Backspace Ctrl+Delete Ctrl+Insert";
  for (const html of FIELDS) assert.deepEqual(editors(keys, html), [], html);
  const rest = keys.split(" ").filter((key) => key !== "Ctrl+c" && key !== "Ctrl+Insert");
  for (const html of OTHERS) assert.deepEqual(editors(keys, html), rest, html);
});

test("a letter of another alphabet is known by its place", () => {
  const cyrillic = (key, code) => new window.KeyboardEvent("keydown", { key, code, ctrlKey: true });
  assert.equal(isEditors(cyrillic("ы", "KeyS"), element(FIELDS[0])), true);
  assert.equal(isEditors(cyrillic("с", "KeyC"), element(FIELDS[0])), false);
});

test("on a Mac Ctrl moves the caret in a field, and Cmd is for the editor", () => {
  Object.defineProperty(globalThis, "navigator", { configurable: true, writable: true, value: { platform: "MacIntel" } });
  assert.deepEqual(editors("Ctrl+a Ctrl+e Ctrl+k Ctrl+s Cmd+s Cmd+k Cmd+c", FIELDS[0]), ["Ctrl+s", "Cmd+s", "Cmd+k"]);
});

test("Escape goes back to the cell where it does nothing in the widget, and nowhere else", () => {
  document.body.innerHTML = '<div class="jp-Cell" tabindex="-1"><div tabindex="0"><main><input></main></div></div>';
  const [main, field] = [document.querySelector("main"), document.querySelector("input")];
  const stop = new AbortController();
  let used = true;
  const heard = [];
  takeKeys(main, stop.signal, () => used);
  document.addEventListener("keydown", (e) => heard.push(e.key));
  const press = (keys) => {
    field.focus();
    field.dispatchEvent(pressed(keys));
    return document.activeElement.className || document.activeElement.localName;
  };
  assert.equal(press("Escape"), "input", "it closed something");
  used = false;
  assert.equal(press("d"), "input");
  assert.deepEqual(heard, []);
  assert.equal(press("Escape"), "jp-Cell");
  assert.equal(press("Ctrl+s"), "input");
  document.querySelector(".jp-Cell").replaceWith(main);
  assert.equal(press("Escape"), "body", "where there is no cell, the focus is let go");
  assert.deepEqual(heard, ["Escape", "s", "Escape"]);
  stop.abort();
});
