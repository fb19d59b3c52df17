// The page's frame: which view is shown, what the station says of itself, the keys.

import { h, isTyping, plural } from "./dom.js";
import { station, watch } from "./station.js";
import { createDetail } from "./view-detail.js";
import { createExport } from "./view-export.js";
import { createHistory } from "./view-history.js";
import { createInspect } from "./view-inspect.js";
import { createReview } from "./view-review.js";
import { createStatistics } from "./view-statistics.js";

const VIEWS = {
  inspect: createInspect,
  review: createReview,
  history: createHistory,
  inspection: createDetail,
  statistics: createStatistics,
  export: createExport,
};

const main = document.getElementById("main");
const banner = document.getElementById("banner");
const state = document.getElementById("state");

// A view stays as it was left: pictures go on being sent, a list is where it was scrolled to.
const made = new Map();
const scrolled = new Map();
let current = null;

function route() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, argument] = path.split("/");
  return { name: Object.hasOwn(VIEWS, name) ? name : "inspect", argument, query: new URLSearchParams(query) };
}

function show() {
  const { name, argument, query } = route();
  if (current) {
    scrolled.set(current.name, scrollY);
    if (current.name !== name) current.view.leave?.();
  }
  const isNew = current?.name !== name;
  if (!made.has(name)) made.set(name, VIEWS[name]());
  const view = made.get(name);
  current = { name, view };
  if (isNew) main.replaceChildren(view.node);
  document.title = `${view.title} – LR-IAD station`;
  main.dataset.view = name;
  for (const link of document.querySelectorAll("nav a")) {
    const shown = name === "inspection" ? "history" : name;
    if (link.hash === `#/${shown}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  view.enter(argument, query);
  if (isNew) {
    scrollTo(0, view.keepsPlace ? (scrolled.get(name) ?? 0) : 0);
    main.focus({ preventScroll: true });
  }
}

function say(text) {
  banner.textContent = text;
  banner.hidden = text === "";
}

let clear = null;

/** Something went wrong that no view can show in its place. */
function trouble(event) {
  say(event.detail);
  clearTimeout(clear);
  clear = setTimeout(() => say(""), 8000);
}

let isSilent = false;

function silent() {
  isSilent = true;
  clearTimeout(clear);
  say("The station does not answer. What you see may be out of date; it is tried again.");
}

function answers() {
  if (!isSilent) return;
  isSilent = false;
  say("");
}

const KEYS = [
  ["Everywhere", [["1 … 5", "Inspect, Review, History, Statistics, Export"], ["?", "this list"]]],
  ["Review, and a single inspection", [
    ["Enter or A", "accept the verdict"], ["D", "it is a defect"], ["N", "it is normal"], ["T", "name the type of the defect"],
    ["S or →", "skip"], ["←", "back"], ["U", "undo"], ["H", "heat-map"], ["Z", "zoom"],
  ]],
  ["A card that has the focus", [["A, D, N", "label it"], ["H", "heat-map"], ["O", "open it"]]],
];

function showKeys() {
  const dialog = h(
    "dialog",
    { class: "ask", "aria-labelledby": "keys-title" },
    h("h2", { id: "keys-title" }, "Keys"),
    KEYS.map(([where, keys]) => [
      h("h3", {}, where),
      h("dl", { class: "keys" }, keys.map(([key, text]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)))),
    ]),
    h("form", { method: "dialog" }, h("button", { class: "primary" }, "Close")),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

document.addEventListener("keydown", (event) => {
  if (isTyping(event) || event.defaultPrevented) return;
  const link = /^[1-5]$/.test(event.key) && document.querySelectorAll("nav a")[event.key - 1];
  if (link) location.hash = link.hash;
  else if (event.key === "?") showKeys();
  else current?.view.key?.(event);
});
document.addEventListener("station", ({ detail }) => {
  const { waiting } = detail.queue;
  state.textContent = waiting ? `${plural(waiting, "picture")} waiting` : "idle";
  state.title = `Policy ${detail.policy}, ${detail.mode} mode`;
});
document.addEventListener("station-silent", silent);
document.addEventListener("station-answers", answers);
document.addEventListener("trouble", trouble);
document.getElementById("help").addEventListener("click", showKeys);
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the hash names the view
  main.focus();
});
addEventListener("hashchange", show);
station().catch((error) => trouble({ detail: error.message }));
watch();
show();
