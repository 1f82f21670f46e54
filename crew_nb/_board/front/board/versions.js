// @ts-check
/** @type {WeakMap<object, number>} */
const versions = new WeakMap();
let lastVersion = 0;

/** A number that is the same for the same object only. @param {object | undefined} value */
export function versionOf(value) {
  if (!value) return 0;
  let version = versions.get(value);
  if (version === undefined) versions.set(value, (version = ++lastVersion));
  return version;
}
