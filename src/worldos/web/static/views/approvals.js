// Commands of great impact: what waits for me, what it would do, how far it is. Approve by passkey, or stop.
import { ask } from "/api.js";
import { badge, brief, button, card, code, count, dialog, empty, h, row, say, tag, when } from "/dom.js";
import { approve, possible } from "/passkey.js";

const CLASSES = ["reads", "can be undone", "costly", "physical", "cannot be undone"];
const IS = ["", "", "is ", "is ", ""];
const SHADES = { "carried out": "good", "carrying out": "accent", waiting: "warn", stopped: "bad", ended: "" };
const WAVES = { well: "done", "under way": "now", sick: "bad", stopped: "bad" };
const open = (one) => one.state === "waiting" || one.state === "carrying out";

export async function approvals(show, [id], again) {
  return id ? detail(show, id, again) : list(show);
}

async function list(show) {
  const [commands, state, policy] = await Promise.all([ask("guard_status"), ask("guard_state"), ask("guard_policy")]);
  commands.reverse();
  const line = (one) => h("a.row", { href: "#/approvals/" + one.id }, badge("check", SHADES[one.state] || "quiet"),
    h("div.what", {}, h("div.name", {}, brief(one.what)), h("div.more", {}, [one.realm_name, `${one.approvals.length} of ${one.needed} approvals`, one.proposer_name && `by ${one.proposer_name}`].filter(Boolean).join(" · "))),
    h("div.tags", {}, tag(CLASSES[one.cls], one.cls >= 3 ? "bad" : one.cls === 2 ? "warn" : ""), tag(one.state, SHADES[one.state])));
  const waiting = commands.filter(open), past = commands.filter((one) => !open(one));
  show(
    ...Object.entries(state.frozen).map(([realm, why]) => card(row(badge("stop", "bad"), "Frozen as it is", why, tag(realm.slice(0, 8), "bad")))),
    waiting.length ? card(...waiting.map(line)) : empty("Nothing waits for approval."),
    past.length && h("h2", {}, "Before"), past.length && card(...past.map(line)),
    h("h2", {}, "Who may approve"),
    ...(policy.length ? policy.map(roll) : [empty("No roll yet: ", code("wos guard policy --approver MACHINE=OWNER"))]),
  );
}

const roll = (one) => card(
  row(badge("people", "quiet"), `${one.realm_name} (${one.level})`, `${count(one.population, "node")} · ${count(one.waves_ppm.length || 1, "wave")} · soak ${one.soak_s} s`),
  ...one.approvers.map((approver) => row(badge(approver.name === "passkey" ? "key" : "machine", "quiet"), `${approver.owner}`,
    [approver.name, approver.institution].filter(Boolean).join(" · "), h("div.tags", {}, approver.human && tag("a person", "accent")))));

async function detail(show, id, again) {
  const [one] = await ask("guard_status", { command: id });
  const act = async (title, text, action, kind, run, done) => {
    if (!(await dialog(title, text, [], action, kind))) return;
    await run();
    await again();
    say(done);
  };
  const what = `${one.what}, on ${count(one.nodes, "node")} of ${one.realm_name}. It ${IS[one.cls]}${CLASSES[one.cls]}.`;
  const yes = () => act("Approve this?", `${what} Your passkey signs exactly this command.`, "Approve by passkey", "main", () => approve(one.id), "Approved by your passkey");
  const mine = () => act("Approve by this machine?", what, "Approve", "main", () => ask("guard_approve", { command: one.id }), "Approved by this machine");
  const stop = () => act("Stop it?", "No further node carries it out. What was done stays done.", "Stop it", "bad", () => ask("guard_stop", { command: one.id }), "Stopped");
  const pairs = {
    where: `${one.realm_name} (${one.level})`, nodes: one.nodes, impact: CLASSES[one.cls], "proposed by": one.proposer_name || one.proposer,
    approvals: `${one.approvals.length} of ${one.needed}` + (one.approvals.length ? ": " + one.approvals.map((approval) => approval.owner || approval.by.slice(0, 8)).join(", ") : ""),
    "still missing": one.missing, "this node": one.why === one.missing ? "" : one.why || one.outcome || one.state, note: one.note, ends: when(one.expires_s), command: one.id,
  };
  show(
    h("div.buttons", {}, h("a", { href: "#/approvals" }, "All"), tag(one.state, SHADES[one.state]), tag(CLASSES[one.cls], one.cls >= 3 ? "bad" : "")),
    h("p", {}),
    h("div.card.pad", {}, h("div.name", {}, one.what),
      h("div.steps", { role: "img", "aria-label": `${one.waves.length} waves` }, ...one.waves.map((wave) => h("i" + (WAVES[wave.state] ? "." + WAVES[wave.state] : ""), { title: `${wave.size} nodes: ${wave.state}` }))),
      h("p.more", {}, one.waves.map((wave, place) => `wave ${place}: ${count(wave.size, "node")}, ${wave.state}`).join(" · ")),
      h("dl.pairs", {}, ...Object.entries(pairs).filter(([, value]) => value !== "" && value !== undefined).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]))),
    h("p", {}),
    open(one) && h("div.buttons", {}, possible() && button("Approve by passkey", yes, "main"), button("By this machine", mine), button("Stop", stop, "bad")),
  );
}
