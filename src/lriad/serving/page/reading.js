// What an inspection says, as one reads it: the verdict's sign, the gauge of what decided, the measures beside it.

import { h, svg } from "./dom.js";

const DECISIONS = {
  defect: { word: "Defect", shape: [["path", { d: "M12 1 23 12 12 23 1 12Z", fill: "currentColor" }]] },
  normal: { word: "Normal", shape: [["circle", { cx: 12, cy: 12, r: 9, fill: "none", stroke: "currentColor", "stroke-width": 3 }]] },
  review: {
    word: "Review",
    shape: [
      ["circle", { cx: 12, cy: 12, r: 9, fill: "none", stroke: "currentColor", "stroke-width": 3 }],
      ["path", { d: "M12 3a9 9 0 0 1 0 18Z", fill: "currentColor" }],
    ],
  },
  pending: { word: "Judging …", shape: [["circle", { cx: 12, cy: 12, r: 9, fill: "none", stroke: "currentColor", "stroke-width": 2, "stroke-dasharray": "3 4" }]] },
  failed: { word: "Not inspected", shape: [["path", { d: "M4 4 20 20M20 4 4 20", stroke: "currentColor", "stroke-width": 3 }]] },
};

/** What to call an inspection: its decision, or the state that it is in for want of one. */
export function standing(inspection) {
  if (inspection.state === "done") return inspection.decision;
  return inspection.state === "pending" ? "pending" : "failed";
}

/** A verdict's shape and word. Shape, word and colour all say the same, so that none is needed. */
export function sign(what) {
  const { word, shape } = DECISIONS[what];
  return h(
    "span",
    { class: "sign", "data-decision": what },
    svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, shape.map(([tag, properties]) => svg(tag, properties))),
    h("span", {}, word),
  );
}

/** A number in [0, 1]: two digits, more near the ends, where the difference between 0.004 and 0.0004 matters. */
export function share(value) {
  if (value > 0 && value < 0.0005) return "< 0.001";
  if (value < 1 && value > 0.9995) return "> 0.999";
  return value.toFixed(value < 0.01 || value > 0.99 ? 3 : 2);
}

/** The number with as many digits as it takes to see on which side of the limits it lies. */
function beside(value, limits, format) {
  const clash = limits.find((limit) => limit !== value && format(limit) === format(value));
  return clash === undefined ? format(value) : minus(value.toPrecision(Math.min(12, 1 - Math.floor(Math.log10(Math.abs(value - clash))))));
}

