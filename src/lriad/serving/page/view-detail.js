// One inspection under an address of its own, with where its verdict comes from.

import { getInspection } from "./client.js";
import { h } from "./dom.js";
import { measureList } from "./reading.js";
import { Sheet } from "./sheet.js";
import { neighbours } from "./view-history.js";

export function createDetail() {
  const title = h("h1", {}, "Inspection");
  const before = h("a", { class: "button", "aria-keyshortcuts": "ArrowLeft" }, "Previous ", h("kbd", {}, "←"));
  const after = h("a", { class: "button", "aria-keyshortcuts": "ArrowRight" }, "Next ", h("kbd", {}, "→"));
  const list = h("a", { href: "#/history" }, "History");
  const takeBack = h("button", { type: "button", onclick: () => sheet.set(null) }, "Take the label back");
  const origin = h("div", {});
  const sheet = new Sheet({
    head: h("div", { class: "panel-head" }, h("div", { class: "row spread" }, title, list)),
    tools: [before, after],
    foot: [
      takeBack,
      h("details", { class: "more" }, h("summary", {}, "Where this verdict comes from"), origin),
    ],
    labelled: (changed) => show(changed),
  });
  const node = h("section", { class: "detail" });
  let wanted = null;

  function show(inspection) {
    if (sheet.node.parentNode !== node) node.replaceChildren(sheet.node);
    title.textContent = `Inspection ${inspection.id}`;
    list.href = neighbours(inspection.id).list;
    sheet.show(inspection);
    takeBack.hidden = !inspection.truth;
    for (const [link, id] of [[before, neighbours(inspection.id).before], [after, neighbours(inspection.id).after]]) {
      link.hidden = id === null;
      link.href = `#/inspection/${id}`;
    }
    origin.replaceChildren(
      measureList(
        [
          ["mode", inspection.mode],
          ["setting", inspection.setting],
          ["the text says", inspection.label],
          ["calibration", inspection.calibration?.slice(0, 16)],
          ["size", `${inspection.width} × ${inspection.height} pixels`],
          ["time", inspection.seconds === null ? null : `${inspection.seconds.toFixed(2)} s`],
          ["image (SHA-256)", inspection.image_sha256],
        ].filter(([, value]) => value),
      ),
    );
  }

  return {
    title: "Inspection",
    node,
    async enter(id) {
      wanted = id;
      if (!/^\d+$/.test(id ?? "")) return missing("There is no such inspection.");
      try {
        const inspection = await getInspection(id);
        if (wanted === id) show(inspection);
      } catch (error) {
        if (wanted === id) missing(error.message);
      }
    },
    key(event) {
      if (sheet.node.parentNode !== node || sheet.key(event)) return;
      if (event.key === "ArrowLeft" && !before.hidden) before.click();
      else if (event.key === "ArrowRight" && !after.hidden) after.click();
    },
  };

  function missing(text) {
    node.replaceChildren(h("div", { class: "empty" }, h("h1", {}, "Inspection"), h("p", { class: "problem" }, text), h("p", {}, h("a", { href: "#/history" }, "History"))));
  }
}
