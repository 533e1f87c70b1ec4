// Roles: who may do what at mine, until when, and what I hold from others.
import { ask } from "/api.js";
import { badge, button, card, dialog, empty, h, row, say, tag, when } from "/dom.js";

const ROLES = ["guest", "member", "operator", "approver", "auditor", "owner"];
const LIVES = { "1 day": 86400, "7 days": 604800, "30 days": 2592000, "1 year": 31536000 };

export async function roles(show, _rest, again) {
  const { given, held } = await ask("grants");
  const give = async () => {
    const said = await dialog("Give a role", "To a machine, a person (wos1…) or an account. It can be taken back at any time.", [
      { name: "who", label: "To whom", placeholder: "wos1… or a device's name" },
      { name: "role", label: "Role", options: ROLES },
      { name: "resource", label: "For (nothing: all of yours)", placeholder: "CPU of desk" },
      { name: "life", label: "For how long", options: Object.keys(LIVES) },
    ], "Give it");
    if (!said?.who) return;
    const made = await ask("role_grant", { who: said.who, role: said.role, resource: said.resource, until_s: Math.floor(Date.now() / 1000) + LIVES[said.life] });
    await again();
    const texts = made.given.filter((one) => !one.own).map((one) => one.grant);
    if (texts.length) await dialog("Hand this over", "They take it in by: wos grants add", texts.map((text, place) => ({ name: "g" + place, label: "Grant", value: text })), "Done");
    else say("The role is given");
  };
  const take = async (one) => {
    if (!(await dialog(`Take ${one.role} from ${one.who}?`, "From now on it is refused by every machine of yours that hears of it.", [], "Take it back", "bad"))) return;
    await ask("role_revoke", { role: one.id });
    await again();
  };
  const line = (one) => row(badge("role", one.holds === false ? "quiet" : ""), one.who || one.account || "",
    [`${one.ops.join(", ")} on ${one.paths.join(", ")}`, one.by && `by ${one.by}`, one.until_s && `ends ${when(one.until_s)}`, one.why].filter(Boolean).join(" · "),
    h("div.tags", {}, tag(one.role || "grant", "accent"), tag(`class ${one.class}`), one.holds === false && tag("does not hold", "bad")),
    one.holds !== undefined && button("Take back", () => take(one), "bad"));
  show(given.length ? card(...given.map(line)) : empty("Nobody has a role at yours. Your own devices need none."),
    h("p", {}), button("Give a role", give, "main"),
    ...(held.length ? [h("h2", {}, "What this machine holds from others"), card(...held.map(line))] : []));
}
