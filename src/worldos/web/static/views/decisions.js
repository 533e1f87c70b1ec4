// What was decided on this machine, and why. Each line can be proven and replayed: wos audit.
import { ask } from "/api.js";
import { badge, button, card, code, empty, h, tag, when } from "/dom.js";

const KINDS = { granted: "good", matched: "good", refused: "warn", unmatched: "warn", quarantine: "bad", preempted: "warn", erased: "" };

export async function decisions(show, [number], again) {
  if (number !== undefined) return one(show, Number(number));
  let count = 50;
  const draw = async () => {
    const rows = await ask("decisions", { count });
    const line = (entry) => h("a.row", { href: "#/decisions/" + entry.number }, badge("log", KINDS[entry.kind] || "quiet"),
      h("div.what", {}, h("div.name", {}, entry.what || entry.kind), h("div.more", {}, entry.why)),
      h("div.tags", {}, tag(entry.kind, KINDS[entry.kind]), tag(`${entry.number} · ${when(entry.at_s)}`)));
    show(rows.length ? card(...rows.map(line)) : empty("Nothing was decided here yet."),
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
