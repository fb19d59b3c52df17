// One inspection, large: the picture, and beside it what was found and what a person says of it.

import { h, moment } from "./dom.js";
import { heatButton, Picture } from "./picture.js";
import { basis, doubt, gauge, measureList, measures, reason, sign, standing } from "./reading.js";
import { setTruth, truthText } from "./truth.js";

export const SIDE = 1600;

const TYPES = new Set();

export class Sheet {
  /**
   * `head`, `foot`: what the view puts above and below; `tools`: its buttons below the picture; `labelled(changed,
   * before)`: called after each label.
   */
  constructor({ head, tools, foot = null, labelled }) {
    this.labelled = labelled;
    this.picture = new Picture(SIDE);
    this.picture.frame.addEventListener("click", (event) => this.zoom(event));
    this.zoomButton = h("button", { type: "button", "aria-pressed": "false", "aria-keyshortcuts": "Z", onclick: () => this.zoom() }, "Zoom ", h("kbd", {}, "Z"));
    this.facts = h("div", { class: "facts" });
    this.types = h("datalist", { id: "types" });
    this.type = h("input", { type: "text", list: "types", maxlength: 60, autocomplete: "off", spellcheck: "false", "aria-keyshortcuts": "T" });
    this.note = h("input", { type: "text", maxlength: 500, autocomplete: "off" });
    for (const input of [this.type, this.note]) {
      input.addEventListener("keydown", (event) => {
        if (event.key === "Enter") this.set(input === this.type ? "defect" : (this.inspection.truth ?? "defect"));
        else if (event.key !== "Escape") return;
        event.preventDefault();
        this.node.focus({ preventScroll: true });
      });
    }
    this.truth = h("p", { class: "truth-now", role: "status" });
    this.accept = this.button("Accept", "Enter", "A", () => this.acceptVerdict());
    this.defect = this.button("Defect", "D", null, () => this.set("defect"));
    this.normal = this.button("Normal", "N", null, () => this.set("normal"));
    this.node = h(
      "div",
      { class: "sheet", tabindex: "-1" },
      h("div", { class: "stage" }, this.picture.node, h("p", { class: "row tools" }, heatButton(this.picture, "H"), this.zoomButton, h("span", { class: "gap" }), tools)),
      h(
        "div",
        { class: "panel" },
        head,
        this.facts,
        h(
          "div",
          { class: "judge" },
          this.truth,
          h("div", { class: "judge-buttons" }, this.accept, this.defect, this.normal),
          h(
            "details",
            { class: "more" },
            h("summary", {}, "Type of the defect, note ", h("kbd", {}, "T")),
            h("label", { class: "field" }, h("span", { class: "field-label" }, "Type of the defect (Enter: it is a defect of this type)"), this.type),
            h("label", { class: "field" }, h("span", { class: "field-label" }, "Note"), this.note),
            this.types,
          ),
          foot,
        ),
      ),
    );
    this.more = this.node.querySelector("details");
    // After the mouse the keys are the page's again: Enter accepts and presses nothing twice.
    this.node.addEventListener("click", (event) => event.detail > 0 && event.target.closest("button") && this.node.focus({ preventScroll: true }));
  }

  button(text, key, other, onclick) {
    return h("button", { type: "button", "aria-keyshortcuts": [key, other].filter(Boolean).join(" "), onclick }, h("span", {}, text), " ", h("kbd", {}, key));
  }

  show(inspection) {
    const isOther = this.inspection?.id !== inspection.id;
    this.inspection = inspection;
    if (isOther) {
      this.zoomTo(false);
      this.picture.show(inspection);
      this.type.value = inspection.defect_type ?? "";
      this.note.value = inspection.note ?? "";
      this.more.open = Boolean(inspection.defect_type || inspection.note);
    }
    const isDone = inspection.state === "done";
    this.facts.replaceChildren(
      h("p", { class: "verdict" }, sign(standing(inspection)), isDone && doubt(inspection)),
      h("p", { class: "name" }, inspection.name),
      h("p", { class: "muted" }, [inspection.object_name, inspection.group && `part ${inspection.group}`].filter(Boolean).join(" · "), " · ", moment(inspection.created_at)),
      ...(isDone
        ? [gauge(inspection), h("p", { class: "muted why" }, basis(inspection).why), reason(inspection), measureList(measures(inspection))]
        : [h("p", { class: "problem" }, inspection.error ?? "It is still being judged.")]),
    );
    this.truth.replaceChildren("Label: ", h("b", {}, truthText(inspection)));
    this.accept.disabled = !isDone || inspection.decision === "review";
    this.accept.classList.toggle("primary", !inspection.truth);
    this.accept.firstChild.textContent = !isDone ? "Accept" : inspection.decision === "review" ? "Yours to decide" : `Accept: ${inspection.decision}`;
    this.defect.setAttribute("aria-pressed", String(inspection.truth === "defect"));
    this.normal.setAttribute("aria-pressed", String(inspection.truth === "normal"));
  }

  acceptVerdict() {
    if (this.accept.disabled) {
      document.dispatchEvent(new CustomEvent("trouble", { detail: "The station leaves this one to you: D for defect, N for normal." }));
      return;
    }
    this.set(this.inspection.decision);
  }

  /** Label what is shown; one at a time, so that a key that is held down labels nothing that was not seen. */
  async set(truth) {
    if (this.busy) return;
    this.busy = true;
    const before = this.inspection;
    const type = truth === "defect" ? this.type.value.trim() : "";
    if (type) {
      TYPES.add(type);
      this.types.replaceChildren(...[...TYPES].map((value) => h("option", { value })));
    }
    try {
      const changed = await setTruth(before, truth && { label: truth, defect_type: type, note: this.note.value.trim() });
      if (!changed) return;
      if (this.inspection.id === changed.id) this.show(changed);
      await this.labelled(changed, before);
    } finally {
      this.busy = false;
    }
  }

  zoomTo(isOn) {
    const { frame } = this.picture;
    if (!isOn && frame.contains(document.activeElement)) this.node.focus({ preventScroll: true });
    frame.classList.toggle("zoomed", isOn);
    if (isOn) frame.tabIndex = 0;
    else frame.removeAttribute("tabindex");
    this.zoomButton.setAttribute("aria-pressed", String(isOn));
  }

  /** Zoom in on the place of a click, or on the middle; or out again. In a zoomed picture the arrow keys scroll. */
  zoom(event = null) {
    const { frame, image } = this.picture;
    const box = image.getBoundingClientRect();
    const x = event ? (event.clientX - box.left) / box.width : 0.5;
    const y = event ? (event.clientY - box.top) / box.height : 0.5;
    this.zoomTo(!frame.classList.contains("zoomed"));
    if (!frame.classList.contains("zoomed")) return;
    frame.scrollTo(x * frame.scrollWidth - frame.clientWidth / 2, y * frame.scrollHeight - frame.clientHeight / 2);
    frame.focus({ preventScroll: true });
  }

  /** The keys that all views of one inspection share; whether the key is none of the view's. */
  key(event) {
    const key = event.key.toLowerCase();
    if (event.repeat || (key.startsWith("arrow") && this.picture.frame.contains(event.target))) return true;
    if (key === "enter" && !event.target.closest("button, a, summary")) this.acceptVerdict();
    else if (key === "a") this.acceptVerdict();
    else if (key === "d") this.set("defect");
    else if (key === "n") this.set("normal");
    else if (key === "h") this.picture.toggle();
    else if (key === "z") this.zoom();
    else if (key === "t") {
      this.more.open = true;
      this.type.focus();
    } else return false;
    event.preventDefault();
    return true;
  }
}
