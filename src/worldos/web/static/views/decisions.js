// What was decided on this machine, and why. Each line can be proven and replayed: wos audit.
import { ask } from "/api.js";
import { badge, brief, button, card, code, empty, h, row, short, tag, when } from "/dom.js";

const KINDS = { granted: "good", matched: "good", refused: "warn", unmatched: "warn", quarantine: "bad", preempted: "warn", erased: "" };

export async function decisions(show, [number], again) {
  if (number !== undefined) return one(show, Number(number));
  let count = 50;
  const draw = async () => {
    const [rows, witnesses, nodes] = await Promise.all([ask("decisions", { count }), ask("witnesses"), ask("nodes")]);
    const line = (entry) => h("a.row", { href: "#/decisions/" + entry.number }, badge("log", KINDS[entry.kind] || "quiet"),
      h("div.what", {}, h("div.name", {}, brief(entry.what) || entry.kind), h("div.more", {}, entry.why)),
      h("div.tags", {}, tag(entry.kind, KINDS[entry.kind]), tag(`${entry.number} · ${when(entry.at_s)}`)));
    const known = Object.fromEntries(nodes.map((node) => [node.node, node.name]));
    const names = witnesses.by.filter((one) => one.size > 0).map((one) => known[one.node] || short(one.node));
    show(
      witnesses.forks.length > 0 && card(row(badge("stop", "bad"), "Two histories", "A log was shown in two versions; the proof is kept.", code("wos audit witness"))),
      card(row(badge("people", names.length ? "good" : "quiet"), names.length ? `Witnessed by ${names.join(", ")}` : "No witness yet", names.length ? "What they have seen cannot be changed unnoticed." : "Another machine of yours, or of others, makes it provable to all.", code("wos audit verify"))),
      h("p", {}), rows.length ? card(...rows.map(line)) : empty("Nothing was decided here yet."),
      h("p", {}), rows.length >= count && button("Older ones", async () => { count += 100; await draw(); }));
  };
  await draw();
}

async function one(show, number) {
  const [entry] = await ask("decisions", { number });
  const pairs = Object.entries({ kind: entry.kind, what: entry.what, why: entry.why, when: new Date(entry.at_s * 1000).toLocaleString(), ...flat(entry.record) });
  show(h("p", {}, h("a", { href: "#/decisions" }, "All decisions")),
    h("div.card.pad", {}, h("dl.pairs", {}, ...pairs.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]))),
    h("p", {}), h("p", {}, "Check it: ", code(`wos audit replay ${number}`), " and ", code("wos audit verify")));
}

function flat(record, under = "") {
  if (record === null || typeof record !== "object") return {};
  return Object.assign({}, ...Object.entries(record).map(([name, value]) =>
    value && typeof value === "object" ? flat(value, `${under}${name}.`) : { [under + name]: value }));
}
