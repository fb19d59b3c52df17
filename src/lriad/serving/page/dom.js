// Elements. Text from outside (file names, reasons, product names) only ever becomes text nodes and attribute values.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `on…` properties are listeners, `true` is an attribute without a value, null and false are left out. */
export function h(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** The same for SVG. */
export function svg(tag, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children);
}

function filled(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Say something to whoever listens rather than looks. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

/** Whether a key press belongs to what is being typed or to the browser, and not to the page's shortcuts. */
export function isTyping(event) {
  const target = event.target;
  return (
    event.ctrlKey || event.metaKey || event.altKey || event.isComposing ||
    target.matches?.("input:not([type=checkbox]), textarea, select") || document.querySelector("dialog[open]") !== null
  );
}

/** A choice of one. `options`: pairs of value and text. */
export function select(properties, options, chosen) {
  const node = h("select", properties, options.map(([value, text]) => h("option", { value }, text)));
  node.value = chosen;
  if (node.value !== chosen) node.value = options[0][0];
  return node;
}

/** A control with its label above. */
export function field(label, control, hint = null) {
  return h("label", { class: "field" }, h("span", { class: "field-label" }, label), control, hint);
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** A moment in the reader's time zone. */
export function moment(iso) {
  return h("time", { datetime: iso, title: iso }, DAY.format(new Date(iso)));
}
