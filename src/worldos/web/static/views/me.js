// Who can act as me: one list, and the one way back.
import { ask } from "/api.js";
import { badge, button, card, code, dialog, h, row, say, short, tag, when } from "/dom.js";
import { make, possible, speak } from "/passkey.js";

const ICONS = { device: "machine", passkey: "key", "recovery words": "words", guardians: "people", holders: "people" };
const KINDS = { device: "Device", passkey: "Passkey", "recovery words": "Recovery words", guardians: "Guardians", holders: "Holders" };

export async function me(show, _rest, again) {
  const [account, status, { code: own }] = await Promise.all([ask("account"), ask("status"), ask("code")]);
  const { actors } = account;
  const mine = actors.filter((actor) => actor.kind === "passkey" && actor.origin === location.origin && !actor.young);

  const add = async () => {
    const said = await dialog("Add a passkey", "Your phone, this computer or a security key will ask for your finger, face or PIN.", [{ name: "name", label: "What to call it", placeholder: "my phone" }], "Make it");
    if (!said) return;
    await make(said.name || "passkey");
    await again();
    say("The passkey is in your account", "it is young until your words or another passkey approve it");
  };
  // A passkey outweighs a device: where there is one, it speaks; else this machine's own key does.
  const chosen = async (title, text, action, kind, target) => {
    const able = mine.filter((actor) => actor.key !== target.key);
    const fields = able.length > 1 ? [{ name: "by", label: "By which passkey", options: able.map((actor) => actor.name) }] : [];
    const said = await dialog(title, text, fields, action, kind);
    return said && { by: able.find((actor) => actor.name === said.by) || able[0] };
  };
  const remove = async (actor) => {
    const said = await chosen(`Remove ${actor.name}?`, "It can no longer act as you, nor can what it let in during the last 72 hours.", "Remove", "bad", actor);
    if (!said) return;
    if (said.by) await speak("remove", actor.key, said.by.key); else await ask("remove", { key: actor.key });
    await again();
    say(`${actor.name} is removed`);
  };
  const approve = async (actor) => {
    const said = await chosen(`Is ${actor.name} yours?`, `${KINDS[actor.kind]} ${short(actor.key)}, let in by ${actor.by_name || "?"}. Approved, it has its full weight at once.`, "Yes, approve", "main", actor);
    if (!said) return;
    await speak("approve", actor.key, said.by.key);
    await again();
    say(`${actor.name} is approved`);
  };
  const line = (actor) => row(badge(ICONS[actor.kind] || "key", actor.young ? "warn" : actor.weight >= 9 ? "accent" : ""), actor.name || KINDS[actor.kind],
    [KINDS[actor.kind], actor.by_name && `let in by ${actor.by_name}`, actor.since_s && when(actor.since_s), actor.origin !== location.origin && actor.origin, actor.limits !== "none" && actor.limits].filter(Boolean).join(" · "),
    h("div.tags", {}, actor.here && tag("here", "accent"), actor.young && tag("young", "warn"), tag(`weight ${actor.weight}`)),
    h("div.buttons", {}, actor.young && mine.some((other) => other.key !== actor.key) && button("Approve", () => approve(actor), "main"),
      !actor.here && (actor.kind === "passkey" || actor.kind === "device") && button("Remove", () => remove(actor), "bad")));

  show(
    card(...actors.map(line)),
    h("h2", {}, "Passkeys"),
    card(h("div.pad", {}, h("p", {}, "A passkey approves what your machines must not do alone, and outweighs a stolen laptop. The first one becomes grown by your 24 words: ", code("wos account approve NAME")),
      possible() ? button("Add a passkey", add, "main") : h("p.lead", {}, "This browser knows no passkeys."))),
    h("h2", {}, "Your code"),
    card(h("div.pad", {}, h("p", {}, "Others name you by it, and send you what only you can open. It is no secret."), h("p.mono", {}, own),
      button("Copy", async () => { await navigator.clipboard.writeText(own); say("Copied"); }))),
    h("h2", {}, "If all is lost"),
    card(h("div.pad", {}, h("p", {}, `Your account comes back ${account.recovery}`))),
    h("h2", {}, "This visit"),
    card(row(badge("session", "quiet"), status.name, `account ${short(account.account)}`, button("Leave", () => dispatchEvent(new Event("wos-leave"))))),
  );
}
