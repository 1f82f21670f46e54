// @ts-check
/** Put a text on the clipboard. @param {HTMLElement} el the button, which says so @param {string} text @param {string} well */
export function put(el, text, well = "Copied") {
  const said = (/** @type {string} */ word) => {
    el.textContent = word;
    setTimeout(() => (el.textContent = "Copy"), 1500);
  };
  const byHand = () => {
    // Pages that are not served from a secure place have no clipboard to write to.
    const box = document.createElement("textarea");
    box.value = text;
    el.after(box);
    box.select();
    const done = document.execCommand("copy");
    box.remove();
    said(done ? well : "Not allowed");
    el.focus({ preventScroll: true });
  };
  if (navigator.clipboard) navigator.clipboard.writeText(text).then(() => said(well), byHand);
  else byHand();
}
