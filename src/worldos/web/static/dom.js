// Elements, made of values. Whatever others named is text here and never markup.
export function h(tag, props, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const PATHS = {
  me: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8M4.5 20c.8-3.6 3.8-5.5 7.5-5.5s6.7 1.900 7.500 5.500",
  machine: "M4 5h16v11H4zM9 20h6M12 16v4",
  key: "M8.500 15.500a4 4 0 1 0 0-8 4 4 0 0 0 0 8M12.500 11.500H21M18 11.500v3.500M15 11.500v2.500",
  words: "M5 4h14v16H5zM8.500 9h7M8.500 12.500h7M8.500 16h4",
  people: "M9 11.500a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7M2.500 19.500c.6-3.300 3.200-5 6.500-5s5.900 1.700 6.500 5M16 5a3.500 3.500 0 0 1 0 6.500M18 14.800c2 .7 3.200 2.300 3.500 4.700",
  check: "M12 3l7.500 3v5.500c0 4.500-3 8-7.500 9.500-4.500-1.500-7.500-5-7.500-9.500V6zM8.500 12l2.500 2.500 4.500-5",
  work: "M4 6h9M4 12h16M4 18h6",
  run: "M7 4.500l12 7.500-12 7.500z",
  session: "M4 5h16v14H4zM7.500 9.500l3 2.500-3 2.500M12.500 15h4",
  role: "M4 7h16v13H4zM9 7V4h6v3M4 12.500h16M12 11v3",
  eye: "M2.500 12S6 5.500 12 5.500 21.500 12 21.500 12 18 18.500 12 18.500 2.500 12 2.500 12M12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6",
  log: "M6 4h12v16H6zM9 8.500h6M9 12h6M9 15.500h4",
  stop: "M8 3.500h8L20.500 8v8L16 20.500H8L3.500 16V8zM9 9l6 6M15 9l-6 6",
};
const SVG = "http://www.w3.org/2000/svg";
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": "1.7", "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" })) svg.setAttribute(key, value);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name] || PATHS.log);
  svg.append(path);
  return svg;
}

export const badge = (name, kind = "") => h("div.icon" + (kind && "." + kind), {}, icon(name));
export const tag = (text, kind = "") => h("span.tag" + (kind && "." + kind), {}, text);
export const row = (mark, name, more, ...rest) =>
  h("div.row", {}, mark, h("div.what", {}, h("div.name", {}, name), more && h("div.more", {}, more)), ...rest);
export const card = (...rows) => h("div.card", {}, ...rows);
export const empty = (...text) => h("div.card", {}, h("div.empty", {}, ...text));
export const code = (text) => h("code", {}, text);
export const button = (text, act, kind = "") => h("button" + (kind && "." + kind), { type: "button", onclick: (event) => guarded(act, event.currentTarget) }, text);
export const short = (id) => (id && id.length > 20 ? id.slice(0, 8) + "…" : id || "");

// Ids inside a sentence, for lists; where something is approved they stand in full.
export const brief = (text) => (text || "").replace(/[a-z2-7]{40,}/g, (id) => id.slice(0, 8) + "…");
export const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

let acting = null;
export function onFailure(handle) { acting = handle; }
// Run what a button does: once at a time, and with its failure said.
export async function guarded(act, element) {
  if (element) element.disabled = true;
  try { await act(); } catch (failure) { if (acting) acting(failure); } finally { if (element) element.disabled = false; }
}

export function say(text, hint = "", bad = false) {
  document.querySelector(".said")?.remove();
  const said = h("div.said" + (bad ? ".bad" : ""), { role: "status" }, text, hint && h("small", {}, hint));
  document.body.append(said);
  setTimeout(() => said.remove(), bad ? 9000 : 4000);
}

// Ask a person: resolves to the fields' values, or null.
export function dialog(title, text, fields = [], action = "Go on", kind = "main") {
  return new Promise((resolve) => {
    const inputs = fields.map((field) => field.options
      ? h("select", { name: field.name }, ...field.options.map((option) => h("option", { value: option }, option)))
      : h("input", { name: field.name, placeholder: field.placeholder || "", maxlength: 200, autocomplete: "off", value: field.value }));
    const done = (value) => { box.close(); box.remove(); resolve(value); };
    const form = h("form", { onsubmit: (event) => { event.preventDefault(); done(Object.fromEntries(inputs.map((input) => [input.name, input.value.trim()]))); } },
      h("h3", {}, title), h("p.lead", {}, text),
      ...inputs.map((input, place) => h("label", {}, fields[place].label, input)),
      h("div.buttons", {}, h("button", { type: "button", onclick: () => done(null) }, "Cancel"), h("button." + kind, { type: "submit" }, action)));
    const box = h("dialog", { oncancel: () => done(null) }, form);
    document.body.append(box);
    box.showModal();
  });
}

export function when(seconds) {
  if (!seconds) return "";
  const past = Date.now() / 1000 - seconds, far = Math.abs(past);
  const [size, unit] = far < 90 ? [1, "s"] : far < 5400 ? [60, "min"] : far < 129600 ? [3600, "h"] : [86400, "d"];
  return past >= 0 ? `${Math.round(far / size)} ${unit} ago` : `in ${Math.round(far / size)} ${unit}`;
}
