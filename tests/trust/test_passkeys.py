"""Passkeys against py_webauthn as oracle, and against what Chromium really gives (tests/golden/passkeys.json)."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.trust.soft_passkey import ORIGIN, PRESENT_AND_VERIFIED, SoftPasskey, b64
from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers.exceptions import WebAuthnException

from worldos.errors import BadSignature, PeerBroke
from worldos.trust.passkeys import (
    Assertion,
    challenge_of,
    check_passkey,
    read_assertion,
    rp_id_of,
    verify_assertion,
    write_assertion,
)

GOLDEN: dict[str, Any] = json.loads(Path("tests/golden/passkeys.json").read_text())
DOMAIN, MESSAGE = "keylog", b"golden message"
PASSKEY = SoftPasskey()


def raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def assertion_of(said: dict[str, Any]) -> Assertion:
    response = said["response"]
    return Assertion(
        authenticator=raw(response["authenticatorData"]),
        client=raw(response["clientDataJSON"]),
        signature=raw(response["signature"]),
    )


def golden_public() -> bytes:
    """The key of the passkey as py_webauthn reads it out of the registration."""
    return verify_registration_response(
        credential=GOLDEN["registration"],
        expected_challenge=base64.b64decode(GOLDEN["registration_challenge"]),
        expected_rp_id="localhost",
        expected_origin=GOLDEN["origin"],
        require_user_verification=True,
    ).credential_public_key


def ours(public: bytes, assertion: Assertion, message: bytes = MESSAGE, rp: str = ORIGIN) -> bool:
    try:
        verify_assertion(public, rp, assertion, DOMAIN, message)
    except BadSignature:
        return False
    return True


def theirs(public: bytes, assertion: Assertion, message: bytes = MESSAGE, rp: str = ORIGIN) -> bool:
    credential = {
        "id": b64(b"any"),
        "rawId": b64(b"any"),
        "type": "public-key",
        "response": {
            "clientDataJSON": b64(assertion.client),
            "authenticatorData": b64(assertion.authenticator),
            "signature": b64(assertion.signature),
        },
        "clientExtensionResults": {},
    }
    try:
        verify_authentication_response(
            credential=credential,
            expected_challenge=challenge_of(DOMAIN, message),
            expected_rp_id=rp_id_of(rp),
            expected_origin=rp,
            credential_public_key=public,
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, TypeError, KeyError):
        return False
    return True


def test_what_chromium_gives_is_taken() -> None:
    public = golden_public()
    check_passkey(public, GOLDEN["origin"])
    for said in GOLDEN["assertions"]:
        assert ours(public, assertion_of(said))
        assert theirs(public, assertion_of(said))


def test_what_chromium_gives_to_another_port_of_this_machine_is_refused() -> None:
    """The relying party id is the same, and the user was verified: only the origin tells."""
    public, elsewhere = golden_public(), assertion_of(GOLDEN["elsewhere"])
    with pytest.raises(BadSignature, match="another origin"):
        verify_assertion(public, GOLDEN["origin"], elsewhere, DOMAIN, MESSAGE)
    assert not theirs(public, elsewhere)


def test_what_chromium_gave_is_good_for_these_bytes_and_this_purpose_alone() -> None:
    public, said = golden_public(), assertion_of(GOLDEN["assertions"][0])
    assert not ours(public, said, b"another message")
    with pytest.raises(BadSignature, match="signed something else"):
        verify_assertion(public, GOLDEN["origin"], said, "approval", MESSAGE)
    assert not ours(PASSKEY.public, said)


LIES: dict[str, dict[str, Any]] = {
    "a page of another site": {"origin": "https://evil.example"},
    "another port": {"origin": "http://localhost:1"},
    "https in place of http": {"origin": "https://localhost:7381"},
    "another relying party": {"rp_id": "evil.example"},
    "a registration": {"type": "webauthn.create"},
    "another challenge": {"challenge": bytes(32)},
    "nobody there": {"flags": 0x04},
    "somebody there, not verified": {"flags": 0x01},
    "backed up, though it cannot be": {"flags": PRESENT_AND_VERIFIED | 0x10},
}
STRICTER: dict[str, dict[str, Any]] = {
    "a frame inside another site": {"client": {"crossOrigin": True}},
    "a frame, by its top origin": {"client": {"topOrigin": "https://evil.example"}},
    "a key where none belongs": {"flags": PRESENT_AND_VERIFIED | 0x40},
    "a flag that nobody knows": {"flags": PRESENT_AND_VERIFIED | 0x02},
    "extensions that are not there": {"flags": PRESENT_AND_VERIFIED | 0x80},
    "bytes that no flag announces": {"more": b"\xa0"},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused_by_us_and_by_the_oracle(lie: str) -> None:
    said = PASSKEY.assertion(DOMAIN, MESSAGE, **LIES[lie])
    assert not ours(PASSKEY.public, said)
    assert not theirs(PASSKEY.public, said)


@pytest.mark.parametrize("lie", STRICTER)
def test_a_lie_that_others_let_pass_is_refused(lie: str) -> None:
    assert not ours(PASSKEY.public, PASSKEY.assertion(DOMAIN, MESSAGE, **STRICTER[lie]))


@pytest.mark.parametrize(
    ("flags", "more"), [(0x05, b""), (0x0D, b""), (0x1D, b""), (0x85, b"\xa0"), (0x9D, b"\xa1aa\x01")]
)
def test_synced_passkeys_and_extensions_pass(flags: int, more: bytes) -> None:
    said = PASSKEY.assertion(DOMAIN, MESSAGE, flags=flags, more=more, counter=7)
    assert ours(PASSKEY.public, said)
    assert theirs(PASSKEY.public, said)


@pytest.mark.parametrize(
    "client",
    [b"", b"{", b"[]", b'"webauthn.get"', b"\xff\xfe", b"[" * 2000, b'{"type":"webauthn.get"}', b'{"challenge":1}'],
)
def test_a_browser_that_says_nonsense_is_refused(client: bytes) -> None:
    said = PASSKEY.signed(PASSKEY.assertion(DOMAIN, MESSAGE).authenticator, client)
    assert not ours(PASSKEY.public, said)


@given(st.data())
def test_a_changed_byte_is_refused_wherever_it_is(data: st.DataObject) -> None:
    said = assertion_of(GOLDEN["assertions"][0])
    public = golden_public()
    field = data.draw(st.sampled_from(("authenticator", "client", "signature")))
    before = getattr(said, field)
    place, change = data.draw(st.integers(0, len(before) - 1)), data.draw(st.integers(1, 255))
    after = before[:place] + bytes([before[place] ^ change]) + before[place + 1 :]
    changed = Assertion(**{**{f: getattr(said, f) for f in said.__struct_fields__}, field: after})
    assert ours(public, said)
    assert not ours(public, changed)


def test_both_encodings_of_one_signature_pass_so_count_keys() -> None:
    """s and n - s: known, and why approvals are counted by key."""
    from cryptography.hazmat.primitives.asymmetric import utils  # noqa: PLC0415

    said = PASSKEY.assertion(DOMAIN, MESSAGE)
    r, s = utils.decode_dss_signature(said.signature)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    other = Assertion(
        authenticator=said.authenticator, client=said.client, signature=utils.encode_dss_signature(r, order - s)
    )
    assert ours(PASSKEY.public, said)
    assert ours(PASSKEY.public, other)
    assert other.signature != said.signature


def test_a_key_that_is_not_the_one_kind_is_refused_at_the_door() -> None:
    public = PASSKEY.public
    check_passkey(public, ORIGIN)
    y_off = public[:-1] + bytes([public[-1] ^ 1])
    for bad in (b"", public[:-1], public + b"\0", b"\xa6" + public[1:], public[:45] + b"\0" * 32, y_off, bytes(77)):
        with pytest.raises(PeerBroke):
            check_passkey(bad, ORIGIN)
        with pytest.raises(BadSignature):
            verify_assertion(bad, ORIGIN, PASSKEY.assertion(DOMAIN, MESSAGE), DOMAIN, MESSAGE)


@pytest.mark.parametrize("rp", ["https://example.org", "https://a-b.example.org:8443", "http://localhost", ORIGIN])
def test_an_origin_that_can_have_a_passkey(rp: str) -> None:
    check_passkey(PASSKEY.public, rp)
    assert rp_id_of(rp) in {"example.org", "a-b.example.org", "localhost"}
    assert ours(SoftPasskey(rp).public, SoftPasskey(rp).assertion(DOMAIN, MESSAGE), rp=rp)


@pytest.mark.parametrize(
    "rp",
    ["", "localhost", "http://example.org", "http://127.0.0.1:7381", "https://com", "https://example.org/",
     "https://example.org:0", "https://ex\u0430mple.org", "https://EXAMPLE.org", "http://localhost:7381\n",
     "https://a@example.org", "http://localhost.evil.example", "https://" + "a" * 130 + ".org"],
)  # fmt: skip
def test_an_origin_that_cannot_have_one(rp: str) -> None:
    with pytest.raises(PeerBroke):
        check_passkey(PASSKEY.public, rp)


def test_an_assertion_is_written_in_one_way() -> None:
    said = PASSKEY.assertion(DOMAIN, MESSAGE)
    data = write_assertion(said)
    assert read_assertion(data) == said
    for bad in (
        b"",
        data[:-1],
        data + b"\0",
        b"\x93\xc4\x00\xc4\x00\xc4\x00",
        b"\x93" * 4000,
        b"\xdc\x00\x03" + data[1:],
    ):
        with pytest.raises(PeerBroke):
            read_assertion(bad)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_read_back_the_same(data: bytes) -> None:
    try:
        said = read_assertion(data)
    except PeerBroke:
        return
    assert write_assertion(said) == data


def test_a_challenge_depends_on_purpose_and_bytes() -> None:
    assert challenge_of("a", b"bc") != challenge_of("ab", b"c")
    assert challenge_of("keylog", b"x") == hashlib.sha256(b"worldos/keylog\0x").digest()
