// The machines of the account, and how they are.
import { ask } from "/api.js";
import { badge, button, card, code, dialog, empty, h, row, say, short, tag } from "/dom.js";

export async function devices(show, _rest, again) {
  const [known, nodes] = await Promise.all([ask("devices"), ask("nodes")]);
  const states = Object.fromEntries(nodes.map((node) => [node.node, node]));
  const out = async (device) => {
    if (!(await dialog(`Put ${device.name} out?`, "It is refused wherever your machines hear of it. What it knew so far it still knows.", [], "Put out", "bad"))) return;
    await ask("revoke", { device: device.node });
    await again();
    say(`${device.name} is put out`);
  };
  const line = (device) => {
    const node = states[device.node], gone = device.status !== "active";
    const free = node && node.cpu_capacity ? `${(node.cpu_free / 1000).toFixed(1)} of ${(node.cpu_capacity / 1000).toFixed(1)} cores free` : "";
    return row(badge("machine", gone ? "bad" : node?.status === "alive" ? "good" : "quiet"), device.name,
      [node?.place, free, short(device.node), device.held_back].filter(Boolean).join(" · "),
      h("div.tags", {}, device.here && tag("here", "accent"), device.young && tag("young", "warn"), device.held_back && tag("held back", "bad"), gone ? tag("put out", "bad") : tag(node?.status || "offline", node?.status === "alive" ? "good" : "")),
      !gone && !device.here && button("Put out", () => out(device), "bad"));
  };
  const active = known.filter((device) => device.status === "active"), gone = known.filter((device) => device.status !== "active");
  show(card(...active.map(line)), ...(gone.length ? [h("h2", {}, "No longer yours"), card(...gone.map(line))] : []),
    h("h2", {}, "One more machine"), empty("On this machine: ", code("wos invite")));
}
