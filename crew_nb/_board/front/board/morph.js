// @ts-check
/**
 * Make one node like another while keeping every node that can stay, and with it focus, scroll and selection.
 * @param {Element} from @param {Element} to
 */
export function morph(from, to) {
  for (const { name } of [...from.attributes])
    if (!to.hasAttribute(name) && !(name === "open" && from.localName === "details")) from.removeAttribute(name);
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  // What a person ticked is a property and no attribute: without this the two drift apart.
  if (from instanceof HTMLInputElement && from.type === "checkbox") from.checked = to.hasAttribute("checked");
  const follows = from.hasAttribute("data-follow") && from.scrollTop + from.clientHeight >= from.scrollHeight - 4;
  /** @type {Map<string, Element>} */
  const keyed = new Map();
  for (const child of from.children) {
    const key = child.getAttribute("data-key");
    if (key) keyed.set(key, child);
  }
  const wants = new Set([...to.children].map((child) => child.getAttribute("data-key")));
  let place = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const key = wanted instanceof Element ? wanted.getAttribute("data-key") : null;
    const known = key ? keyed.get(key) : undefined;
    // What stands before it and is not wanted goes first: a node that is moved loses the focus.
    while (known && place !== known && place instanceof Element && !wants.has(place.getAttribute("data-key"))) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
    if (known && known !== place) place = from.insertBefore(known, place);
    if (place && alike(place, wanted)) {
      if (wanted instanceof Element) {
        if (!place.isEqualNode(wanted)) morph(/** @type {Element} */ (place), wanted);
      } else if (place instanceof Text && wanted instanceof Text && place.data !== wanted.data) {
        // What is being said grows at its end: appending leaves a selection in it alone.
        if (wanted.data.startsWith(place.data)) place.appendData(wanted.data.slice(place.length));
        else place.data = wanted.data;
      }
      place = place.nextSibling;
    } else {
      from.insertBefore(wanted, place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
  if (follows) from.scrollTop = from.scrollHeight;
}

/** @param {Node} a @param {Node} b */
function alike(a, b) {
  if (a.nodeName !== b.nodeName) return false;
  return !(a instanceof Element && b instanceof Element) || a.getAttribute("data-key") === b.getAttribute("data-key");
}
