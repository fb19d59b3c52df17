// Inspect: pictures in, cards out.

import { ApiError, getInspection, inspect } from "./client.js";
import { announce, field, h, isTyping, moment, plural } from "./dom.js";
import { heatButton, Picture } from "./picture.js";
import { doubt, gauge, measureList, measures, reason, sign, standing } from "./reading.js";
import { productOf, station } from "./station.js";
import { setTruth, truthButtons, truthText } from "./truth.js";

const AT_A_TIME = 4;
// In seconds: until it is asked whether a picture is judged; until the next try where the station is busy, or silent.
const POLL = 1;
const BUSY = 2;
const SILENT = 5;
const SIDE = 640;
const PRODUCT = "lriad-product";
const NAMES = /\.(jpe?g|png|bmp|webp|tiff?|gif|jp2|ppm|pgm)$/i;
const WORDS = { defect: "defect", review: "to review", normal: "normal", failed: "not inspected" };

const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

export function createInspect() {
  const product = h("input", {
    type: "text", list: "products", name: "product", required: true, maxlength: 100, autocomplete: "off", spellcheck: "false",
    placeholder: "such as magnetic tile",
  });
  const products = h("datalist", { id: "products" });
  const productHint = h("span", { class: "hint", role: "status" });
  const group = h("input", { type: "text", name: "group", maxlength: 200, autocomplete: "off", spellcheck: "false" });
  const files = h("input", { type: "file", multiple: true, accept: "image/*", class: "visually-hidden", tabindex: "-1", "aria-label": "Pictures" });
  const folder = h("input", { type: "file", multiple: true, webkitdirectory: true, class: "visually-hidden", tabindex: "-1", "aria-label": "A folder of pictures" });
  const choose = h("button", { type: "button", class: "primary", onclick: () => files.click() }, "Choose pictures");
  const chooseFolder = h("button", { type: "button", class: "wide-only", onclick: () => folder.click() }, "Choose a folder");
  const waits = h("div", { class: "chips", hidden: true });
  const progress = h("p", { class: "progress-text" });
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Inspected", hidden: true });
  const stop = h("button", { type: "button", hidden: true, onclick: abandon }, "Stop");
  const filters = h("div", { class: "chips", role: "group", "aria-label": "Show", hidden: true });
  const batches = h("div", { class: "batches" });
  const drop = h(
    "div",
    { class: "drop" },
    h("p", { class: "drop-text wide-only" }, "Drop pictures or a folder anywhere on this page"),
    h("p", { class: "row" }, choose, chooseFolder),
    files,
    folder,
  );
  const node = h(
    "section",
    { class: "inspect" },
    h("h1", {}, "Inspect"),
    h(
      "form",
      { class: "feed", onsubmit: (event) => {
        event.preventDefault();
        take([]);
      } },
      h("div", { class: "fields" }, field("Product", product, productHint), waits, field("Part number, where several pictures show one part", group)),
      products,
      drop,
    ),
    h("div", { class: "progress" }, progress, bar, stop),
    filters,
    batches,
  );

  const queue = [];
  let unnamed = []; // files whose product is not named yet
  const counts = { defect: 0, review: 0, normal: 0, failed: 0 };
  let active = 0;
  let total = 0;
  let done = 0;
  let skipped = [];
  let pause = Promise.resolve();
  let pausing = "";

  product.value = localStorage.getItem(PRODUCT) ?? "";
  product.addEventListener("input", describeProduct);
  document.addEventListener("station", ({ detail }) => {
    products.replaceChildren(...detail.products.map(({ object_name }) => h("option", { value: object_name })));
    // Not where somebody is about to type: the name would stand before what is typed.
    const isFree = !product.value && !unnamed.length && document.activeElement !== product;
    if (isFree && detail.products.length === 1) product.value = detail.products[0].object_name;
    describeProduct();
  });

  function describeProduct() {
    const known = productOf(product.value);
    const promises = known?.calibration?.promises ?? [];
    productHint.textContent = !product.value.trim()
      ? ""
      : known
        ? [known.memory ? `Compared with good parts (${known.setting}).` : "Judged by the policy alone.", ...(promises.length ? ["Calibrated:", promises.join("; ")] : ["Not calibrated: no promise."])].join(" ")
        : "New to this station: judged by the policy alone. Not calibrated: no promise.";
  }

  files.addEventListener("change", () => chosen(files));
  folder.addEventListener("change", () => chosen(folder));
  // Wherever a picture is dropped: the browser would leave the page and show it.
  addEventListener("dragover", (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    drop.classList.add("over");
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && drop.classList.remove("over"));
  addEventListener("drop", async (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    drop.classList.remove("over");
    if (node.isConnected) take(await dropped(event.dataTransfer));
  });
  addEventListener("beforeunload", (event) => {
    if (total > done || unnamed.length) event.preventDefault();
  });

  function chosen(input) {
    const found = [...input.files];
    input.value = ""; // so that the same can be chosen again
    take(found);
  }

  async function take(more) {
    unnamed.push(...more);
    if (!unnamed.length) return;
    const name = product.value.trim();
    if (!name) {
      update();
      await askForProduct();
      return;
    }
    localStorage.setItem(PRODUCT, name);
    const chosen = unnamed;
    unnamed = [];
    waits.hidden = true;
    let limits;
    try {
      ({ limits } = await station());
    } catch (error) {
      unnamed.unshift(...chosen);
      update();
      askForProduct();
      document.dispatchEvent(new CustomEvent("trouble", { detail: error.message }));
      return;
    }
    skipped = [];
    const batch = newBatch(name);
    for (const file of chosen) {
      if (!file.type.startsWith("image/") && !NAMES.test(file.name)) {
        skipped.push(file.name);
        continue;
      }
      total += 1;
      if (file.size > limits.max_bytes) finish(newCard(batch), { name: file.name, error: `${mebibytes(file.size)}: the station takes ${mebibytes(limits.max_bytes)} at most` });
      else queue.push({ file, batch, objectName: name, group: group.value.trim() });
    }
    update();
    for (let free = AT_A_TIME - active; free > 0; free -= 1) work();
  }

  const waiting = () => `${plural(unnamed.length, "file waits", "files wait")} until the product is named.`;

  /** What is here waits: a known product is a button, a new one is typed. */
  async function askForProduct() {
    product.focus();
    announce(waiting());
    const known = (await station().catch(() => ({ products: [] }))).products;
    waits.hidden = unnamed.length === 0;
    waits.replaceChildren(
      ...known.map(({ object_name: name }) => h("button", { type: "button", onclick: () => {
        product.value = name;
        describeProduct();
        take([]);
      } }, name)),
      h("button", { class: "primary" }, "Inspect as typed"),
    );
  }

  async function work() {
    active += 1;
    while (queue.length) {
      const job = queue.shift();
      const card = newCard(job.batch);
      card.replaceChildren(h("p", { class: "card-name" }, job.file.name), sign("pending"));
      finish(card, await judged(job), job);
    }
    active -= 1;
    update();
  }

  /** The job's inspection, or `{name, error}`; waits where the station is busy or does not answer. */
  async function judged(job) {
    let inspection = null;
    for (;;) {
      await pause;
      try {
        inspection ??= await inspect(job.file, job.objectName, job.group); // what was accepted is not sent again
        while (inspection.state === "pending") {
          await wait(POLL);
          inspection = await getInspection(inspection.id);
        }
        return inspection;
      } catch (error) {
        if (!(error instanceof ApiError)) return { name: job.file.name, error: String(error) };
        if (![0, 429, 502, 503, 504].includes(error.status)) return { name: job.file.name, error: error.message };
        hold(error.retryAfter ?? (error.status === 0 ? SILENT : BUSY), error.status);
      }
    }
  }

  /** Nobody sends for so many seconds. */
  function hold(seconds, status) {
    if (pausing) return;
    pausing = status === 0 ? "The station does not answer" : "The station is busy";
    pausing += `: trying again in ${plural(Math.ceil(seconds), "second")}.`;
    pause = wait(seconds).then(() => {
      pausing = "";
      update();
    });
    update();
  }

  function abandon() {
    total -= queue.length;
    queue.length = 0;
    unnamed = [];
    waits.hidden = true;
    update();
    announce("Stopped. Pictures that were sent are still judged.");
  }

  /** What is chosen together stands together, in its order: nothing moves under the reader's eyes. */
  function newBatch(name) {
    const grid = h("div", { class: "cards" });
    const batch = h("section", { class: "batch" }, h("h2", {}, name, " ", h("small", {}, moment(new Date().toISOString()))), grid);
    batches.prepend(batch);
    return grid;
  }

  function newCard(batch) {
    const card = h("article", { class: "card" });
    batch.append(card);
    return card;
  }

  function finish(card, outcome, job = null) {
    done += 1;
    if (outcome.error || outcome.state !== "done") fail(card, outcome, job);
    else {
      counts[outcome.decision] += 1;
      fill(card, outcome);
      say(`${outcome.name}: ${outcome.decision}. ${done} of ${total} inspected.`);
    }
    update();
  }

  function fail(card, outcome, job) {
    counts.failed += 1;
    card.dataset.decision = "failed";
    const again = h("button", { type: "button", onclick: () => {
      card.remove();
      counts.failed -= 1;
      done -= 1;
      queue.push(job);
      update();
      if (active < AT_A_TIME) work();
    } }, "Try again");
    card.replaceChildren(h("p", { class: "card-name" }, outcome.name), sign("failed"), h("p", { class: "problem" }, outcome.error ?? outcome.state), job && again);
    say(`${outcome.name}: not inspected, ${outcome.error ?? outcome.state}`);
  }

  /** Only to those who have this view before them. */
  function say(text) {
    if (node.isConnected) announce(text);
  }

  function update() {
    const left = total - done;
    bar.hidden = total === 0;
    bar.max = total || 1;
    bar.value = done;
    stop.hidden = queue.length + unnamed.length === 0;
    const inspected = done - counts.failed;
    const parts = [];
    if (unnamed.length) parts.push(waiting());
    if (left > 0) parts.push(`${inspected} of ${plural(total, "picture")} inspected.`);
    else if (total > 0) parts.push(`${plural(inspected, "picture")} inspected.`);
    if (counts.failed) parts.push(`${counts.failed} could not be.`);
    if (pausing) parts.push(pausing);
    if (skipped.length) parts.push(`${plural(skipped.length, "file")} left out, not pictures: ${skipped.slice(0, 3).join(", ")}${skipped.length > 3 ? ", …" : ""}`);
    progress.textContent = parts.join(" ");
    const shown = batches.dataset.show ?? "all";
    filters.hidden = done === 0;
    const chips = [["all", `All ${done}`], ...Object.entries(counts).filter(([, count]) => count).map(([what, count]) => [what, `${count} ${WORDS[what]}`])];
    filters.replaceChildren(...chips.map(([what, text]) => h("button", { type: "button", "data-decision": what, "aria-pressed": String(what === shown), onclick: () => only(what) }, text)));
  }

  function only(what) {
    batches.dataset.show = what;
    update();
    filters.querySelector('[aria-pressed="true"]').focus();
  }

  document.addEventListener("inspection-changed", ({ detail }) => {
    for (const card of batches.querySelectorAll(`.card[data-id="${Number(detail.id)}"]`)) {
      card.dispatchEvent(new CustomEvent("inspection", { detail }));
    }
  });
  return { title: "Inspect", node, keepsPlace: true, enter() {} };
}

/** An inspection as a card that has keys of its own. */
function fill(card, inspection) {
  const picture = new Picture(SIDE);
  picture.show(inspection);
  const truth = h("div", { class: "card-truth" });
  const details = `#/inspection/${inspection.id}`;
  card.dataset.decision = standing(inspection);
  card.dataset.id = inspection.id;
  card.tabIndex = 0;
  card.setAttribute("aria-label", `${inspection.name}: ${inspection.decision}`);
  card.replaceChildren(
    picture.node,
    h("div", { class: "card-head" }, sign(standing(inspection)), heatButton(picture)),
    h("p", { class: "card-name" }, h("a", { href: details }, inspection.name), doubt(inspection)),
    gauge(inspection),
    reason(inspection),
    measureList(measures(inspection)),
    truth,
  );
  let now = inspection;
  const show = () => truth.replaceChildren(truthButtons(now), h("p", { class: "muted" }, truthText(now)));
  show();
  card.addEventListener("inspection", ({ detail }) => {
    const held = truth.contains(document.activeElement) ? document.activeElement.dataset.truth : null;
    now = detail;
    show();
    if (held) truth.querySelector(`[data-truth="${held}"]`).focus();
  });
  card.addEventListener("keydown", (event) => {
    if (isTyping(event)) return;
    const key = event.key.toLowerCase();
    if (key === "h") picture.toggle();
    else if (key === "d" || key === "n") setTruth(now, { label: key === "d" ? "defect" : "normal" });
    else if (key === "a" && now.decision !== "review") setTruth(now, { label: now.decision });
    else if (key === "o") location.hash = details;
    else return;
    event.preventDefault();
  });
}

const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** All files that were dropped, those in folders too. */
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  const found = [];
  await Promise.all(entries.map((entry) => walk(entry, found)));
  return found.sort((one, other) => (one.webkitRelativePath || one.name).localeCompare(other.webkitRelativePath || other.name, "en", { numeric: true }));
}

async function walk(entry, found) {
  if (entry.isFile) {
    found.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // Given in portions; an empty one ends it.
    const portion = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!portion.length) return;
    for (const child of portion) await walk(child, found);
  }
}
