// Review: the most doubtful first, one at a time, by keyboard.

import { getInspections } from "./client.js";
import { announce, h, plural, select } from "./dom.js";
import { prefetch } from "./picture.js";
import { Sheet, SIDE } from "./sheet.js";
import { station } from "./station.js";
import { setTruth } from "./truth.js";

const PAGE = 30;
const AHEAD = 5;

export function createReview() {
  let items = [];
  let position = 0;
  let cursor = null;
  let left = 0;
  let labelled = 0;
  let undoable = []; // labels with what was there before them, and skips, which have no `before`
  let skipped = new Set();
  let object = null;
  let coming = null;
  let generation = 0;

  const title = h("h1", {}, "Review");
  const product = h("div", { class: "product" });
  const progress = h("p", { class: "progress-text" });
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Reviewed" });
  const head = h("div", { class: "panel-head" }, h("div", { class: "row spread" }, title, product), progress, bar);
  const back = button("Back", "←", () => go(-1));
  const skip = button("Skip", "S", () => go(1));
  const undo = button("Undo", "U", takeBack);
  const sheet = new Sheet({
    head,
    tools: [back, skip, undo],
    labelled: async (changed, before) => {
      // The reader may have moved on in the meantime, even to another queue.
      const at = items.findIndex(({ id }) => id === changed.id);
      if (at < 0) return;
      items[at] = changed;
      undoable.push({ before, position: at });
      if (!before.truth && changed.truth) {
        labelled += 1;
        left -= 1;
      }
      skipped.delete(changed.id);
      if (at === position) await go(1);
      else show();
    },
  });
  const node = h("section", { class: "review" });

  function button(text, key, onclick) {
    return h("button", { type: "button", "aria-keyshortcuts": key === "←" ? "ArrowLeft" : key, onclick }, `${text} `, h("kbd", {}, key));
  }

  async function start() {
    generation += 1;
    const mine = generation;
    coming = null;
    items = [];
    position = 0;
    cursor = null;
    skipped = new Set();
    undoable = [];
    node.replaceChildren(h("div", { class: "empty" }, title, h("p", { class: "muted" }, "Loading …")));
    try {
      await more();
    } catch (error) {
      if (mine !== generation) return;
      node.replaceChildren(h("div", { class: "empty" }, title, h("p", { class: "problem" }, error.message), h("p", {}, h("button", { type: "button", onclick: start }, "Try again"))));
      return;
    }
    if (mine === generation) show();
  }

  /** The queue's next page. */
  function more() {
    if (coming) return coming;
    const mine = generation;
    const asked = getInspections({ object, truth: "none", order: "doubt", limit: PAGE, cursor })
      .then((page) => {
        if (mine !== generation) return;
        const known = new Set(items.map(({ id }) => id));
        items.push(...page.inspections.filter(({ id, state }) => state === "done" && !known.has(id)));
        if (cursor === null) left = page.total;
        cursor = page.next;
      })
      .finally(() => {
        if (coming === asked) coming = null;
      });
    coming = asked;
    return coming;
  }

  async function go(step) {
    const from = position;
    const mine = generation;
    const to = Math.max(0, from + step);
    if (to >= items.length - AHEAD && cursor) {
      const page = more();
      try {
        if (to >= items.length) await page;
        else page.catch(() => {});
      } catch (error) {
        if (mine === generation) show();
        document.dispatchEvent(new CustomEvent("trouble", { detail: error.message }));
        return;
      }
      if (mine !== generation || position !== from) return;
    }
    if (step > 0 && from < items.length && !items[from].truth) {
      skipped.add(items[from].id);
      undoable.push({ before: null, position: from });
    }
    position = to;
    show();
  }

  async function takeBack() {
    const last = undoable.at(-1);
    if (!last || sheet.busy) return;
    const { before } = last;
    if (!before) {
      undoable.pop();
      position = last.position;
      skipped.delete(items[position].id);
      show();
      return;
    }
    const changed = await setTruth(before, before.truth && { label: before.truth, defect_type: before.defect_type, note: before.note });
    if (!changed || undoable.at(-1) !== last) return;
    undoable.pop();
    if (!changed.truth) {
      labelled -= 1;
      left += 1;
    }
    position = last.position;
    items[position] = changed;
    show();
    announce(`Taken back. ${described(changed)}`);
  }

  const described = (inspection) => `${inspection.name}: ${inspection.decision}`;

  function show() {
    progress.textContent = `${labelled.toLocaleString("en")} labelled, ${left.toLocaleString("en")} left${skipped.size ? `, ${skipped.size} skipped` : ""}`;
    bar.max = Math.max(1, labelled + left);
    bar.value = labelled;
    const inspection = items[position];
    if (!inspection) return finish();
    if (sheet.node.parentNode !== node) node.replaceChildren(sheet.node);
    if (!head.contains(title)) head.firstChild.prepend(title);
    if (!head.contains(product)) head.firstChild.append(product);
    sheet.show(inspection);
    back.disabled = position === 0;
    undo.disabled = undoable.length === 0;
    for (const next of items.slice(position + 1, position + 3)) prefetch(next, SIDE, sheet.picture.isOn);
    announce(described(inspection));
  }

  function finish() {
    const again = skipped.size
      ? h("p", {}, h("button", { type: "button", class: "primary", onclick: start }, `Go through the ${plural(skipped.size, "skipped one")} again`))
      : h("p", {}, h("button", { type: "button", onclick: start }, "Look again"));
    const done = skipped.size ? "You are through the queue." : labelled ? "Everything is labelled." : "Nothing waits for a label.";
    node.replaceChildren(
      h("div", { class: "empty" }, title, product, h("p", { class: "large" }, done), labelled > 0 && h("p", { class: "muted" }, `${plural(labelled, "label")} given since this page was opened.`), again,
        undoable.length > 0 && h("p", {}, h("button", { type: "button", onclick: takeBack }, "Undo the last ", h("kbd", {}, "U")))),
    );
    node.querySelector("button").focus();
    announce(done);
  }

  async function offerProducts() {
    const { products } = await station();
    const names = new Set(products.map(({ object_name }) => object_name));
    if (object) names.add(object);
    const options = [["", "All products"], ...[...names].map((name) => [name, name])];
    product.replaceChildren(select({ "aria-label": "Product", onchange: (event) => {
      location.hash = event.target.value ? `#/review?${new URLSearchParams({ object: event.target.value })}` : "#/review";
      event.target.blur(); // the keys are the page's again
    } }, options, object));
  }

  document.addEventListener("inspection-changed", ({ detail }) => {
    const at = items.findIndex(({ id }) => id === detail.id);
    if (at >= 0) items[at] = detail;
  });

  return {
    title: "Review",
    node,
    enter(_, query) {
      const wanted = query.get("object") ?? "";
      const isOpen = object === wanted && items[position] && !items[position].truth;
      object = wanted;
      offerProducts().catch(() => {});
      if (isOpen) show();
      else start();
    },
    key(event) {
      if (!items[position]) {
        if (event.key.toLowerCase() === "u") takeBack();
        return;
      }
      const key = event.key.toLowerCase();
      if (sheet.key(event) || sheet.busy) return;
      if (key === "s" || key === "arrowright") go(1);
      else if (key === "arrowleft") position > 0 && go(-1);
      else if (key === "u") takeBack();
      else return;
      event.preventDefault();
    },
  };
}
