"""Attack: a revoked device back-dates an admission, or lets its own child bring it back; by hand and by random histories.

Run: the thief writes any entry its key can sign, with any view of the past as its parents (so any date it likes), witnesses
with any time, through children it hides or shows; against a household of four that puts it out, by a device and by the
words, before and after a snapshot. 80 random thefts (20 000 with TRUST_LONG=1), each merged in a random order and in
random parts. Must happen: refused. The thief is out in every order, nobody it let in less than 72 hours before is in, and
no device of the household is put out by a child.
"""

from __future__ import annotations

import os
import random

import pytest
from tests.trust.people import (
    DESK,
    LAPTOP,
    PHONE,
    RECOVERY,
    TABLET,
    THIEF,
    active,
    add,
    claim,
    copy_of,
    history_before,
    look_twice,
    raw,
    remove,
    with_thief,
)

from worldos.errors import BadRequest, NotAllowed, OverQuota, PeerBroke
from worldos.trust.certs import root_certificate
from worldos.trust.entries import AddDevice, SignedEntry, Witnessed, accept_claim, hash_of, sign_entry
from worldos.trust.history import VETO_S, bits
from worldos.trust.keylog import KeyLog, add_device, remove_device
from worldos.trust.keys import DeviceKey
from worldos.trust.sayings import snapshot, witness

THEFTS = 20_000 if os.environ.get("TRUST_LONG") else 80
CHILDREN = [DeviceKey.from_seed(bytes([number]) * 32) for number in range(200, 204)]


def test_a_back_dated_admission_is_void() -> None:
    log, warrant, then = with_thief()
    remove(log, PHONE, THIEF)
    for seen in (then - 1, then):
        log.merge([raw(history_before(log, seen), THIEF, "add", TABLET, seen, warrant)])
    assert active(log) == {"laptop", "phone", "desk"}


def test_an_admission_just_before_the_theft_is_noticed_goes_with_the_thief() -> None:
    """The hole of a first design: everybody *has seen* the child when the thief is put out."""
    log, _, _ = with_thief()
    add(log, THIEF, TABLET)
    assert "tablet" in active(log)
    remove(log, PHONE, THIEF)
    assert active(log) == {"laptop", "phone", "desk"}


def test_a_thief_is_no_witness_of_its_own_child_whatever_times_it_says() -> None:
    log, _, _ = with_thief()
    add(log, THIEF, TABLET)
    look_twice(log, THIEF)
    look_twice(log, TABLET, at_s=1)
    remove(log, PHONE, THIEF)
    assert active(log) == {"laptop", "phone", "desk"}


def test_a_child_that_others_saw_for_72_hours_stays_until_it_is_put_out_itself() -> None:
    log, _, _ = with_thief()
    add(log, THIEF, TABLET)
    look_twice(log, DESK)
    remove(log, PHONE, THIEF)
    assert active(log) == {"laptop", "phone", "desk", "tablet"}
    with pytest.raises(NotAllowed):
        add_device(log, TABLET, claim(THIEF, 1))
    remove(log, PHONE, TABLET)
    assert active(log) == {"laptop", "phone", "desk"}


def test_a_child_brings_its_maker_back_neither_before_nor_after_a_snapshot() -> None:
    log, _, _ = with_thief()
    child = hash_of(add(log, THIEF, TABLET))
    look_twice(log, DESK)
    remove(log, RECOVERY, THIEF)
    for begun in (log, cut(log)):
        with pytest.raises(PeerBroke, match="by one that it admitted"):
            begun.merge([raw(begun.history, TABLET, "add", THIEF, 1, child)])
        assert "thief" not in active(begun)


def cut(log: KeyLog) -> KeyLog:
    made = snapshot(log, RECOVERY)
    log.merge([made])
    short = copy_of(log)
    short.forget_before(hash_of(made))
    return short


