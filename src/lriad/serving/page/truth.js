// What a person says of a part: the label of an inspection.

import { label } from "./client.js";
import { announce, h } from "./dom.js";

/** The label in words, and how it compares with the verdict. */
export function truthText(inspection) {
  if (!inspection.truth) return "not labelled";
  const kind = inspection.defect_type ? ` (${inspection.defect_type})` : "";
  return `${inspection.corrected ? "corrected: it is" : "confirmed:"} ${inspection.truth}${kind}`;
}

/** Two buttons that say what a part truly is; a press on what is chosen already takes the label back. */
export function truthButtons(inspection) {
  const button = (truth, text) =>
    h(
      "button",
      {
        type: "button",
        "data-truth": truth,
        "aria-pressed": String(inspection.truth === truth),
        onclick: () => setTruth(inspection, inspection.truth === truth ? null : { label: truth }),
      },
      text,
    );
  return h(
    "div",
    { class: "truth", role: "group", "aria-label": `What ${inspection.name} truly is` },
    h("span", { class: "truth-label" }, "Truly"),
    button("normal", "Normal"),
    button("defect", "Defect"),
  );
}

/** Label an inspection and say so; null where the station refused. */
export async function setTruth(inspection, truth) {
  try {
    const changed = await label(inspection.id, truth && { label: truth.label, defect_type: truth.defect_type || null, note: truth.note || null });
    announce(`${changed.name}: ${truthText(changed)}`);
    return changed;
  } catch (error) {
    document.dispatchEvent(new CustomEvent("trouble", { detail: error.message }));
    return null;
  }
}
