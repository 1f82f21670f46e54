// @ts-check
/** Light or dark, as the page is. */

/** What front ends change when their theme does. */
const SIGNS = ["data-jp-theme-light", "data-jp-theme-name", "theme", "class", "style"];

/**
 * Keep `data-theme` of an element true until the signal.
 * @param {HTMLElement} root @param {AbortSignal} signal @param {() => void} [sized] called when its size has changed, too
 * @returns {() => void} looks again, for what no front end tells
 */
export function followTheme(root, signal, sized) {
  // Front ends say it in many ways; the colour that is read off the page is true in all.
  const look = () => {
    const [r = 255, g = 255, b = 255] = (getComputedStyle(root).backgroundColor.match(/[\d.]+/g) ?? []).map(Number);
    const theme = 0.299 * r + 0.587 * g + 0.114 * b < 128 ? "dark" : "light";
    if (root.dataset.theme !== theme) root.dataset.theme = theme;
  };
  const looks = new MutationObserver(look);
  for (const node of [document.documentElement, document.body]) looks.observe(node, { attributes: true, attributeFilter: SIGNS });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", look, { signal });
  // It is called once the view is in the page, too: before that it has no background to read the theme off.
  const sizes = new ResizeObserver(() => {
    look();
    sized?.();
  });
  sizes.observe(root);
  signal.addEventListener("abort", () => {
    looks.disconnect();
    sizes.disconnect();
  });
  return look;
}
