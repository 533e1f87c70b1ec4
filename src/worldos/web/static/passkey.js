// Passkeys: what the browser wants as bytes is base64url in JSON.
import { step } from "/api.js";

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const listed = (credentials) => credentials.map((one) => ({ ...one, id: bytes(one.id) }));

export const possible = () => typeof PublicKeyCredential === "function";

export async function make(name) {
  const options = await step("make");
  const made = await refused(navigator.credentials.create({ publicKey: {
    ...options, challenge: bytes(options.challenge), user: { ...options.user, id: bytes(options.user.id) },
    excludeCredentials: listed(options.excludeCredentials) } }));
  const { response } = made;
  const credential = { id: made.id, rawId: made.id, type: made.type, clientExtensionResults: {},
    response: { clientDataJSON: text(response.clientDataJSON), attestationObject: text(response.attestationObject), transports: response.getTransports?.() || [] } };
  return step("made", { credential, name });
}

export async function sign(options) {
  const got = await refused(navigator.credentials.get({ publicKey: {
    challenge: bytes(options.challenge), rpId: options.rpId, userVerification: options.userVerification, timeout: options.timeout,
    allowCredentials: listed(options.allowCredentials) } }));
  const { response } = got;
  return { id: got.id, response: { authenticatorData: text(response.authenticatorData), clientDataJSON: text(response.clientDataJSON), signature: text(response.signature) } };
}

export async function prove() {
  const options = await step("prove");
  await step("proven", { nonce: options.nonce, credential: await sign(options) });
}

// Let a passkey say something of another key in the account's own log.
export async function speak(what, key, by) {
  const options = await step("say", { what, key, by });
  return step("said", { message: options.message, credential: await sign(options) });
}

// Approve a command of the guard: the passkey signs its exact bytes.
export async function approve(command) {
  const options = await step("approve", { command });
  return step("approved", { command, message: options.message, credential: await sign(options) });
}

async function refused(asking) {
  try { return await asking; } catch (cause) {
    const words = { NotAllowedError: "the passkey was not used: cancelled, or too slow", InvalidStateError: "this passkey is in your account already", SecurityError: "passkeys do not work at this address" };
    throw Object.assign(new Error(words[cause.name] || cause.message), { hint: "", kind: cause.name });
  }
}
