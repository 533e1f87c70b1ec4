// What there is to see. Each view draws itself by `show`, and may return how to end what it began.
import { ask } from "/api.js";
import { badge, button, card, code, dialog, empty, h, row, say, short, tag, when } from "/dom.js";
import { make, possible } from "/passkey.js";

const kindIcon = { device: "machine", passkey: "key", recovery: "words", guardian: "people", holder: "people" };

async function me(show, _rest, again) {
  const [actors, status] = await Promise.all([ask("actors"), ask("status")]);
  const add = async () => {
    const said = await dialog("Add a passkey", "Your phone, this computer or a security key will ask for your finger, face or PIN.", [{ name: "name", label: "What to call it", placeholder: "my phone" }], "Make it");
    if (!said) return;
    await make(said.name || "passkey");
    say("The passkey is one of your keys now");
    await again();
  };
  const remove = async (actor) => {
    if (!(await dialog(`Remove ${actor.name}?`, "It can no longer act as you, nor can what it let in during the last 72 hours.", [], "Remove", "bad"))) return;
    await ask("remove", { key: actor.id });
    await again();
  };
  show(
    card(...actors.map((actor) => row(badge(kindIcon[actor.kind] || "key", actor.kind === "recovery" ? "warn" : ""), actor.name, actorLine(actor),
      h("div.tags", {}, actor.here && tag("here", "accent"), actor.limits && tag(actor.limits, "warn"), tag(`weight ${actor.weight}`)),
      actor.kind === "passkey" && button("Remove", () => remove(actor), "bad")))),
    h("h2", {}, "Passkeys"),
    card(h("div.pad", {}, h("p", {}, "A passkey approves what your machines must not do alone, and outweighs a stolen laptop."),
      possible() ? button("Add a passkey", add, "main") : h("p.lead", {}, "This browser knows no passkeys."))),
    h("h2", {}, "If all is lost"),
    card(h("div.pad", {}, h("p", {}, "There is one way back: your 24 recovery words, or your guardians together. On any machine: ", code("wos account recover")))),
    h("h2", {}, "This visit"),
    card(row(badge("session", "quiet"), status.name, `account ${short(status.account)}`, button("Leave", () => dispatchEvent(new Event("wos-leave"))))),
  );
}

const actorLine = (actor) => [{ device: "Device", passkey: "Passkey", recovery: "Recovery words", guardian: "Guardian", holder: "Holder" }[actor.kind] || actor.kind,
  actor.by && `admitted by ${actor.by}`, actor.since_s && when(actor.since_s)].filter(Boolean).join(" · ");

async function devices(show, _rest, again) {
  const [known, nodes] = await Promise.all([ask("devices"), ask("nodes")]);
  const states = Object.fromEntries(nodes.map((node) => [node.node, node]));
  const out = async (device) => {
    if (!(await dialog(`Put ${device.name} out?`, "It is refused wherever your machines hear of it. What it knew so far it still knows.", [], "Put out", "bad"))) return;
    await ask("revoke", { device: device.node });
    say(`${device.name} is put out`);
    await again();
  };
  const line = (device) => {
    const node = states[device.node], gone = device.status !== "active";
    const free = node && node.cpu_capacity ? `${(node.cpu_free / 1000).toFixed(1)} of ${(node.cpu_capacity / 1000).toFixed(1)} cores free` : "";
    return row(badge("machine", gone ? "bad" : node?.status === "alive" ? "good" : "quiet"), device.name,
      [node?.place, free, short(device.node)].filter(Boolean).join(" · "),
      h("div.tags", {}, device.here && tag("here", "accent"), gone ? tag("put out", "bad") : tag(node?.status || "offline", node?.status === "alive" ? "good" : "")),
      !gone && !device.here && button("Put out", () => out(device), "bad"));
  };
  const active = known.filter((device) => device.status === "active"), gone = known.filter((device) => device.status !== "active");
  show(card(...active.map(line)), ...(gone.length ? [h("h2", {}, "No longer yours"), card(...gone.map(line))] : []),
    h("h2", {}, "One more machine"), empty("On this machine: ", code("wos invite")));
}

export const VIEWS = {
  me: { title: "Me", icon: "me", lead: "Everything that can act as you. What you do not know, remove.", draw: me },
  devices: { title: "Devices", icon: "machine", lead: "The machines of your account, and how they are now.", draw: devices },
};
