// What runs, what waits and why, what lies in queues, and what is lent. Cards stay; only their rows are drawn anew.
import { ask } from "/api.js";
import { badge, button, card, code, count, dialog, h, row, say, tag, when } from "/dom.js";

const LOOK_MS = 2000, LOG_MS = 1000, ENDED_SHOWN = 12, LOG_CHARS = 200000;
const SHADE = { running: "accent", waiting: "", held: "quiet", done: "good", failed: "bad", dropped: "warn" };
const ICON = { running: "run", waiting: "work", held: "work", done: "check", failed: "stop", dropped: "stop" };
const ENDED = ["done", "failed", "dropped"];
const STATES = ["done", "failed", "dropped", "running", "waiting"];
const over = (job) => ENDED.includes(job.state);
const tasks = (job) => STATES.reduce((sum, state) => sum + job[state], 0);
const ended = (job) => ENDED.reduce((sum, state) => sum + job[state], 0);
const coins = (uwos) => `${+(uwos / 1e6).toPrecision(3)} WOSCoin`;
const lasts = (ms) => { const s = Math.max(0, ms / 1000); return s < 90 ? `${Math.round(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`; };
const size = (bytes) => { for (const unit of ["B", "kB", "MB", "GB"]) { if (bytes < 1000) return `${+bytes.toPrecision(3)} ${unit}`; bytes /= 1000; } return `${+bytes.toPrecision(3)} TB`; };

export async function work(show, [job, index], again) {
  return job ? one(show, job, index, again) : all(show, again);
}

// Ask again and again, not while a button is pressed or a question stands open; what had the focus keeps it.
async function live(every, look) {
  await look();
  let asking = false;
  const timer = setInterval(async () => {
    if (asking || document.hidden || document.querySelector("dialog, main :active")) return;
    asking = true;
    const key = document.activeElement?.dataset.key;
    try { await look(); } catch { /* said when it is asked by hand */ } finally { asking = false; }
    if (key && !document.activeElement?.dataset.key) document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
  }, every);
  return () => clearInterval(timer);
}

function section(title) {
  const head = h("h2", { hidden: true }, title), body = card();
  body.hidden = true;
  let old = "";
  return { parts: [head, body], fill(values, draw, none) {
    const now = JSON.stringify([values, none]);
    if (now === old) return;
    old = now;
    head.hidden = body.hidden = !values.length && !none;
    body.replaceChildren(...(values.length ? values.map(draw) : none ? [h("div.empty", {}, ...none)] : []));
  } };
}

async function all(show, again) {
  const parts = { jobs: section("Jobs"), past: section("Ended"), queues: section("Queues"), lent: section("Lent to others"), held: section("Used by programs of this machine") };
  show(...Object.values(parts).flatMap((part) => part.parts));
  const soft = (name) => ask(name).catch(() => null);
  return live(LOOK_MS, async () => {
    const [jobs, queues, lend, leases, nodes] = await Promise.all([ask("jobs"), soft("queues"), soft("lend"), soft("leases"), soft("nodes")]);
    const names = Object.fromEntries((nodes || []).map((node) => [node.node, node.name]));
    parts.jobs.fill(jobs.filter((job) => !over(job)), line, ["Nothing waits and nothing runs. Put something into the line: ", code("wos submit -- COMMAND")]);
    parts.past.fill(jobs.filter(over).slice(0, ENDED_SHOWN), line);
    parts.queues.fill(queues || [], queue);
    parts.lent.fill(lend ? [lend] : [], (told) => h("div", {}, ...lending(told, again)));
    parts.held.fill(programs(leases?.held || [], names), program);
  });
}

function line(job) {
  const where = job.where.map(([node, number]) => (tasks(job) > 1 ? `${node} ${number}` : node)).join(", ");
  const facts = [tasks(job) > 1 && `${ended(job)} of ${tasks(job)}`, where && `on ${where}`, over(job) ? `${when(job.ended_ms / 1000)}` : `since ${lasts(Date.now() - job.since_ms)}`,
    job.spent_uwos && coins(job.spent_uwos), job.unsure && `${job.unsure} to be done by another owner's, too`];
  return h("a.row", { href: "#/work/" + job.job, "data-key": job.job }, badge(ICON[job.state], SHADE[job.state]),
    h("div.what", {}, h("div.name", {}, job.name || job.command), h("div.more", {}, facts.filter(Boolean).join(" · ")),
      !over(job) && !job.running && job.why && h("div.more.why", {}, job.why), !over(job) && tasks(job) > 1 && bar(job)), h("div.tags", {}, ...marks(job)));
}
const marks = (job) => [tag(job.state, SHADE[job.state]), job.failed && job.state !== "failed" ? tag(`${job.failed} failed`, "bad") : null, job.late && tag("late", "bad")].filter(Boolean);