const minus = (text) => text.replace("-", "−");
const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`;
const percent = (value) => `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`;

// Of a memory's score, in standard deviations: about where the 5 % least usual good parts begin.
const BORDER = 2;
const PROMISED = 0.05;

/** Whether an alarm rate is 1 / (1 + n), the lowest that n good parts can give. */
function isLowest({ alarm_rate: rate, limit, setting }) {
  // Parts of one group are compared with fewer than the setting says; so few put the limit there.
  return rate === 1 / (1 + Number.parseInt(setting, 10)) || (rate === limit && limit > PROMISED);
}

/**
 * What the decision rests on: `name`, `value`, the limits (`normalBelow`, `defectFrom`; equal: one threshold; null:
 * none known), `text` of a number, `at`: its place on a scale from 0 (unsuspicious) to 1, and `why` in words. Where the
 * value says less than is known: `words` in its place, `needle`: where it stands.
 */
export function basis(inspection) {
  const { decided_by: by, limit, score, alarm_rate: rate } = inspection;
  const limits = { normalBelow: inspection.normal_below ?? limit, defectFrom: limit };
  const p = { name: "p of a defect", value: inspection.p_defect, ...limits, text: share, at: (value) => value };
  const calibrated = inspection.calibration && "Decided by a calibration.";
  if (by === "p_defect") return { ...p, why: calibrated ?? "Decided by the threshold on p." };
  if (by === "score") {
    const why = calibrated ?? "Decided by comparison with labelled parts.";
    const found = { ...p, name: "score", value: score, why };
    if ([score, limits.normalBelow, limit].every((value) => value >= 0 && value <= 1)) return found;
    const low = Math.min(-2, limits.normalBelow - 3);
    const high = Math.max(6, limit + 3);
    return { ...found, text: (value) => minus(value.toFixed(2)), at: (value) => (value - low) / (high - low) };
  }
  if (by === "alarm_rate") {
    // The rarer a good part like this, the more suspicious: the scale runs from 100 % on the left to 0.5 % on the right.
    const at = (value) => Math.log(1 / value) / Math.log(200);
    const found = { ...p, name: "alarm rate", value: rate, text: percent, at };
    if (!isLowest(inspection)) return { ...found, why: `Decided by comparison with good parts, of which ${percent(rate)} would be as unusual.` };
    // However far it is from all good parts, the rate stays: the score says how far.
    const beyond = Math.max(0, score - BORDER);
    return {
      ...found,
      words: "as unusual as none of the good parts",
      needle: at(limit) + (1 - at(limit)) * (1 + beyond) / (4 + beyond),
      why: `Decided by comparison with good parts, none of which is as unusual: ${percent(rate)} is the lowest rate that so many can give.`,
    };
  }
  return { ...p, why: by ? "Decided by the policy's own word: no threshold is set." : "What decided was not kept then." };
}

/** The gauge: a scale that is thin where parts pass and thick where they do not, its limits, and a needle. */
export function gauge(inspection) {
  const { name, value, normalBelow, defectFrom, text, at, why, words, needle } = basis(inspection);
  if (value === null) return h("p", { class: "gauge-none" }, "No probability was given. ", why);
  const known = defectFrom !== null && defectFrom !== undefined;
  const limits = known ? [...new Set([normalBelow, defectFrom])] : [];
  const onScale = (part) => `${(100 * Math.min(1, Math.max(0, part))).toFixed(2)}%`;
  const place = (number) => onScale(at(number));
  const shown = beside(value, limits, text);
  const threshold = !known
    ? "no threshold"
    : limits.length === 1
      ? `${name === "alarm rate" ? "limit" : "threshold"} ${beside(defectFrom, [value], text)}`
      : `normal below ${beside(normalBelow, [value], text)}, defect from ${beside(defectFrom, [value], text)}`;
  const said = words ? `${name} ${shown}, ${threshold}` : threshold;
  const scale = h(
    "div",
    { class: "gauge-scale" },
    known && h("span", { class: "gauge-defect" }),
    known && limits.length > 1 && h("span", { class: "gauge-review" }),
    limits.map(() => h("span", { class: "gauge-limit" })),
    h("span", { class: "gauge-needle" }),
  );
  scale.style.setProperty("--value", needle === undefined ? place(value) : onScale(needle));
  scale.dataset.decision = standing(inspection);
  if (known) {
    scale.style.setProperty("--normal-below", place(normalBelow));
    scale.style.setProperty("--defect-from", place(defectFrom));
    scale.querySelectorAll(".gauge-limit").forEach((tick, index) => tick.style.setProperty("--limit", place(limits[index])));
  }
  return h(
    "div",
    { class: "gauge", role: "group", "aria-label": "What decided", title: why },
    h(
      "p",
      { class: "gauge-text" },
      words ? h("span", {}, h("b", {}, words)) : h("span", {}, `${name} `, h("b", {}, shown)),
      h("span", { class: "gauge-limits" }, said),
    ),
    scale,
  );
}

/** How doubtful a verdict is: five steps and the number. */
export function doubt(inspection) {
  if (inspection.doubt === null || inspection.doubt === undefined) return null;
  const steps = Math.round(5 * inspection.doubt);
  return h(
    "span",
    { class: "doubt" },
    "doubt ",
    h("span", { class: "doubt-steps", "aria-hidden": "true" }, [1, 2, 3, 4, 5].map((step) => h("i", { class: step <= steps && "on" }))),
    ` ${inspection.doubt.toFixed(2)}`,
  );
}

/** The measures that do not decide but help to judge, as pairs of name and text. */
export function measures(inspection) {
  const decisive = basis(inspection).name;
  const found = [];
  const add = (name, value, text) => {
    if (value !== null && value !== undefined && name !== decisive) found.push([name, text(value)]);
  };
  add("calibrated probability", inspection.probability, share);
  add("p of a defect", inspection.p_defect, share);
  add("score", inspection.score, (value) => minus(value.toFixed(2)));
  add("alarm rate", inspection.alarm_rate, percent);
  add("deviation", inspection.deviation, (value) => `${signed(value)} sd from good parts`);
  add("most unusual place", inspection.unusual_place, (value) => value);
  return found;
}

export function measureList(pairs) {
  return h("dl", { class: "measures" }, pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** The policy's reason. Where the label in its text is not what was decided, that is said. */
export function reason(inspection) {
  const quiet = inspection.mode === "fast" ? "Fast mode: no reasoning was written." : "No reasoning was written.";
  const { name } = basis(inspection);
  const decides = inspection.decided_by ? `; what decides is ${name === "p of a defect" ? "its p" : `the ${name}`}` : "";
  const contradicts = inspection.label && inspection.label !== inspection.decision;
  return h(
    "div",
    { class: "reason" },
    inspection.reasoning ? h("p", {}, inspection.reasoning) : h("p", { class: "muted" }, quiet),
    contradicts && h(
      "p",
      { class: "muted" },
      inspection.label === "unparsable" ? "The text reaches no answer." : `The policy's own word is ${inspection.label}${decides}.`,
    ),
  );
}