def theft(log: KeyLog, chance: random.Random) -> list[SignedEntry]:
    """Let the thief and the children it hides say up to eight things, each with a view of the past of its choice."""
    log, said, acting = copy_of(log), list[SignedEntry](), [THIEF]
    for number in range(chance.randint(1, 8)):
        history = log.history
        signer = chance.choice(acting)
        warrants = [history.hashes[at] for at in bits(history.adds.get(signer.node_id, 0))]
        if not warrants:
            continue
        warrant = chance.choice(warrants)
        seen = KeyLog()
        for at in {history.places[warrant], *chance.sample(range(len(history.hashes)), k=2)}:
            seen.merge([log.entries[history.hashes[place]] for place in bits(history.past[at] | 1 << at)])
        kind = chance.choice(["add", "add", "remove", "look"])
        if kind == "look":
            parents = tuple(sorted(seen.heads())[:4])
            at_s = 1 + chance.randint(0, 3) * VETO_S
            entry = sign_entry(signer, Witnessed(warrant=warrant, parents=parents, at_s=at_s))
        else:
            whom = chance.choice([*CHILDREN, THIEF] if kind == "add" else [LAPTOP, PHONE, DESK])
            if whom in CHILDREN:
                entry = child_entry(seen, signer, whom, warrant, number)
                acting.append(whom)
            else:
                entry = raw(seen.history, signer, kind, whom, 100 + number, warrant)
        try:
            taken = log.merge([entry])
        except PeerBroke:
            continue
        said += [entry] if taken else []
    return said


def child_entry(seen: KeyLog, signer: DeviceKey, child: DeviceKey, warrant: str, nonce: int) -> SignedEntry:
    accepted = accept_claim(child, seen.account, "child", root_certificate(child), nonce.to_bytes(32, "big"))
    parents = tuple(sorted(seen.heads()))
    return sign_entry(
        signer,
        AddDevice(
            warrant=warrant,
            parents=parents,
            device=child.node_id,
            name=accepted.name,
            root_cert=accepted.root_cert,
            nonce=accepted.nonce,
            acceptance=accepted.signature,
        ),
    )


def merged(entries: list[SignedEntry], chance: random.Random) -> KeyLog:
    """Bring entries to a node in a random order, in random parts, some of them twice."""
    log = KeyLog()
    while any(hash_of(entry) not in log.entries for entry in entries):
        part = chance.sample(entries, k=chance.randint(1, len(entries)))
        log.merge(part)
    return log


def test_no_random_theft_in_any_order_leaves_the_thief_or_a_child_in() -> None:
    for seed in range(THEFTS):
        chance = random.Random(seed)
        log, _, _ = with_thief()
        stolen = theft(log, chance)
        known = chance.randint(0, len(stolen))
        log.merge(stolen[:known])  # what the household has seen of it when it acts
        try:
            entry = remove_device(log, chance.choice([PHONE, RECOVERY]), THIEF.node_id)
        except (BadRequest, NotAllowed, OverQuota):
            entry = remove_device(log, RECOVERY, THIEF.node_id)
        log.merge([entry])
        before = active(log)
        after = merged([*log.entries.values(), *stolen[known:]], chance)
        assert not after.is_member(THIEF.node_id), f"seed {seed}"
        assert not any(after.is_member(child.node_id) for child in CHILDREN), f"seed {seed}"
        assert active(after) <= before, f"seed {seed}"
        if entry.body == read_by_words(log, entry):
            assert active(after) == before, f"seed {seed}: the words were struck"


def read_by_words(log: KeyLog, entry: SignedEntry) -> bytes:
    """Return the body of an entry that the words signed, else nothing."""
    place = log.history.places[hash_of(entry)]
    return entry.body if log.history.signers[place] == RECOVERY.node_id else b""


def test_the_same_times_by_honest_devices_count() -> None:
    """The control: what makes a child stay is only that others saw it."""
    log, _, _ = with_thief()
    add(log, THIEF, TABLET)
    log.merge([witness(log, DESK, 1_000_000)])
    log.merge([witness(log, PHONE, 1_000_000 + VETO_S)])
    remove(log, LAPTOP, THIEF)
    assert "tablet" in active(log)