function bar(job) {
  const parts = STATES.filter((state) => job[state]).map((state) => { const part = h("i." + state, {}); part.style.flexGrow = job[state]; return part; });
  return h("div.bar", { role: "img", "aria-label": STATES.filter((state) => job[state]).map((state) => `${job[state]} ${state}`).join(", ") }, ...parts);
}

const queue = (one) => row(badge("words", one.waiting ? "" : "quiet"), one.queue,
  [`${count(one.waiting, "message")} waiting`, one.held && `${one.held} taken`, size(one.size_bytes), one.oldest_ms && `the oldest came ${when(one.oldest_ms / 1000)}`].filter(Boolean).join(" · "),
  h("div.tags", {}, one.dead_waiting > 0 && tag(`${one.dead_waiting} dead`, "bad"), one.size_bytes * 10 > one.bytes_max * 9 && tag("nearly full", "warn")));

function lending(told, again) {
  const stop = async () => { await ask("lend_stop"); await again(); say("Nothing is lent any more", "guests have a minute to end"); };
  const on = async () => { if (await dialog("Lend again?", "By the rules that wos lend shows.", [], "Lend")) { await ask("lend_again"); await again(); } };
  const amount = (one) => [one.kind === "CPU" ? count(one.amount / 1000, "core") : `${one.kind} ${one.amount / 1000}`, one.memory_bytes && size(one.memory_bytes)].filter(Boolean).join(", ");
  const rules = told.rules.map((rule) => row(badge("role", rule.holds && !told.off ? "good" : "quiet"), rule.says, told.off ? "" : rule.holds ? "" : `not now: ${rule.why}`));
  const guests = told.guests.map((guest) => row(badge("people", "accent"), guest.name, [`has ${amount(guest)}`, guest.isolation && `in ${guest.isolation}`, guest.ends_s >= 0 && `ends in ${guest.ends_s} s: ${guest.why}`].filter(Boolean).join(" · ")));
  const state = told.off ? "Nothing is lent" : told.rests ? `Guests rest now: ${told.rests}` : told.guests.length ? count(told.guests.length, "guest") : "No guests now";
  return [...guests, ...rules, row(badge("machine", "quiet"), state, told.rules.length ? "" : "No rules of this machine: what your realm lends, it lends.",
    told.off ? button("Lend again", on, "main") : (told.rules.length || told.guests.length) && button("Stop lending", stop, "bad"))];
}

function programs(held, names) {
  const found = new Map();
  for (const lease of held) {
    const one = found.get(lease.program) || { name: lease.program.split("/").pop() || "a program", cores: 0, others: 0, nodes: new Set(), doubted: 0 };
    if (lease.kind === "CPU") one.cores += lease.amount / 1000; else one.others += 1;
    one.nodes.add(names[lease.node] || lease.node.slice(0, 8));
    one.doubted += lease.doubted;
    found.set(lease.program, one);
  }
  return [...found.values()].map((one) => ({ ...one, nodes: [...one.nodes] }));
}
const program = (one) => row(badge("run", one.doubted ? "warn" : "accent"), one.name,
  [one.cores && count(+one.cores.toFixed(2), "core"), one.others && count(one.others, "other lease"), `on ${one.nodes.join(", ")}`].filter(Boolean).join(" · "),
  one.doubted > 0 && h("div.tags", {}, tag("a node is silent", "warn")));

// -- one job ----------------------------------------------------------------------------------------------------------

async function one(show, name, index, again) {
  const head = h("div.card.pad", {}), list = section("Tasks"), text = new Text(), note = h("div.by", {}), flow = h("div.flow", { tabindex: "0", hidden: true, "aria-label": "What it put out" }, text, note), title = h("h2", { hidden: true }, "What it put out");
  const heard = { attempt: 0, since: 0, ended: false };
  let drawn = "", logOf = index === undefined ? null : +index;
  show(h("div.buttons", {}, h("a", { href: "#/work" }, "All work"), index !== undefined && h("a", { href: "#/work/" + name }, "The whole job")), h("p", {}), head, ...list.parts, title, flow);
  const look = async () => {
    const { job, tasks: some } = await ask("job", { job: index === undefined ? name : `${name}.${index}` });
    document.querySelector("h1").textContent = (job.name || job.command) + (index === undefined ? "" : ` · task ${index}`);
    const now = JSON.stringify([job, index !== undefined && some, !over(job) && Math.floor(Date.now() / 30000)]);
    if (now !== drawn) head.replaceChildren(...about(job, index === undefined ? null : some[0], again));
    drawn = now;
    if (index === undefined && tasks(job) > 1) list.fill(some, (task) => taskLine(job, task));
    if (tasks(job) === 1) logOf = some[0].index;
    if (logOf !== null) await read(job.job);
  };
  const read = async (job) => {
    if (heard.ended) return;
    const told = await ask("job_log", { job, index: logOf, attempt: heard.attempt, since: heard.since });
    const low = flow.scrollHeight - flow.scrollTop - flow.clientHeight < 60;
    if (told.attempt !== heard.attempt) text.data = told.offset ? `… the end of it; all of it: wos logs ${job}\n` : "";
    text.data = (text.data + told.text.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "")).slice(-LOG_CHARS);
    note.textContent = told.why || (text.data ? "" : told.ended ? "It put out nothing." : "Nothing yet.");
    Object.assign(heard, { attempt: told.attempt, since: told.next, ended: told.ended });
    title.hidden = flow.hidden = false;
    if (low) flow.scrollTop = flow.scrollHeight;
  };
  return live(index === undefined ? LOOK_MS : LOG_MS, look);
}

