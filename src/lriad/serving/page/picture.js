// Pictures of inspections: fetched when they come into view, with the heat-map laid over them on demand.

import { getPicture } from "./client.js";
import { h } from "./dom.js";

const near = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      entry.target.dispatchEvent(new CustomEvent("near"));
    }
  },
  { rootMargin: "400px" },
);

/** Fetch a picture into an element, unless it has moved on to another in the meantime; whether it is shown. */
async function show(image, inspection, kind, side, isWanted = () => true) {
  const blob = await getPicture(inspection, kind, side);
  if (!isWanted()) return false;
  const address = URL.createObjectURL(blob);
  try {
    image.src = address;
    await image.decode();
  } finally {
    URL.revokeObjectURL(address);
  }
  return isWanted();
}

/** A small picture of an inspection. */
export function thumbnail(inspection, side = 128) {
  const image = h("img", { alt: "", width: side, height: side, class: "waiting" });
  image.addEventListener("near", () => {
    show(image, inspection, "image", side).catch(() => {}).finally(() => image.classList.remove("waiting"));
  });
  near.observe(image);
  return image;
}

/** What the colours of a heat-map mean. */
function legend(inspection) {
  return inspection.deviation !== null && inspection.deviation !== undefined
    ? "Bright: unlike the good parts."
    : "Bright: what made the policy think of a defect.";
}

/**
 * A picture with its heat-map.
 *
 * `node`: the element. `show(inspection)`: which one. `toggle()`: heat-map on or off, resolved when it is seen.
 * `isOn`: whether it is. `onchange`: called when that changes.
 */
export class Picture {
  isOn = false;
  onchange = () => {};

  constructor(side) {
    this.side = side;
    this.image = h("img", { alt: "", class: "photo waiting" });
    this.heat = h("img", { alt: "", class: "heat", hidden: true });
    this.caption = h("figcaption", { class: "muted", role: "status" });
    this.frame = h("div", { class: "frame" }, this.image, this.heat);
    this.node = h("figure", { class: "picture" }, this.frame, this.caption);
    this.node.addEventListener("near", () => this.load());
  }

  show(inspection) {
    this.inspection = inspection;
    this.loading = null;
    this.heat.hidden = true;
    this.heat.removeAttribute("src");
    this.caption.textContent = "";
    this.image.removeAttribute("src");
    this.image.alt = `Photograph ${inspection.name}`;
    this.image.width = inspection.width || 1;
    this.image.height = inspection.height || 1;
    this.image.classList.add("waiting");
    near.observe(this.node);
  }

  load() {
    const { inspection } = this;
    this.loading ??= show(this.image, inspection, "image", this.side, () => this.isOf(inspection))
      .catch((error) => this.isOf(inspection) && this.say(`The picture cannot be shown: ${error.message}`))
      .finally(() => this.isOf(inspection) && this.image.classList.remove("waiting"));
    if (this.isOn) this.drawHeat();
    return this.loading;
  }

  isOf(inspection) {
    return this.inspection.id === inspection.id;
  }

  say(text) {
    this.caption.textContent = text;
  }

  async toggle() {
    this.isOn = !this.isOn;
    this.onchange(this.isOn);
    if (this.isOn) return this.drawHeat();
    this.heat.hidden = true;
    this.say("");
  }

  async drawHeat() {
    const { inspection } = this;
    this.say("The heat-map is being made …");
    try {
      const isWanted = () => this.isOn && this.isOf(inspection);
      if (!(await show(this.heat, inspection, "overlay", this.side, isWanted))) return;
      this.heat.alt = `Heat-map of ${inspection.name}${inspection.unusual_place ? `: most unusual ${inspection.unusual_place}` : ""}`;
      this.heat.hidden = false;
      this.say(legend(inspection));
    } catch (error) {
      if (this.isOf(inspection) && this.isOn) this.say(`No heat-map: ${error.message}`);
    }
  }
}

/** The button that goes with a picture. */
export function heatButton(picture, key = null) {
  const button = h(
    "button",
    { type: "button", class: "heat-button", "aria-pressed": "false", "aria-keyshortcuts": key, onclick: () => picture.toggle() },
    "Heat-map",
    key && [" ", h("kbd", {}, key)],
  );
  picture.onchange = (on) => button.setAttribute("aria-pressed", String(on));
  return button;
}

/** Fetch what will be looked at next. */
export function prefetch(inspection, side, withHeat) {
  getPicture(inspection, "image", side).catch(() => {});
  if (withHeat) getPicture(inspection, "overlay", side).catch(() => {});
}
