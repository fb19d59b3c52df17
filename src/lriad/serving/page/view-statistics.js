// Statistics: by product, what was found, how labels agree with it, thirty days, drift.

import { getStatistics } from "./client.js";
import { h, plural, svg } from "./dom.js";
import { sign } from "./reading.js";

const DAYS = 30;
const WIDTH = 600;
const HEIGHT = 120;

export function createStatistics() {
  const body = h("div", { class: "products" });
  const node = h(
    "section",
    { class: "statistics" },
    h("h1", {}, "Statistics"),
    h("p", { class: "muted" }, "Labels mostly come from the review queue, which shows the most doubtful parts first: agreement among them tends to be lower than among all parts."),
    body,
  );

  return {
    title: "Statistics",
    node,
    async enter() {
      try {
        const { products } = await getStatistics();
        body.replaceChildren(...(products.length ? products.map(panel) : [h("p", { class: "large" }, "Nothing was inspected yet.")]));
      } catch (error) {
        body.replaceChildren(h("p", { class: "problem" }, error.message));
      }
    },
  };
}

const link = (product, filters) => `#/history?${new URLSearchParams({ object: product.object_name, ...filters })}`;
const percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : "–");

function panel(product) {
  return h(
    "article",
    { class: "product-panel" },
    h("h2", {}, product.object_name),
    h(
      "div",
      { class: "figures" },
      figure(product.inspected, "inspected", link(product, {})),
      ["defect", "review", "normal"].map((what) => figure(product[what], sign(what), link(product, { decision: what }), percent(product[what], product.inspected))),
    ),
    agreement(product),
    days(product.by_day),
    drift(product.drift),
  );
}

function figure(count, name, href, note = null) {
  return h("a", { class: "figure", href }, h("b", {}, count.toLocaleString("en")), h("span", {}, name), note && h("span", { class: "muted" }, note));
}

function agreement(product) {
  if (!product.labelled) {
    return h("p", {}, "No labels yet. ", h("a", { href: `#/review?${new URLSearchParams({ object: product.object_name })}` }, "Review"), " some to see how far the verdicts can be trusted.");
  }
  return h(
    "dl",
    { class: "measures wide" },
    [
      ["labelled", plural(product.labelled, "part")],
      ["agreed", `${product.agreed} of ${product.labelled} (${percent(product.agreed, product.labelled)})`],
      ["missed: a defect passed as normal", String(product.missed)],
      ["false alarms: a normal part called defect", String(product.false_alarms)],
    ].map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

/** The last days up to today (UTC), also those on which nothing was inspected. */
function lastDays(byDay) {
  const known = new Map(byDay.map((one) => [one.day, one]));
  return Array.from({ length: DAYS }, (_, index) => {
    const day = new Date(Date.now() - (DAYS - 1 - index) * 86_400_000).toISOString().slice(0, 10);
    return known.get(day) ?? { day, inspected: 0, defect: 0, review: 0 };
  });
}

/** Days as bars: normal hollow, review half dark, defect full; and the same as a table. */
function days(known) {
  const byDay = lastDays(known);
  const highest = Math.max(0, ...byDay.map(({ inspected }) => inspected));
  if (!highest) return h("p", { class: "muted" }, `Nothing in the last ${DAYS} days.`);
  const step = WIDTH / byDay.length;
  const scale = HEIGHT / highest;
  const bars = byDay.flatMap(({ day, inspected, defect, review }, index) => {
    let top = HEIGHT;
    return [["defect", defect], ["review", review], ["normal", inspected - defect - review]].map(([what, count]) => {
      top -= count * scale;
      const bar = svg("rect", { class: `bar-${what}`, x: index * step + 1.5, y: top, width: step - 3, height: count * scale });
      bar.append(svg("title", {}, `${day}: ${inspected} inspected, ${defect} defect, ${review} to review`));
      return bar;
    });
  });
  const total = byDay.reduce((sum, { inspected }) => sum + inspected, 0);
  return h(
    "figure",
    { class: "days" },
    h("figcaption", {}, `Last ${DAYS} days: ${plural(total, "part")}, at most ${highest} a day`),
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `Parts inspected on each of the last ${DAYS} days; the table below has the numbers` }, bars),
    h("p", { class: "days-axis muted" }, h("span", {}, byDay[0].day), h("span", { class: "key" }, ["defect", "review", "normal"].map((what) => h("span", { class: `key-${what}` }, what))), h("span", {}, byDay.at(-1).day)),
    h(
      "details",
      { class: "more" },
      h("summary", {}, "The numbers"),
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, ["day", "inspected", "defect", "review"].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, byDay.filter(({ inspected }) => inspected).map((one) => h("tr", {}, h("th", { scope: "row" }, one.day), [one.inspected, one.defect, one.review].map((count) => h("td", {}, String(count)))))),
      ),
    ),
  );
}

function drift(found) {
  if (!found) return h("p", { class: "muted" }, "Drift: not tested (no calibration, or too few parts).");
  if (found.statistic === null) return h("p", { class: "muted" }, `Drift: ${plural(found.n, "part")} of this calibration, too few to compare.`);
  const numbers = `Kolmogorov–Smirnov ${found.statistic.toFixed(2)}, p ${found.p_value < 0.001 ? "< 0.001" : found.p_value.toFixed(3)}, ${plural(found.n, "part")}`;
  return found.drifted
    ? h("p", { class: "drift" }, h("b", {}, "Drift."), " The parts no longer score like the good ones of the calibration: its promises may not hold. Look at camera and light, then calibrate anew. ", h("span", { class: "muted" }, numbers))
    : h("p", {}, "No drift: the parts score like the good ones of the calibration. ", h("span", { class: "muted" }, numbers));
}
