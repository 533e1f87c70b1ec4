// Asking the page's own server. The second secret of a visit is kept for this origin and this tab alone.
const SECRET = "wos-page";
export const secret = () => sessionStorage.getItem(SECRET) || "";

export class Failure extends Error {
  constructor(said, status) { super(said.message || "something went wrong"); Object.assign(this, { said, status, hint: said.hint || "", kind: said.error }); }
}

async function post(path, body, signal) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST", signal, credentials: "same-origin", redirect: "error",
      headers: { "content-type": "application/json", "x-wos-page": secret() }, body: JSON.stringify(body) });
  } catch (cause) {
    if (cause.name === "AbortError") throw cause;
    throw new Failure({ error: "Unreachable", message: "the page's program does not answer", hint: "start it again: wos page" }, 0);
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({ message: `the answer was ${answer.status}` }));
  if (answer.status === 403 && said.message === "you are not signed in here") sessionStorage.removeItem(SECRET);
  throw new Failure(said, answer.status);
}

export async function enter(link) {
  const said = await (await post("/enter", { link })).json();
  sessionStorage.setItem(SECRET, said.secret);
}
export async function leave() {
  try { await post("/leave", {}); } finally { sessionStorage.removeItem(SECRET); }
}

const PRESENCE = "prove that it is you";
export async function ask(name, body = {}) { return sure(async () => (await post("/ask/" + name, body)).json()); }
export async function step(name, body = {}) { return sure(async () => (await post("/passkey/" + name, body)).json()); }

// Where presence must be proven first, do that, then go on.
let prove = null;
export function onPresence(act) { prove = act; }
async function sure(act) {
  try { return await act(); } catch (failure) {
    if (failure.message !== PRESENCE || !prove) throw failure;
    await prove();
    return act();
  }
}

// Follow an order: one call of `heard` a line; returns how to end it.
export function follow(name, body, heard, failed) {
  const ending = new AbortController();
  (async () => {
    const answer = await post("/follow/" + name, body, ending.signal);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) if (line) heard(JSON.parse(line));
    }
  })().catch((failure) => { if (failure.name !== "AbortError" && !ending.signal.aborted) failed?.(failure); });
  return () => ending.abort();
}
