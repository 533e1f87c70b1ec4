"""What the fuzzers throw bytes at in key logs: entries of every kind, signed by who may sign anything, quorums and texts."""

from __future__ import annotations

import contextlib

from tests.fuzz.target import Target, refused
from tests.trust.people import DESK, LAPTOP, PHONE, RECOVERY, copy_of, household
from tests.trust.test_sayings import FRIENDS, quorum
from worldos.agent import together
from worldos.errors import BadRequest, BadSignature
from worldos.trust.approvals import check_approvals, join
from worldos.trust.entries import (
    Approve,
    Rekey,
    RemoveKey,
    SetGuardians,
    SignedEntry,
    Snapshot,
    Witnessed,
    accept_rekey,
    approve_body,
    body_of,
    read_entry,
)
from worldos.trust.keylog import KeyLog
from worldos.trust.keys import DeviceKey
from worldos.trust.sayings import snapshot
from worldos.trust.texts import read_text, write_text

LOG = household()
HEADS = LOG.parents()
MINE = LOG.warrant_of(PHONE.node_id)
NEW = DeviceKey.from_seed(b"n" * 32)
KINDS = tuple(
    body_of(entry)
    for entry in (
        RemoveKey(warrant=MINE, parents=HEADS, key=DESK.node_id, keep=HEADS),
        Witnessed(warrant=MINE, parents=HEADS, at_s=5),
        Approve(warrant=LOG.account, parents=HEADS, entry=MINE),
        SetGuardians(warrant=LOG.account, parents=HEADS, quorum=quorum()),
        Rekey(warrant=LOG.account, parents=HEADS, recovery=NEW.public, acceptance=accept_rekey(NEW, LOG.account)),
    )
)
CUT = snapshot(LOG, RECOVERY).body
ASKED = together.Asked(account=LOG.account, device=LAPTOP.node_id, bodies=KINDS[:1])
MESSAGE = b"these bytes"
TOGETHER = join(quorum(), {key.node_id: key.sign("fuzz", MESSAGE) for key in FRIENDS[:2]})


def said_by_a_device(data: bytes) -> None:
    """Anything that a stolen device signs: it is refused, or changes nothing that weighs more."""
    log = copy_of(LOG)
    refused(lambda: log.merge([SignedEntry(body=data, signature=approve_body(PHONE, data))]))
    assert RECOVERY.node_id in log.keys
    assert len(log.entries) <= len(LOG.entries) + 1


def said_by_the_words(data: bytes) -> None:
    """Anything that the words sign: a snapshot of what is here must say what it comes to (others are believed)."""
    log = copy_of(LOG)
    if not refused(lambda: log.merge([SignedEntry(body=data, signature=approve_body(RECOVERY, data))])):
        entry = read_entry(SignedEntry(body=data, signature=bytes(64)))
        if isinstance(entry, Snapshot) and not log.history.base:
            assert log.members() == LOG.members()


def began_at(data: bytes) -> None:
    """A log that is said to begin at a snapshot, for a machine that knows nothing."""
    log = KeyLog()
    signed = SignedEntry(body=data, signature=approve_body(RECOVERY, data))
    refused(lambda: log.merge([signed, *LOG.entries.values()]))


def agreed(data: bytes) -> None:
    """The signature of a quorum: nothing passes that two of them did not sign."""
    try:
        check_approvals(quorum(), data, "fuzz", MESSAGE)
    except BadSignature:
        return
    assert data == TOGETHER


def carried(data: bytes) -> None:
    """Texts that people carry, and what is inside of them."""
    text = data.decode("latin-1")
    for prefix in (together.OFFER, together.ASK, together.VOTE):
        for read in (
            lambda prefix=prefix: read_text(prefix, text),
            lambda prefix=prefix: read_text(prefix, write_text(prefix, data)),
            lambda prefix=prefix: together.read_asked(write_text(together.ASK, data)),
            lambda prefix=prefix: together.read_offer(write_text(together.OFFER, data)),
        ):
            with contextlib.suppress(BadRequest):
                read()


TARGETS = {
    "device-says": Target(said_by_a_device, KINDS, slow=True),
    "words-say": Target(said_by_the_words, (*KINDS, CUT), slow=True),
    "log-begins": Target(began_at, (CUT,), slow=True),
    "quorum": Target(agreed, (TOGETHER,)),
    "carried": Target(
        carried, (together.ask_text(ASKED).encode(), b"\x93\xa1a\xa1b\x91\xa1c"), slow=True
    ),  # it reads each in twelve ways
}
