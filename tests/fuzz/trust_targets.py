"""What the fuzzers throw bytes at in trust: keys, logs, grants, requests, notes, tickets, certificates, codes."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import msgspec

from tests.attacks.hostile_tokens import ACCOUNT, HOLDER, NOW_S, REAL, UNTIL, ours, parts_of
from tests.fuzz.target import Target, refused
from worldos.errors import NotAllowed, OverQuota
from worldos.model.rights import Op
from worldos.model.statements import Statement, Topic
from worldos.trust import cbor, certs, channel, entries, feature_code, note, passkeys, roots, ticket, tiles
from worldos.trust.epochs import read_epoch, tell_epoch
from worldos.trust.grant import Grants, check_chain, grant_hash, narrow, read_chain
from worldos.trust.hybrid import HybridKey, seal_hybrid
from worldos.trust.keys import DeviceKey
from worldos.trust.request import Request, Requests, read_request, sign_request
from worldos.trust.revocation import read_revocation
from worldos.trust.statements import check_statement, sign_statement

KEY = DeviceKey.from_seed(b"k" * 32)
NARROWED = narrow(REAL, HOLDER, holder=HOLDER.node_id, limits=UNTIL)
HELD = check_chain(read_chain(REAL), root_key_ok=ours, now_s=NOW_S, cache=Grants())
REQUEST = sign_request(
    HOLDER,
    Request(
        op=Op.LEASE,
        path=(ACCOUNT, "node"),
        body=hashlib.sha256(b"").digest(),
        at_s=NOW_S,
        stream=1,
        number=1,
        chain=grant_hash(REAL),
    ),
)
GENUINE = {REAL, NARROWED}


def read_cbor(data: bytes) -> None:
    """Whatever passes is the one way to write it."""

    def read() -> None:
        assert cbor.encode(cbor.decode(data)) == data

    refused(read)


def grant(data: bytes) -> None:
    """A grant: nothing but what was signed passes."""
    taken = not refused(
        lambda: check_chain(read_chain(data), root_key_ok=ours, now_s=NOW_S, cache=Grants()), NotAllowed
    )
    assert not taken or data in GENUINE


def block_below(data: bytes) -> None:
    """Any bytes as a block, well signed by the holder of a real grant: it lets nothing through that he had not."""
    body, signature = parts_of(REAL)[:2]
    chain = cbor.encode([body, signature, data, HOLDER.sign("grant", data)])

    def read() -> None:
        held = check_chain(read_chain(chain), root_key_ok=ours, now_s=NOW_S, cache=Grants())
        assert set(held.ops) <= set(HELD.ops)
        assert held.cls <= HELD.cls
        assert held.level <= HELD.level
        assert held.expires_s <= HELD.expires_s
        assert held.paths[: len(HELD.paths)] == HELD.paths
        assert cbor.encode(cbor.decode(data)) == data

    refused(read, NotAllowed)


def request(data: bytes) -> None:
    """A request: only what the holder signed, once."""
    requests = Requests()

    def take() -> None:
        requests.check(read_request(data), HELD, NOW_S)

    if not refused(take, NotAllowed, OverQuota):
        assert data == REQUEST
        assert refused(take, NotAllowed)


_GENESIS = entries.sign_entry(KEY, entries.Genesis(recovery=KEY.public))
_ACCOUNT = entries.hash_of(_GENESIS)
_CLAIM = entries.accept_claim(HOLDER, _ACCOUNT, "laptop", roots.root_certificate(HOLDER), bytes(32))  # type: ignore[arg-type]
_ADDED = entries.sign_entry(
    KEY,
    entries.AddDevice(
        warrant=_ACCOUNT,
        parents=(_ACCOUNT,),
        device=HOLDER.node_id,
        name="laptop",
        root_cert=_CLAIM.root_cert,
        nonce=_CLAIM.nonce,
        acceptance=_CLAIM.signature,
    ),
)


def key_log_entry(data: bytes) -> None:
    """An entry of a key log: what is read, is written so."""

    def read() -> None:
        signed = entries.SignedEntry(body=data, signature=bytes(64))
        entry = entries.read_entry(signed)
        assert msgspec.msgpack.encode(entry) == data

    refused(read)


def statement(data: bytes) -> None:
    """A statement: nothing passes that its signer did not say."""
    real = sign_statement(KEY, Topic.REVOKED, b"body")
    said = Statement(topic=Topic.REVOKED, signer=KEY.node_id, body=data[64:], signature=data[:64])
    if not refused(lambda: check_statement(said)):
        assert said == real


_STATEMENT = sign_statement(KEY, Topic.REVOKED, b"body")


def leaf(data: bytes) -> None:
    """A certificate: who it says it is, it is."""
    if not refused(lambda: certs.read_leaf(data)):
        assert certs.read_leaf(data).node == KEY.node_id
        assert data == LEAF


LEAF = certs.fresh_leaf(KEY, NOW_S, b"l" * 32)[0]
ROOT = roots.root_certificate(KEY)


def root(data: bytes) -> None:
    """The root of a device: every byte but its signature, which carries no weight there, is what it must be."""
    if not refused(lambda: roots.check_root(KEY.node_id, data)):
        assert data[:-64] == ROOT[:-64]


def checkpoint(data: bytes) -> None:
    """A note and a checkpoint in it: only what the log signed."""

    def read() -> None:
        said = note.read_note(data)
        assert note.read_note(note.write_note(said)) == said
        note.cosignatures(said)

    refused(read)
    if not refused(lambda: note.check_checkpoint(data, KEY.node_id)):
        assert data.startswith(NOTE.split(b"\n\n")[0])
    refused(lambda: note.read_checkpoint(data.decode("utf-8", "replace")))


NOTE = note.sign_checkpoint(KEY, 7, bytes(32))


def bundle(data: bytes) -> None:
    def read() -> None:
        assert tiles.bundle(tiles.read_bundle(data)) == data

    refused(read)


_PASSKEY = json.loads((Path(__file__).parent.parent / "golden" / "passkeys.json").read_text())


def _raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _assertion_of(said: dict[str, str]) -> bytes:
    return passkeys.write_assertion(
        passkeys.Assertion(
            authenticator=_raw(said["authenticatorData"]),
            client=_raw(said["clientDataJSON"]),
            signature=_raw(said["signature"]),
        )
    )


SIGNED = tuple(_assertion_of(each["response"]) for each in _PASSKEY["assertions"])
_ORIGIN, _DOMAIN, _MESSAGE = _PASSKEY["origin"], _PASSKEY["domain"], _PASSKEY["message"].encode()
_POINT = _raw(_PASSKEY["registration"]["response"]["publicKey"])[-64:]
POINT = bytes.fromhex("a5010203262001215820") + _POINT[:32] + bytes.fromhex("225820") + _POINT[32:]


def assertion(data: bytes) -> None:
    """What a passkey signed: what is read, is written so; and nothing else than it signed passes."""

    def read() -> None:
        said = passkeys.read_assertion(data)
        assert passkeys.write_assertion(said) == data
        passkeys.verify_assertion(POINT, _ORIGIN, said, _DOMAIN, _MESSAGE)

    if not refused(read):
        assert data in SIGNED


def cose_key(data: bytes) -> None:
    refused(lambda: passkeys.check_passkey(data, "https://example.org"))
    refused(lambda: passkeys.check_origin(data.decode("utf-8", "replace")))


HYBRID = HybridKey(b"h" * 32)
SEALED = seal_hybrid(HYBRID.public, b"secret", about=b"test")


def sealed(data: bytes) -> None:
    if not refused(lambda: HYBRID.open(data, about=b"test")):
        assert data == SEALED


def pairing_frames(data: bytes) -> None:
    """The stream of a machine that joins: cut to frames, whatever comes."""

    def read() -> None:
        stream = channel.Frames()
        stream.feed(data)
        while stream.next() is not None:
            pass

    refused(read)


def text_codes(data: bytes) -> None:
    """What people type or paste: tickets and codes of persons."""
    text = data.decode("utf-8", "replace")
    for guest in ticket.Guest:

        def read(guest: ticket.Guest = guest) -> None:
            found = ticket.Ticket.parse(text, guest)
            assert ticket.Ticket.parse(found.encode(), guest) == found

        refused(read)
    if not refused(lambda: feature_code.read_feature_code(text)):
        assert feature_code.is_feature_code(text)


def told(data: bytes) -> None:
    """Bodies of statements about epochs and revocations."""
    refused(lambda: read_epoch(data))
    refused(lambda: read_revocation(data))


TARGETS: dict[str, Target] = {
    "cbor": Target(read_cbor, (cbor.encode({"a": [1, -1, b"x", None, True], "b": {1: "x"}}), REAL)),
    "grant": Target(grant, (REAL, NARROWED)),
    "inside-grant": Target(block_below, (parts_of(NARROWED)[2], parts_of(REAL)[0])),
    "ask": Target(request, (REQUEST,)),
    "keylog": Target(key_log_entry, (_GENESIS.body, _ADDED.body)),
    "statement": Target(statement, (_STATEMENT.signature + _STATEMENT.body,)),
    "leaf": Target(leaf, (LEAF,)),
    "root": Target(root, (ROOT,)),
    "note": Target(checkpoint, (NOTE,)),
    "bundle": Target(bundle, (tiles.bundle([b"a", b"bc"]),)),
    "passkey": Target(assertion, SIGNED),
    "cose": Target(cose_key, (POINT, b"https://example.org")),
    "hybrid": Target(sealed, (SEALED,)),
    "pairing": Target(pairing_frames, (channel.framed(b"hello"),)),
    "typed": Target(text_codes, (feature_code.feature_code_of(ACCOUNT).encode(), b"wos-ticket")),
    "told": Target(told, tell_epoch(3, b"e" * 32, [(KEY.node_id, HYBRID.public)])),
}
