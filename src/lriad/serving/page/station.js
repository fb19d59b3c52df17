// What the station says of itself, and whether it answers.

import { getStation } from "./client.js";

const EVERY = 10_000;

let known = null;
let loading = null;

/** The station's description; asked for once, then kept fresh by `watch`. */
export function station() {
  loading ??= refresh().catch((error) => {
    loading = null;
    throw error;
  });
  return known ? Promise.resolve(known) : loading;
}

async function refresh() {
  known = await getStation();
  document.dispatchEvent(new CustomEvent("station", { detail: known }));
  return known;
}

/** Keep it fresh while somebody looks. */
export function watch() {
  setInterval(() => {
    // Where it was never had, a token may be missing: the view that needs it asks, a clock does not.
    if (known && !document.hidden) refresh().catch(() => {});
  }, EVERY);
}

/** The product of that name, however it is capitalised; undefined where the station has not met it. */
export function productOf(objectName) {
  const wanted = objectName.trim().toLowerCase();
  return known?.products.find((product) => product.object_name.toLowerCase() === wanted);
}
