"""Every kind of entry by every kind of key, honest and not, in any order and any partition: all nodes agree.

The oracle is the log itself, merged in the order in which things were said; the planted bugs show that this can fail.
Snapshots, which no honest node sends in pieces, have their own: tests/trust/test_snapshot.py.
"""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.trust.people import DESK, DEVICES, LAPTOP, PHONE, RECOVERY, THIEF, active, add, claim, household, remove
from tests.trust.soft_passkey import SoftPasskey
from tests.trust.test_sayings import FRIENDS, NEW_WORDS, by_passkey, by_quorum, id_of, quorum

from worldos.errors import BadRequest, NotAllowed, OverQuota, PeerBroke
from worldos.trust import history
from worldos.trust.entries import SignedEntry, hash_of, sign_entry
from worldos.trust.history import VETO_S, History
from worldos.trust.keylog import KeyLog, device_entry
from worldos.trust.sayings import (
    approval_entry,
    guardians_entry,
    passkey_entry,
    rekey_entry,
    removal_entry,
    witness,
)

THUMBS = [SoftPasskey(seed=seed) for seed in (1, 2)]
ED25519 = {key.node_id: key for key in (*DEVICES, RECOVERY, NEW_WORDS)}
PASSKEYS = {id_of(thumb): thumb for thumb in THUMBS}
KINDS = ["add", "add", "passkey", "remove", "remove", "rekey", "guardians", "approve", "look", "look"]

steps = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 2**32)), max_size=16)


def written(log: KeyLog, signer: str, kind: str, chance: random.Random, number: int):
    """Write an entry of a kind for a key, by the builders' rules; they raise where it may not."""
    keys = sorted(log.keys)
    match kind:
        case "add":
            return device_entry(log, signer, claim(chance.choice(DEVICES), 1000 + number))
        case "passkey":
            made = chance.choice(THUMBS)
            return passkey_entry(log, signer, credential=b"c", public=made.public, rp=made.rp, name="thumb")
        case "remove":
            return removal_entry(log, signer, chance.choice(keys))
        case "rekey":
            return rekey_entry(log, signer, NEW_WORDS)
        case "guardians":
            return guardians_entry(log, signer, chance.choice([None, quorum(), quorum(1)]))
        case "approve":
            return approval_entry(log, signer, chance.choice(keys))
    return None


def signed(log: KeyLog, signer: str, kind: str, chance: random.Random, number: int) -> SignedEntry | None:
    if kind == "look":
        key = ED25519.get(signer)
        return witness(log, key, 1 + chance.randint(0, 3) * VETO_S) if key else None
    entry = written(log, signer, kind, chance, number)
    if signer in ED25519:
        return sign_entry(ED25519[signer], entry)
    if signer in PASSKEYS:
        return by_passkey(PASSKEYS[signer], entry)
    return by_quorum(entry, *FRIENDS[:2])


def told(acts: list[tuple[str, int]]) -> list[SignedEntry]:
    """Let keys say things on three machines that hear of each other now and then; return all that was said."""
    machines = [household() for _ in range(3)]
    for number, (kind, dice) in enumerate(acts):
        chance = random.Random(dice)
        log = machines[chance.randrange(3)]
        if chance.random() < 0.3:
            log.merge(list(machines[chance.randrange(3)].entries.values()))
        signer = chance.choice(sorted(log.keys))
        try:
            entry = signed(log, signer, kind, chance, number)
            if entry is not None:
                log.merge([entry])
        except (NotAllowed, BadRequest, OverQuota, PeerBroke):
            continue
    found = {hash_of(entry): entry for log in machines for entry in log.entries.values()}
    return list(found.values())


def anyhow(entries: list[SignedEntry], chance: random.Random) -> KeyLog:
    """Bring entries to a node in a random order and in random parts, some twice."""
    log = KeyLog()
    for _ in range(40):
        log.merge(chance.sample(entries, k=chance.randint(1, len(entries))))
    log.merge(entries)
    return log


def state(log: KeyLog):
    weights = {key: log.history.weight_at(at, log.counting) for key, at in log.keys.items()}
    return log.members(), weights, log.heads()


@given(steps, st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_all_nodes_agree_whatever_reached_them_in_whatever_order(acts, dice) -> None:
    entries, chance = told(acts), random.Random(dice)
    right = KeyLog()
    right.merge(entries)
    for _ in range(3):
        assert state(anyhow(entries, chance)) == state(right)


@given(steps, st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_two_parts_of_what_was_said_come_to_the_same_when_they_meet(acts, dice) -> None:
    entries, chance = told(acts), random.Random(dice)
    here, there = KeyLog(), KeyLog()
    here.merge(chance.sample(entries, k=chance.randint(1, len(entries))))
    there.merge(chance.sample(entries, k=chance.randint(1, len(entries))))
    for log in (here, there):
        log.merge(entries)
    for _ in range(4):  # as two nodes do it: heads there, what is missing back
        here.merge(there.since(here.heads()))
        there.merge(here.since(there.heads()))
    assert state(here) == state(there)


@given(steps)
@settings(max_examples=40, deadline=None)
def test_the_words_that_count_are_never_struck_by_less(acts) -> None:
    log = KeyLog()
    log.merge(told(acts))
    past = log.history
    for place in range(1, len(past.entries)):
        for removal in history.bits(past.strikers(place) & log.counting):
            assert past.weights[removal] >= past.weights[place] or past.past[removal] >> place & 1


_strikers = History.strikers


def plant(bug: str, monkeypatch) -> None:
    """Let the rule look at the order in which things happened to come in."""
    if bug == "the later wins":
        monkeypatch.setattr(History, "undoes", lambda self, removal, admission: removal > admission)
    elif bug == "every other is not looked at":
        monkeypatch.setattr(History, "strikers", lambda self, place: 0 if place % 2 else _strikers(self, place))


@pytest.mark.parametrize("bug", ["", "the later wins", "every other is not looked at"])
def test_a_planted_bug_is_found_and_without_it_the_story_has_one_end(bug: str, monkeypatch) -> None:
    plant(bug, monkeypatch)
    logs = here, there, yonder = [household() for _ in range(3)]
    remove(here, LAPTOP, PHONE)
    remove(there, PHONE, DESK)
    add(there, PHONE, THIEF)
    add(yonder, DESK, PHONE, nonce=1)
    entries = [entry for log in logs for entry in log.entries.values()]
    ends = {tuple(sorted(active(anyhow(entries, random.Random(seed))))) for seed in range(20)}
    assert (ends == {("desk", "laptop")}) == (not bug)
