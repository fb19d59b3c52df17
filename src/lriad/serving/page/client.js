// The station's API: one place for the token, for errors and for pictures.

import { askForToken } from "./token.js";

const TOKEN = "lriad-token";
const KEPT_PICTURES = 24;

/** A refusal of the station's, or no answer at all (status 0). `retryAfter`: seconds, where it says so. */
export class ApiError extends Error {
  constructor(message, status, retryAfter = null) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** Whether a token is in use: links without one would be refused. */
export function hasToken() {
  return sessionStorage.getItem(TOKEN) !== null;
}

/** Ask the station; where it wants a token, ask the reader for one and try again. */
export async function ask(path, options = {}) {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN);
    const headers = { ...options.headers, ...(token === null ? {} : { Authorization: `Bearer ${token}` }) };
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      document.dispatchEvent(new CustomEvent("station-silent"));
      throw new ApiError("The station does not answer.", 0);
    }
    document.dispatchEvent(new CustomEvent("station-answers"));
    if (response.ok) return response;
    if (response.status !== 401) throw await refusal(response);
    // Another call may have got a token in the meantime.
    if (sessionStorage.getItem(TOKEN) !== token) continue;
    const given = await askForToken(token !== null);
    if (given === null) throw new ApiError("The station needs its token.", 401);
    sessionStorage.setItem(TOKEN, given);
  }
}

async function refusal(response) {
  let message = `The station answered ${response.status}.`;
  try {
    const body = await response.json();
    if (typeof body.error === "string") message = body.error;
  } catch {
    // A proxy in between answers in HTML: the number has to do.
  }
  const seconds = Number(response.headers.get("Retry-After"));
  return new ApiError(message, response.status, seconds > 0 ? seconds : null);
}

async function json(path, options) {
  return (await ask(path, options)).json();
}

export const getStation = () => json("api/station");
export const getStatistics = () => json("api/statistics");
export const getInspection = (id) => json(`api/inspections/${id}`);

/** A page of inspections; filters that are empty are left out. */
export function getInspections(filters, signal) {
  const given = Object.entries(filters).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return json(`api/inspections?${new URLSearchParams(given)}`, { signal });
}

/** Inspect one file; its inspection, or `{name, error}`. */
export async function inspect(file, objectName, group) {
  const form = new FormData();
  form.append("files", file, file.name);
  form.append("object_name", objectName);
  if (group) form.append("group", group);
  const answer = await json("api/inspections", { method: "POST", body: form });
  return answer.inspections[0];
}

/** Say what an inspection's part truly is; null takes it back. Everyone who shows the inspection hears of it. */
export async function label(id, truth) {
  const path = `api/inspections/${id}/label`;
  const inspection = truth === null
    ? await json(path, { method: "DELETE" })
    : await json(path, { method: "PUT", headers: { "Content-Type": "application/json" }, body: JSON.stringify(truth) });
  document.dispatchEvent(new CustomEvent("inspection-changed", { detail: inspection }));
  return inspection;
}

const pictures = new Map();

/** A picture of an inspection as a Blob: `kind` is image or overlay. The last few are kept. */
export function getPicture(inspection, kind, side) {
  // The browser keeps pictures for a while, and another store at this address counts from 1, too.
  const of = `${inspection.image_sha256.slice(0, 16)}-${inspection.created_at}`;
  const path = `api/inspections/${inspection.id}/${kind}?${new URLSearchParams({ side, of })}`;
  const known = pictures.get(path);
  if (known) return known;
  const coming = ask(path).then((response) => response.blob());
  pictures.set(path, coming);
  coming.catch(() => pictures.delete(path));
  if (pictures.size > KEPT_PICTURES) pictures.delete(pictures.keys().next().value);
  return coming;
}

/** Save what the station sends under a name of ours. */
export async function download(path, name) {
  const link = document.createElement("a");
  link.download = name;
  if (hasToken()) {
    // A link cannot carry the token.
    const address = URL.createObjectURL(await (await ask(path)).blob());
    link.href = address;
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  } else {
    link.href = path;
    link.click();
  }
}
