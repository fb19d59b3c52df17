// Export: what was labelled, as a folder to remember or to train with.

import { download, getInspections, getStatistics, hasToken } from "./client.js";
import { announce, h, plural } from "./dom.js";

export function createExport() {
  const body = h("div", { class: "products" });
  const node = h(
    "section",
    { class: "export" },
    h("h1", {}, "Export"),
    h("p", {}, "The labelled pictures as a zip of folders, one a product, with ", h("code", {}, "good/"), " and ", h("code", {}, "defect/"), " in it: what ", h("code", {}, "lriad"), " reads as ", h("code", {}, "folder:PATH"), "."),
    body,
    h("p", { class: "muted" }, "All that this page does, a program can do through the API", hasToken() ? "." : [": ", h("a", { href: "docs" }, "its description"), "."]),
  );

  return {
    title: "Export",
    node,
    async enter() {
      try {
        const { products } = await getStatistics();
        const labelled = products.filter((product) => product.labelled);
        const panels = await Promise.all(labelled.map(panel));
        if (labelled.length > 1) panels.push(everything(labelled));
        body.replaceChildren(...(panels.length ? panels : [h("p", { class: "large" }, "No labels yet. "), h("p", {}, h("a", { href: "#/review" }, "Review"), " some first.")]));
      } catch (error) {
        body.replaceChildren(h("p", { class: "problem" }, error.message));
      }
    },
  };
}

async function count(objectName, truth) {
  return (await getInspections({ object: objectName, truth, limit: 1 })).total;
}

async function panel(product) {
  const name = product.object_name;
  const [good, defects] = await Promise.all([count(name, "normal"), count(name, "defect")]);
  const { category } = product; // The folder's name in the zip.
  const zip = `${category}.zip`;
  const withDefects = defects >= 5 ? ` --defects labelled/${category}/defect` : "";
  return h(
    "article",
    { class: "product-panel" },
    h("h2", {}, name),
    h("p", {}, `${plural(product.labelled, "label")}: ${good} normal, ${plural(defects, "defect")}`),
    h("p", {}, downloadButton(`Download ${zip}`, `api/export?${new URLSearchParams({ object: name })}`, zip)),
    h("p", {}, "Then, in a terminal:"),
    command(`unzip ${zip} -d labelled`),
    h("p", {}, good < 10 ? "Good parts to compare with: ten are a start, thirty are better." : "Good parts to compare with:"),
    command(`lriad remember labelled/${category}/good${withDefects} \\\n    --object ${quoted(name)} --output ${category}.memory`),
    h("p", {}, "Or teach the policy. The embedded one gains more from good parts; large ones learn on a GPU."),
    command(`lriad train embedded-cpu data=folder:labelled output=runs/${category}`),
  );
}

function everything(labelled) {
  const total = labelled.reduce((sum, product) => sum + product.labelled, 0);
  return h("article", { class: "product-panel" }, h("h2", {}, "All products"), h("p", {}, plural(total, "label")), h("p", {}, downloadButton("Download labelled.zip", "api/export", "labelled.zip")));
}

function downloadButton(text, path, name) {
  const problem = h("span", { class: "problem", role: "status" });
  const button = h("button", { type: "button", class: "primary", onclick: async () => {
    button.disabled = true;
    problem.textContent = "";
    try {
      await download(path, name);
    } catch (error) {
      problem.textContent = ` ${error.message}`;
    }
    button.disabled = false;
  } }, text);
  return [button, problem];
}

/** Lines for a terminal, with a button that copies them. */
function command(text) {
  const copy = h("button", { type: "button", class: "quiet", onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
      announce("Copied");
    } catch {
      // Not allowed without https: marked, it can be copied by hand.
      getSelection().selectAllChildren(lines);
    }
  } }, "Copy");
  const lines = h("pre", {}, text);
  return h("div", { class: "command" }, lines, copy);
}

/** A shell's single word. */
const quoted = (text) => (/^[\w.-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
