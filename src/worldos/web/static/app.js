// The page: comes in by its link, shows one view at a time, and says what went wrong.
import { ask, enter, leave, onPresence, secret } from "/api.js";
import { h, icon, onFailure, say } from "/dom.js";
import { prove } from "/passkey.js";
import { VIEWS } from "/views.js";

const app = document.getElementById("app");
let ended = null, drawing = 0;

onFailure(fail);
onPresence(prove);

function fail(failure) {
  console.error(failure);
  if (!secret()) { door(failure.message, failure.hint); return; }
  say(failure.message, failure.said?.because || failure.hint || "", true);
}

function door(title, text) {
  ended?.(); ended = null;
  app.replaceChildren(h("div.gate", {}, h("div.card", {}, h("img", { src: "/icon.svg", alt: "" }), h("h1", {}, "World OS"),
    h("p.lead", {}, title || "You are not signed in here"), h("p", {}, text || "", " "), h("p.mono", {}, "wos page --link"))));
}

function shell(current) {
  const links = Object.entries(VIEWS).map(([name, view]) =>
    h("a", { href: "#/" + name, "aria-current": name === current ? "page" : undefined, "data-view": name }, icon(view.icon), view.title));
  const main = h("main", { tabindex: "-1" });
  mark();
  app.replaceChildren(h("div.shell", {},
    h("nav", { "aria-label": "Views" }, h("div.brand", {}, h("img", { src: "/icon.svg", alt: "" }), "World OS"), ...links), main));
  return main;
}

// How many commands wait for a person, beside the word Approvals.
async function mark() {
  const waiting = (await ask("guard_status").catch(() => [])).filter((one) => one.state === "waiting" && one.missing).length;
  document.querySelector(".badge")?.remove();
  if (waiting) document.querySelector("nav [data-view=approvals]")?.append(h("span.badge", { "aria-label": `${waiting} waiting` }, String(waiting)));
}

async function draw() {
  ended?.(); ended = null;
  document.querySelector(".said")?.remove();
  const [name, ...rest] = location.hash.replace(/^#\//, "").split("/").map(decodeURIComponent);
  const view = VIEWS[name] || VIEWS.me, turn = ++drawing;
  document.title = `${view.title} · World OS`;
  const main = shell(VIEWS[name] ? name : "me");
  const show = (...children) => { if (turn === drawing) main.replaceChildren(...[h("div.top", {}, h("div", {}, h("h1", {}, view.title), h("p.lead", {}, view.lead))), ...children].filter((child) => child)); };
  try { const end = await view.draw(show, rest, draw); if (turn === drawing) ended = end || null; else end?.(); } catch (failure) {
    show(h("div.card", {}, h("div.empty", {}, failure.message, h("div", {}, failure.hint || ""))));
    fail(failure);
  }
}

async function begin() {
  const link = new URLSearchParams(location.hash.slice(1)).get("in");
  if (link) {
    history.replaceState(null, "", "/#/me");
    try { await enter(link); } catch (failure) { if (!secret()) { door(failure.message, failure.hint); return; } }
  }
  if (!secret()) { door(); return; }
  await draw();
}

addEventListener("hashchange", () => (location.hash.startsWith("#in=") ? begin() : secret() && draw()));
addEventListener("wos-leave", async () => { await leave(); door("You left", "Come in again by a new link:"); });
begin();
