
"use strict";

// The gallery: filters, pages and cards of the records in #data. What a record says is only ever set as text.
(() => {
  const PAGE = 24;
  const MISSING = {
    path: "No picture: no data set was named",
    file: "No picture: the file cannot be read",
    room: "No picture: the report would be too large",
  };

  const records = JSON.parse(document.getElementById("data").textContent);
  const form = document.getElementById("filters");
  const cards = document.getElementById("cards");
  const count = document.getElementById("count");
  const pages = document.getElementById("pages");
  const kinds = Array.from(form.querySelectorAll('input[name="kind"]'));
  const nameOf = new Map(kinds.map((box) => [box.value, box.nextElementSibling.firstChild.data.trim()]));
  const rankedBy = form.querySelector(".range legend").textContent;
  const searched = records.map((record) =>
    [record.id, record.category, record.type, record.place, record.reasoning].join("\n").toLowerCase(),
  );
  let shown = [];
  let page = 0;

  function element(tag, className = "", text = "") {
    const made = document.createElement(tag);
    made.className = className;
    made.textContent = text;
    return made;
  }

  function filter() {
    const { category, text, low, high } = form.elements;
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const [least, most] = [low.valueAsNumber, high.valueAsNumber];
    const others = records.flatMap((record, i) => {
      const fits =
        (!category.value || record.category === category.value) &&
        words.every((word) => searched[i].includes(word)) &&
        !(least > record.value || most < record.value) &&
        ((Number.isNaN(least) && Number.isNaN(most)) || record.value !== undefined);
      return fits ? [record] : [];
    });
    const wanted = new Set(kinds.filter((box) => box.checked).map((box) => box.value));
    shown = wanted.size ? others.filter((record) => wanted.has(record.kind)) : others;
    for (const box of kinds) {
      const number = others.reduce((sum, record) => sum + (record.kind === box.value), 0);
      box.nextElementSibling.lastElementChild.textContent = number;
    }
    page = 0;
    show();
  }

  function show() {
    const first = page * PAGE;
    const last = Math.min(first + PAGE, shown.length);
    cards.replaceChildren(...shown.slice(first, last).map(card));
    for (const paragraph of cards.querySelectorAll(".reasoning")) {
      if (paragraph.scrollHeight <= paragraph.clientHeight) paragraph.nextElementSibling.remove();
    }
    count.textContent = shown.length
      ? `${first + 1} to ${last} of ${shown.length} ${shown.length === 1 ? "image" : "images"}`
      : "No image fits these filters.";
    const total = Math.ceil(shown.length / PAGE);
    pages.hidden = total < 2;
    pages.querySelector("span").textContent = `Page ${page + 1} of ${total}`;
    const [previous, next] = pages.querySelectorAll("button");
    previous.disabled = page === 0;
    next.disabled = page >= total - 1;
  }

  function card(record) {
    const item = element("li");
    const picture = item.appendChild(element("div", "picture"));
    const said = item.appendChild(element("div", "said"));
    const top = said.appendChild(element("div", "top"));
    top.append(element("span", `badge ${record.kind}`, nameOf.get(record.kind)));
    if (record.picture) {
      const frame = picture.appendChild(drawn(record));
      if (record.heatmap || record.boxes) top.append(toggle(frame, record.heatmap ? "Heat-map" : "Boxes"));
    } else {
      picture.append(element("p", "none", MISSING[record.missing]));
    }
    if (rankedBy === "p_defect" && record.p_defect !== undefined) said.append(bar(record));
    said.append(facts(record));
    if (record.reasoning) said.append(...reasoning(record.reasoning));
    const named = record.id.startsWith(`${record.category}/`) ? record.id : `${record.category} · ${record.id}`;
    said.append(element("p", "name", named));
    return item;
  }

  function drawn(record) {
    const frame = element("div", "frame");
    const [width, height] = record.size;
    frame.style.aspectRatio = `${width} / ${height}`;
    // As large as fits into the box that holds it.
    frame.style.width = `min(100%, calc(var(--picture) * ${width / height}))`;
    const photograph = frame.appendChild(element("img"));
    photograph.src = `data:image/jpeg;base64,${record.picture}`;
    photograph.alt = `${record.category}, ${nameOf.get(record.kind).toLowerCase()}: ${record.id}`;
    if (record.heatmap) {
      const heatmap = frame.appendChild(element("img", "heatmap"));
      heatmap.src = `data:image/png;base64,${record.heatmap}`;
      heatmap.alt = "Heat-map: the brighter, the more suspicious";
    }
    if (record.boxes) {
      const boxes = frame.appendChild(element("div", "boxes"));
      for (const [left, upper, right, lower] of record.boxes) {
        const box = boxes.appendChild(element("i"));
        box.style.left = `${(100 * left) / width}%`;
        box.style.top = `${(100 * upper) / height}%`;
        box.style.width = `${(100 * (right - left)) / width}%`;
        box.style.height = `${(100 * (lower - upper)) / height}%`;
      }
    }
    return frame;
  }

  function toggle(frame, name) {
    const button = element("button", "", name);
    button.type = "button";
    const set = (on) => {
      frame.classList.toggle("plain", !on);
      button.setAttribute("aria-pressed", on);
    };
    set(Boolean(form.elements.heatmaps?.checked));
    button.addEventListener("click", () => set(frame.classList.contains("plain")));
    return button;
  }

  function bar(record) {
    const made = element("div", "bar");
    made.append(element("i"));
    made.firstChild.style.width = `${100 * record.p_defect}%`;
    for (const limit of new Set([record.normal_below, record.threshold])) {
      if (limit === undefined) continue;
      made.append(element("b"));
      made.lastChild.style.left = `${100 * limit}%`;
    }
    made.setAttribute("aria-hidden", "true"); // The numbers stand below.
    return made;
  }

  function facts(record) {
    const list = element("dl", "facts");
    const add = (name, value) => {
      if (value !== undefined && value !== "") list.append(element("dt", "", name), element("dd", "", value));
    };
    add("Truth", record.type ? `${record.truth} (${record.type})` : record.truth);
    add("Decided", record.decision);
    if (record.label !== record.decision) add("Answer", record.label);
    add("p_defect", record.p_defect);
    const banded = record.normal_below !== undefined && record.normal_below !== record.threshold;
    if (banded && rankedBy === "p_defect") add("Normal below", record.normal_below);
    add(banded ? "Defect from" : "Threshold", record.threshold);
    add("P(defect), calibrated", record.probability);
    if (rankedBy === "score") {
      add("Score", record.value);
      add("Normal below", record.normal_below);
    }
    add("Alarm rate", record.alarm_rate);
    add("Deviation", record.deviation);
    add("Unusual place", record.place);
    return list;
  }

  function reasoning(text) {
    const paragraph = element("p", "reasoning short", text);
    const more = element("button", "more", "More");
    more.type = "button";
    more.setAttribute("aria-expanded", "false");
    more.addEventListener("click", () => {
      const short = paragraph.classList.toggle("short");
      more.textContent = short ? "More" : "Less";
      more.setAttribute("aria-expanded", !short);
    });
    return [paragraph, more];
  }

  form.addEventListener("input", (event) => (event.target.name === "heatmaps" ? show() : filter()));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.elements.all.addEventListener("click", () => {
    form.reset();
    filter();
  });
  pages.addEventListener("click", (event) => {
    if (!event.target.dataset.step) return;
    page += Number(event.target.dataset.step);
    show();
    document.getElementById("images").scrollIntoView();
  });
  for (const link of document.querySelectorAll("a[data-kinds]")) {
    link.addEventListener("click", () => {
      form.reset();
      const wanted = link.dataset.kinds.split(" ");
      for (const box of kinds) box.checked = wanted.includes(box.value);
      filter();
    });
  }

  const present = new Set(records.map((record) => record.kind));
  for (const box of kinds) box.parentElement.hidden = !present.has(box.value);
  const categories = Array.from(new Set(records.map((record) => record.category))).sort();
  form.elements.category.append(...categories.map((name) => new Option(name, name)));
  form.hidden = false;
  filter();
})();
