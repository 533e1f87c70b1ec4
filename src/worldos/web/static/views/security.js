// What the behaviour analysis sees: who asks this machine, how far that is from what is usual, and who was narrowed.
import { ask } from "/api.js";
import { badge, button, card, dialog, empty, h, row, say, tag } from "/dom.js";

const STRANGE = { rate: "pace", fan_out: "spread", denials: "denials", level: "level" };
const STEPS = ["", "slowed", "a person asked", "quarantine"];

export async function security(show, _rest, again) {
  let old = "";
  const look = async () => {
    const seen = await ask("security"), now = JSON.stringify(seen);
    if (now === old || document.querySelector("dialog")) return;
    old = now;
    draw(show, seen, again);
  };
  await look();
  const timer = setInterval(() => look().catch(() => {}), 3000);
  return () => clearInterval(timer);
}

function draw(show, seen, again) {
  const free = async (one) => {
    if (!(await dialog(`Give ${one.name} back its rights?`, one.why, [], "Give back", "bad"))) return;
    const done = await ask("security_free", { who: one.id });
    await again();
    say(done.wait.length ? "This machine is for it; another one of yours must say so too" : "Given back");
  };
  const narrowed = (one) => row(badge("stop", "bad"), one.name, [one.why, `by ${one.by_name}`, `${Math.ceil(one.left_s / 60)} min left`].join(" · "),
    h("div.tags", {}, tag(`at most ${one.class}`, "bad"), one.per_minute > 0 && tag(`${one.per_minute} a minute`, "warn"), one.human && tag("needs a person", "warn")), button("Give back", () => free(one)));
  const line = (one) => {
    const worst = Math.max(0, ...Object.values(one.strange_percent));
    const shade = worst >= 100 || one.step >= 2 ? "bad" : worst >= 50 || one.step ? "warn" : "good";
    const parts = Object.entries(STRANGE).map(([key, word]) => `${word} ${one.strange_percent[key] ?? 0}`).join(" · ");
    return row(badge("eye", shade), one.name, one.learnt < one.learns ? `what is usual is being learnt: ${one.learnt} of ${one.learns}` : parts,
      h("div.tags", {}, one.member ? tag("yours") : tag("other account"), one.step > 0 && tag(STEPS[one.step] || "narrowed", shade)));
  };
  show(
    seen.narrowings.length && card(...seen.narrowings.map(narrowed)), seen.narrowings.length && h("h2", {}, "Everybody"),
    seen.principals.length ? card(...seen.principals.map(line)) : empty("Nobody else asked this machine for anything yet."),
    h("p", {}), h("p.lead", {}, "100 is where it trips: first it slows down, then it asks for a person, then it is quarantine for a day. It only ever takes away."),
  );
}