function about(job, task, again) {
  const cancel = async () => {
    if (!(await dialog(`Cancel ${job.name || job.job}?`, `What runs of it is stopped, and what waits for it is dropped${tasks(job) > 1 ? `: ${tasks(job) - ended(job)} of ${tasks(job)} tasks have not ended` : ""}. It can be run again.`, [], "Cancel it", "bad"))) return;
    await ask("cancel", { job: job.job });
    await again();
    say("It is cancelled");
  };
  const retry = async () => { await ask("retry", { job: job.job }); await again(); say("It is in line again"); };
  const pairs = [["Command", h("span.mono", {}, job.command)], ["Job", job.job],
    !task && ["Tasks", STATES.filter((state) => job[state]).map((state) => `${job[state]} ${state}`).join(", ")],
    task && task.node && ["On", task.node], task && task.attempt > 1 && ["Attempt", `${task.attempt}: ${task.failures} failed, ${task.losses} lost`],
    task && task.copies > 0 && ["Checked", task.agree ? `${task.agree} of ${task.copies} agree` : `done ${task.copies} times by others, unsure yet`],
    !task && job.where.length > 0 && ["On", job.where.map(([node, number]) => `${node} (${number})`).join(", ")], job.why && ["Why", job.why],
    ["Submitted", `${when(job.since_ms / 1000)} by ${job.by}`], job.ended_ms > 0 && ["Ended", `${when(job.ended_ms / 1000)}, after ${lasts(job.ended_ms - job.since_ms)}`],
    job.deadline_ms > 0 && ["Deadline", `${when(job.deadline_ms / 1000)}${job.late ? ", missed" : ""}`], job.priority !== 0 && ["Priority", String(job.priority)],
    (job.spent_uwos > 0 || job.budget_uwos > 0) && ["Cost", job.budget_uwos ? `${coins(job.spent_uwos)} of ${coins(job.budget_uwos)}` : coins(job.spent_uwos)],
    job.checked > 0 && ["Checked", `${job.checked} tasks by machines of several owners`], job.cpu_us >= 1e6 && ["Took", `${lasts(job.cpu_us / 1000)} of processors`]].filter(Boolean);
  return [h("div.tags", {}, ...(task ? [tag(task.state, SHADE[task.state]), task.code > 0 && tag(`exit code ${task.code}`, "bad")].filter(Boolean) : marks(job))), !task && tasks(job) > 1 && bar(job), h("p", {}),
    h("dl.pairs", {}, ...pairs.flatMap(([word, value]) => [h("dt", {}, word), h("dd", {}, value)])), h("p", {}),
    h("div.buttons", {}, !task && !over(job) && button("Cancel", cancel, "bad"), !task && job.failed + job.dropped > 0 && over(job) && button("Run again", retry, "main"))].filter(Boolean);
}

const taskLine = (job, task) => h("a.row", { href: `#/work/${job.job}/${task.index}`, "data-key": `${job.job}.${task.index}` }, badge(ICON[task.state], SHADE[task.state]),
  h("div.what", {}, h("div.name", {}, `Task ${task.index}`), h("div.more", {}, [task.node && `on ${task.node}`, task.state === "running" && task.begun_ms > 0 && `for ${lasts(Date.now() - task.begun_ms)}`,
    task.losses && `lost ${task.losses} times`, task.copies && (task.agree ? `${task.agree} of ${task.copies} agree` : "unsure yet"), task.told].filter(Boolean).join(" · "))),
  h("div.tags", {}, tag(task.code > 0 ? `exit code ${task.code}` : task.state, SHADE[task.state])));
