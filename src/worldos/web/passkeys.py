"""Passkeys on the page: making one, proving presence by one, approving by one. Each is a challenge, then an answer.

*Making*: the challenge is chance, spent once; what the browser brings is checked by py_webauthn, which knows all the forms that
authenticators have; what goes into the account is only the credential's id, its public key and this page's origin, by the device
key of this machine (order ``passkey_add``). *Proving presence* signs a challenge of chance and is good for 15 minutes. *Signing*
(an approval) signs the agent's own bytes, so what comes of it can be checked by every node, without this page.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from worldos.errors import BadRequest, NotAllowed
from worldos.home import Home
from worldos.trust.passkeys import Assertion, challenge_of, verify_assertion, write_assertion
from worldos.web.gate import Gate, Visit
from worldos.web.talk import ask

PRESENCE = "page presence"
ES256 = -7
NAME = "World OS"

T = TypeVar("T")


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """One step: whose, when, with fresh chance, and what the page said."""

    home: Home
    gate: Gate
    visit: Visit
    now_s: int
    random: bytes
    said: dict[str, Any]


def begin_making(step: Said) -> dict[str, Any]:
    """Give the browser what it makes a passkey by."""
    step.gate.check_sure(step.visit, step.now_s)
    status = ask(step.home, "status", {})
    known = ask(step.home, "passkeys", {})
    challenge = step.visit.remember(step.random, step.now_s)
    return {
        "challenge": text_of(challenge),
        "rp": {"id": step.gate.rp_id, "name": NAME},
        "user": {
            "id": text_of(status["account"].encode()[:32]),
            "name": f"{status['name']} ({status['account'][:8]})",
            "displayName": f"World OS account {status['account'][:8]}",
        },
        "pubKeyCredParams": [{"type": "public-key", "alg": ES256}],
        "excludeCredentials": _credentials(step, known),
        "authenticatorSelection": {"residentKey": "preferred", "userVerification": "required"},
        "attestation": "none",
        "timeout": 120_000,
    }


def end_making(step: Said) -> dict[str, Any]:
    """Check what the browser made, and have this machine's key add it to the account."""
    from webauthn import verify_registration_response  # noqa: PLC0415 - 336 ms, and only here
    from webauthn.helpers.exceptions import WebAuthnException  # noqa: PLC0415

    step.gate.check_sure(step.visit, step.now_s)
    credential, name = _field(step, "credential", dict), _field(step, "name", str)
    challenge = _challenge_in(credential)
    step.visit.spend(challenge, step.now_s)
    try:
        made = verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=step.gate.rp_id,
            expected_origin=step.gate.origin,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, TypeError, KeyError) as cause:
        raise NotAllowed("this passkey was not made as it should be") from cause
    wanted = {
        "credential": made.credential_id,
        "public": made.credential_public_key,
        "rp": step.gate.origin,
        "name": name,
    }
    return dict(ask(step.home, "passkey_add", wanted))


def begin_proving(step: Said) -> dict[str, Any]:
    """Give the browser what to prove presence by."""
    nonce = step.visit.remember(step.random, step.now_s)
    return {**_to_sign(step, challenge_of(PRESENCE, nonce)), "nonce": text_of(nonce)}


def end_proving(step: Said) -> dict[str, Any]:
    """Check the proof: by a passkey of this account, over a challenge that was given here, once."""
    nonce = bytes_of(_field(step, "nonce", str))
    step.visit.spend(nonce, step.now_s)
    credential, assertion = _assertion_in(_field(step, "credential", dict))
    known = _known(step, credential)
    verify_assertion(known["public"], known["rp"], assertion, PRESENCE, nonce)
    step.gate.prove(step.visit, step.now_s)
    return {"sure_s": step.visit.sure_until_s - step.now_s}


def begin_saying(step: Said) -> dict[str, Any]:
    """Give the browser what one passkey signs to approve or remove another key."""
    wanted = {"what": _field(step, "what", str), "key": _field(step, "key", str), "passkey": _field(step, "by", str)}
    draft = ask(step.home, "passkey_draft", wanted)
    message = draft["message"]
    step.visit.remember(message, step.now_s)
    return {**_to_sign(step, challenge_of(draft["domain"], message), wanted["passkey"]), "message": text_of(message)}


def end_saying(step: Said) -> dict[str, Any]:
    """Hand what the passkey signed to the agent, which checks it as every other node will."""
    message = bytes_of(_field(step, "message", str))
    step.visit.spend(message, step.now_s)
    _, assertion = _assertion_in(_field(step, "credential", dict))
    return dict(ask(step.home, "passkey_said", {"message": message, "assertion": write_assertion(assertion)}))


