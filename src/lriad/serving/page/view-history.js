// History: everything that was inspected, searched and filtered.

import { getInspections } from "./client.js";
import { announce, field, h, moment, plural, select } from "./dom.js";
import { thumbnail } from "./picture.js";
import { doubt, gauge, sign, standing } from "./reading.js";
import { station } from "./station.js";
import { truthText } from "./truth.js";

const PAGE = 40;
const PATIENCE = 250;

// Of the list as it was last shown, for those who leaf through it.
let listed = [];
let listAddress = "#/history";

/** The inspections before and after one in the list, null at its ends, and the list's address. */
export function neighbours(id) {
  const at = listed.findIndex((inspection) => inspection.id === id);
  return { before: listed[at - 1]?.id ?? null, after: (at >= 0 && listed[at + 1]?.id) || null, list: listAddress };
}

export function createHistory() {
  const search = h("input", { type: "search", autocomplete: "off", spellcheck: "false", maxlength: 200, "aria-keyshortcuts": "/" });
  const product = select({}, [["", "All"]], "");
  const decision = select({}, [["", "All"], ["defect", "Defect"], ["review", "Review"], ["normal", "Normal"]], "");
  const truth = select({}, [["any", "All"], ["none", "Not labelled"], ["defect", "Labelled defect"], ["normal", "Labelled normal"]], "any");
  const order = select({}, [["newest", "Newest first"], ["oldest", "Oldest first"], ["suspicion", "Suspicious first"], ["doubt", "Doubtful first"]], "newest");
  const controls = { q: search, object: product, decision, truth, order };
  const count = h("p", { class: "progress-text", role: "status" });
  const rows = h("ol", { class: "rows" });
  const more = h("button", { type: "button", hidden: true, onclick: load }, "Show more");
  const node = h(
    "section",
    { class: "history" },
    h("h1", {}, "History"),
    h(
      "form",
      { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
      field("Search in names and reasons", search),
      field("Product", product),
      field("Verdict", decision),
      field("Label", truth),
      field("Order", order),
    ),
    count,
    rows,
    h("p", { class: "row" }, more),
  );

  let shown = null;
  let cursor = null;
  let total = 0;
  let asked = new AbortController();
  let patience = null;

  search.addEventListener("input", () => {
    clearTimeout(patience);
    patience = setTimeout(changed, PATIENCE);
  });
  for (const control of [product, decision, truth, order]) control.addEventListener("change", changed);

  const filters = () => Object.fromEntries(Object.entries(controls).map(([name, control]) => [name, control.value.trim()]));

  /** The filters in the address, those left alone left out. */
  function address() {
    const given = Object.entries(filters()).filter(([name, value]) => value && value !== "any" && !(name === "order" && value === "newest"));
    return given.length ? `#/history?${new URLSearchParams(given)}` : "#/history";
  }

  function changed() {
    clearTimeout(patience);
    history.replaceState(null, "", address());
    start();
  }

  async function start() {
    shown = listAddress = address();
    cursor = null;
    listed = [];
    asked.abort();
    asked = new AbortController();
    rows.setAttribute("aria-busy", "true");
    await load();
  }

  async function load() {
    const { signal } = asked;
    const isFirst = cursor === null;
    more.disabled = true;
    try {
      const page = await getInspections({ ...filters(), limit: PAGE, cursor }, signal);
      if (signal.aborted) return;
      cursor = page.next;
      total = page.total;
      const added = page.inspections.map(row);
      listed.push(...page.inspections);
      if (isFirst) rows.replaceChildren(...added);
      else rows.append(...added);
      if (!isFirst) added[0]?.querySelector("a").focus({ preventScroll: true });
      count.textContent = total === 0 ? "Nothing found." : `${plural(total, "inspection")}${listed.length < total ? `, ${listed.length} shown` : ""}`;
    } catch (error) {
      if (signal.aborted) return;
      count.textContent = error.message;
      shown = null; // to be tried again
    } finally {
      if (!signal.aborted) {
        more.disabled = false;
        more.hidden = !cursor;
        rows.removeAttribute("aria-busy");
      }
    }
  }

  async function offerProducts(chosen) {
    const { products } = await station();
    const names = new Set(products.map(({ object_name }) => object_name));
    if (chosen) names.add(chosen);
    product.replaceChildren(...[["", "All"], ...[...names].map((name) => [name, name])].map(([value, text]) => h("option", { value }, text)));
    product.value = chosen;
  }

  document.addEventListener("inspection-changed", ({ detail }) => {
    const at = listed.findIndex(({ id }) => id === detail.id);
    if (at < 0) return;
    listed[at] = detail;
    rows.children[at].replaceWith(row(detail));
  });

  return {
    title: "History",
    node,
    keepsPlace: true,
    async enter(_, query) {
      const wanted = query.get("object") ?? "";
      await offerProducts(wanted).catch(() => {});
      for (const [name, control] of Object.entries(controls)) control.value = query.get(name) ?? { truth: "any", order: "newest" }[name] ?? "";
      // Back from an inspection the list is as it was; new ones come by a click on History.
      if (address() !== shown) start();
    },
    key(event) {
      if (event.key !== "/") return;
      event.preventDefault();
      search.focus();
    },
  };
}

function row(inspection) {
  const isDone = inspection.state === "done";
  return h(
    "li",
    { class: "row-item" },
    h(
      "a",
      { href: `#/inspection/${inspection.id}` },
      thumbnail(inspection),
      h("span", { class: "row-name" }, h("b", {}, inspection.name), h("span", { class: "muted" }, inspection.object_name, " · ", moment(inspection.created_at))),
      h("span", { class: "row-verdict" }, sign(standing(inspection)), isDone && doubt(inspection)),
      h("span", { class: "row-gauge" }, isDone ? gauge(inspection) : h("span", { class: "problem" }, inspection.error ?? "")),
      h("span", { class: "row-truth" }, truthText(inspection)),
    ),
  );
}
