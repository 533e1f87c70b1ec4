// Sessions: begun on one device, gone on with on another. One of them writes.
import { ask, follow } from "/api.js";
import { badge, brief, button, code, count, dialog, empty, guarded, h, row, say, tag, when } from "/dom.js";

export async function sessions(show, [id], again) {
  return id ? one(show, id, again) : list(show);
}

async function list(show) {
  const [rows, inbox] = await Promise.all([ask("session_list"), ask("inbox")]);
  const start = async () => {
    const said = await dialog("Start a session", "This machine writes in it first; any other of yours can take over.", [{ name: "name", label: "Name", placeholder: "report" }], "Start");
    if (said?.name) location.hash = "#/sessions/" + (await ask("session_start", { name: said.name })).id;
  };
  const line = (one) => h("a.row", { href: "#/sessions/" + one.id }, badge("session", one.open ? "good" : "quiet"),
    h("div.what", {}, h("div.name", {}, one.name), h("div.more", {}, `${count(one.seq, "word")} · ${when(one.last_s)}`)),
    h("div.tags", {}, state(one)));
  show(rows.length ? h("div.card", {}, ...rows.map(line)) : empty("No session yet. What you begin here goes on on your phone, and what you begin there goes on here."),
    h("p", {}), button("Start a session", start, "main"),
    inbox.length && h("h2", {}, "Sent to you"),
    inbox.length && h("div.card", {}, ...inbox.map((one, place) => row(badge(one.kind === "sealed" ? "stop" : "words", "quiet"), one.title || one.kind,
      [`from ${one.by_name || brief(one.by)}`, when(one.at_s), one.note].filter(Boolean).join(" · "), h("div.tags", {}, tag(one.kind), !one.verified && tag("nobody you know", "warn")), code(`wos inbox open ${place + 1}`)))));
  return every(4, () => sessionsSeen(rows) && location.hash === "#/sessions" && list(show));
}
const sessionsSeen = (rows) => rows && !document.querySelector("dialog");

function every(seconds, act) {
  const timer = setInterval(() => { act()?.catch?.(() => {}); }, seconds * 1000);
  return () => clearInterval(timer);
}

const state = (one) => [
  !one.readable ? tag("sealed: not for this device", "bad") : one.open ? tag(one.here ? "writes here" : `${one.writer_name} writes`, one.here ? "accent" : "") : tag("ended"),
  one.aside ? tag(`${one.aside} aside`, "warn") : null].filter(Boolean);

function one(show, id, again) {
  const flow = h("div.flow", { "aria-live": "polite", tabindex: "0" }), head = h("div.tags", {}), foot = h("div", {});
  const words = new Map();
  let here = null;
  const heard = ({ progress, answer, error, message, hint }) => {
    if (error) throw Object.assign(new Error(message), { hint });
    const said = progress || {};
    if (said.row || answer) draw(said.row || answer);
    for (const op of said.op ? [said.op] : answer?.ops || []) put(op);
  };
  const put = (op) => {
    const low = flow.scrollHeight - flow.scrollTop - flow.clientHeight < 60;
    const shown = opLine(op);
    if (words.has(op.seq)) words.get(op.seq).replaceWith(shown); else flow.append(shown);
    words.set(op.seq, shown);
    if (low) flow.scrollTop = flow.scrollHeight;
  };
  const draw = (now) => {
    here = now;
    document.querySelector("h1").textContent = now.name;
    head.replaceChildren(...state(now));
    const input = h("input", { name: "text", placeholder: "Write on …", maxlength: 4000, autocomplete: "off", "aria-label": "Text" });
    const write = h("form.line", { onsubmit: (event) => { event.preventDefault(); guarded(async () => {
      if (!input.value) return;
      await ask("session_say", { session: here.id, text: input.value });
      input.value = "";
    }); } }, input, h("button.main", { type: "submit" }, "Send"));
    const take = button("Take over here", async () => { draw(await ask("session_move", { session: here.id })); say("This machine writes now"); }, "main");
    const end = button("End", async () => {
      if (!(await dialog(`End ${here.name}?`, "For all your devices, for good. What was written stays to be read.", [], "End it", "bad"))) return;
      draw(await ask("session_end", { session: here.id }));
    }, "bad");
    const wasWriting = foot.querySelector("input");
    if (wasWriting && now.open && now.here) return;
    foot.replaceChildren(...(!now.open || !now.readable ? [] : now.here ? [write, h("p", {}), end]
      : [h("p.lead", {}, `${now.writer_name} writes. You can read along, or go on yourself.`), take]));
  };
  show(h("div.buttons", {}, h("a", { href: "#/sessions" }, "All sessions"), head), h("p", {}), flow, foot);
  return follow("session", { session: id, follow: true }, heard, (failure) => { flow.append(h("div.by", {}, failure.message)); });
}

function opLine(op) {
  const by = h("span.by", {}, `${op.by_name || "?"}  `);
  if (op.kind === "say") return h("div", {}, by, h("span.say", {}, op.text));
  if (op.kind === "out") return h("div", {}, op.text);
  const what = { start: "began it", move: "goes on with it", end: "ended it" }[op.kind] || op.kind;
  return h("div.by", {}, `— ${op.by_name || "?"} ${what} ${when(op.at_s)}`);
}