def begin_approving(step: Said) -> dict[str, Any]:
    """Give the browser what a passkey signs to approve a command: its own bytes, and nothing else."""
    draft = ask(step.home, "guard_to_sign", {"command": _field(step, "command", str)})
    step.visit.remember(draft["message"], step.now_s)
    return {**_to_sign(step, challenge_of(draft["domain"], draft["message"])), "message": text_of(draft["message"])}


def end_approving(step: Said) -> dict[str, Any]:
    """Hand the approval to the agent; whether this passkey may approve is for the command's roll to say, at each node."""
    step.visit.spend(bytes_of(_field(step, "message", str)), step.now_s)
    credential, assertion = _assertion_in(_field(step, "credential", dict))
    known = _known(step, credential)
    said = {"passkey": known["public"], "assertion": write_assertion(assertion)}
    return dict(ask(step.home, "guard_approve", {"command": _field(step, "command", str), **said}))


STEPS: dict[str, Callable[[Said], dict[str, Any]]] = {
    "make": begin_making,
    "made": end_making,
    "prove": begin_proving,
    "proven": end_proving,
    "say": begin_saying,
    "said": end_saying,
    "approve": begin_approving,
    "approved": end_approving,
}


def text_of(data: bytes) -> str:
    """Write bytes as WebAuthn's JSON does: base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def bytes_of(text: str) -> bytes:
    """Read what ``text_of`` wrote; BadRequest for anything else."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as cause:
        raise BadRequest("these are no bytes in base64url") from cause


def _to_sign(step: Said, challenge: bytes, key: str = "") -> dict[str, Any]:
    """Return what a browser asks for a signature by; of one passkey alone if its ``key`` is named."""
    known = [row for row in ask(step.home, "passkeys", {}) if key in {"", row["key"]}]
    credentials = _credentials(step, known)
    if not credentials:
        raise NotAllowed("your account has no passkey for this page", hint="add one under Me, or use a new login link")
    return {
        "challenge": text_of(challenge),
        "rpId": step.gate.rp_id,
        "allowCredentials": credentials,
        "userVerification": "required",
        "timeout": 120_000,
    }


def _known(step: Said, credential: bytes) -> dict[str, Any]:
    """Return the passkey of this account with this credential."""
    for row in ask(step.home, "passkeys", {}):
        if row["credential"] == credential:
            return dict(row)
    raise NotAllowed("this passkey is not one of your account")


def _credentials(step: Said, known: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Name the passkeys that this page can use: those that were made at its origin."""
    return [{"type": "public-key", "id": text_of(row["credential"])} for row in known if row["rp"] == step.gate.origin]


def _assertion_in(credential: dict[str, Any]) -> tuple[bytes, Assertion]:
    response = credential.get("response")
    if not isinstance(response, dict):
        raise BadRequest("a passkey's answer has a response")
    parts = [credential.get("id"), *(response.get(f) for f in ("authenticatorData", "clientDataJSON", "signature"))]
    if not all(isinstance(part, str) for part in parts):
        raise BadRequest("a passkey's answer has an id, authenticatorData, clientDataJSON and signature")
    told, authenticator, client, signature = (bytes_of(str(part)) for part in parts)
    raw = {"authenticator": authenticator, "client": client, "signature": signature}
    try:
        return told, msgspec.convert(list(raw.values()), Assertion)
    except msgspec.ValidationError as cause:
        raise BadRequest("a passkey's answer has another size") from cause


def _challenge_in(credential: dict[str, Any]) -> bytes:
    """Find the challenge that the browser says it used; whether it was given here is for the visit to say."""
    response = credential.get("response")
    client = response.get("clientDataJSON") if isinstance(response, dict) else None
    if not isinstance(client, str):
        raise BadRequest("a new passkey comes with what the browser says of it")
    try:
        said = msgspec.json.decode(bytes_of(client))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise BadRequest("what the browser says cannot be read") from cause
    challenge = said.get("challenge") if isinstance(said, dict) else None
    if not isinstance(challenge, str):
        raise BadRequest("what the browser says names no challenge")
    return bytes_of(challenge)


def _field(step: Said, name: str, kind: type[T]) -> T:
    value = step.said.get(name)
    if not isinstance(value, kind):
        raise BadRequest(f"{name} is missing, or is something else")
    return value
