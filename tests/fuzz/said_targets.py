"""What the fuzzers throw bytes at in what people and devices tell each other by way of others: bodies of statements, cards,
letters, operations of sessions, guarded commands, decisions, forks of logs, entries of ledgers, and all of it as text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from tests.fuzz.samples import samples
from tests.fuzz.target import Target, refused
from tests.fuzz.trust_targets import ACCOUNT, HYBRID, KEY, NOTE
from worldos.agent.post_desk import read_letter_text
from worldos.kernel import clones, quarantine, records, session_op
from worldos.kernel.behaviour import behaviour
from worldos.kernel.guard import command, owner, roll
from worldos.kernel.guard import said as guard_said
from worldos.kernel.ledger import entry as ledger_entry
from worldos.model.audit import ForkTold
from worldos.model.ids import NodeId
from worldos.model.rights import GRANT_BYTES_MAX
from worldos.model.statements import Topic
from worldos.store import letters
from worldos.trust import cards, epochs, grant_text, revocation, texts
from worldos.trust.hybrid import seal_hybrid
from worldos.trust.keys import DeviceKey
from worldos.trust.statements import sign_statement
from worldos.trust.witness import check_fork, judge

BODIES: dict[str, tuple[Callable[[bytes], Any], Any]] = {
    "post": (cards.read_post, cards.Card | cards.Letter),
    "session": (session_op.read_op, session_op.SessionOp),
    "device": (clones.read_device, clones.DeviceTold),
    "epoch": (epochs.read_epoch, epochs.EpochTold),
    "revoked": (revocation.read_revocation, revocation.Revocation),
    "quarantine": (quarantine.read_said, quarantine.Said),
    "baseline": (behaviour.read_said, behaviour.Said),
    "command": (command.read_command, command.Command),
    "roll": (roll.read_roll, roll.Roll),
    "change": (owner.read_change, owner.Change),
    "record": (records.read_record, records.Record),
}
"""Each with what reads it, and the type that it is made of."""


def rewritten(read: Callable[[bytes], Any]) -> Callable[[bytes], None]:
    """Whatever passes is written again and read as the same."""

    def run(data: bytes) -> None:
        def again() -> None:
            said = read(data)
            assert read(msgspec.msgpack.encode(said)) == said

        refused(again)

    return run


def guarded(data: bytes) -> None:
    """What is said of guarded commands, under each topic."""
    for topic in Topic:
        refused(lambda topic=topic: guard_said.read_said(topic, data))


def card(data: bytes) -> None:
    """A card that a stranger signed: it is checked to its last device, and is of no account of ours."""
    signed = sign_statement(KEY, Topic.CARD, data)
    refused(lambda: cards.check_card(signed))


def leaf(data: bytes) -> None:
    """A leaf of a log of decisions, and the payload that it commits to."""

    def read() -> None:
        found = records.read_leaf(data)
        records.check_payload(found, data[:32].ljust(32, b"\0"), data)

    refused(read)
    refused(lambda: records.read_offer(hashlib.sha256(data).digest(), data))
    refused(lambda: judge(None, NodeId(KEY.node_id), data, 0, (data[:32],)))


def _leaves() -> tuple[bytes, ...]:
    made = []
    for payload in samples(records.Record):
        record = records.read_record(payload)
        made.append(records.write_leaf(record, 1, b"s" * 32, payload))
    return tuple(made)


def fork(data: bytes) -> None:
    """A proof that a log forked: nobody can make one of a log that did not."""

    def read() -> None:
        try:
            told = msgspec.msgpack.decode(data, type=ForkTold)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        check_fork(told)
        raise AssertionError("a fork of a log that never was")

    refused(read)


def text(data: bytes) -> None:
    """Everything that people send each other as text."""
    said = data.decode("utf-8", "replace")
    for read in (cards.read_card_text, read_letter_text):
        refused(lambda read=read: read(said))
    if not refused(lambda: grant_text.read_grant_text(said)):
        assert len(grant_text.read_grant_text(said)) <= GRANT_BYTES_MAX
    refused(lambda: texts.read_text("wos-x-", said))


def letter(data: bytes) -> None:
    """A sealed letter: only what was sealed and signed can be opened."""
    if not refused(lambda: letters.open_letter(data, ACCOUNT, KEY, HYBRID)):
        assert data == LETTER


def _letter() -> bytes:
    contents = samples(letters.Contents)
    writer = DeviceKey.from_seed(b"w" * 32)
    written = letters.sign_contents(
        writer, ACCOUNT, ACCOUNT, msgspec.msgpack.decode(contents[0], type=letters.Contents)
    )
    readers = [letters.Reader(public=KEY.public, hybrid=HYBRID.public)]
    return letters.seal_letter(ACCOUNT, readers, written, bytes(letters.chance_bytes(1)))


LETTER = _letter()
assert seal_hybrid


def ledger(data: bytes) -> None:
    """An entry of a ledger: only by the key of its chain."""
    signed = ledger_entry.SignedEntry(body=data[64:], signature=data[:64].ljust(64, b"\0"))
    if not refused(lambda: ledger_entry.read(signed)):
        assert data == ENTRY


_SIGNED = ledger_entry.sign(KEY, 0, b"", ledger_entry.Mint(to=KEY.node_id, amount=5, evidence=bytes(32)))
ENTRY = _SIGNED.signature + _SIGNED.body

TARGETS: dict[str, Target] = {
    **{f"told-{name}": Target(rewritten(read), samples(kind)) for name, (read, kind) in BODIES.items()},
    "told-guard": Target(guarded, samples(guard_said.Said)),
    "told-card": Target(card, samples(cards.Card), slow=True),
    "told-leaf": Target(leaf, (*_leaves(), NOTE)),
    "told-fork": Target(fork, samples(ForkTold)),
    "told-text": Target(text, (b"wos-card-abc", b"wos-letter-abc", grant_text.grant_text(b"x" * 80).encode())),
    "told-letter": Target(letter, (LETTER,)),
    "told-ledger": Target(ledger, (ENTRY,)),
}
