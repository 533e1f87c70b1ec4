"""A log that begins at a snapshot comes to the same as the one that has everything; and a false snapshot to nothing."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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
    household,
    log_of,
    look_twice,
    remove,
    vouch,
    with_thief,
    young_household,
)
from tests.trust.test_sayings import FRIENDS, NEW_WORDS, by_quorum, passkey, quorum
from tests.trust.test_standing import says, story

from worldos.errors import BadSignature, NotAllowed, PeerBroke
from worldos.trust.entries import Snapshot, hash_of, read_entry, sign_entry
from worldos.trust.history import bits
from worldos.trust.keylog import KeyLog, add_device
from worldos.trust.keys import DeviceKey
from worldos.trust.sayings import rekey, set_guardians, shared_genesis, snapshot, snapshot_entry
from worldos.trust.snapshot import check_snapshot


def compacted(log: KeyLog, words: DeviceKey = RECOVERY) -> tuple[KeyLog, str]:
    """Sign a snapshot into this log; return another log that begins at it, and the id of the snapshot."""
    made = snapshot(log, words)
    assert log.merge([made]) == [hash_of(made)]
    assert log.snapshot_to_forget_before() == hash_of(made)
    short = copy_of(log)
    short.forget_before(hash_of(made))
    return short, hash_of(made)


def same(short: KeyLog, whole: KeyLog) -> None:
    assert {d.node: (d.name, d.young) for d in short.members().active} == {
        d.node: (d.name, d.young) for d in whole.members().active
    }
    weights = [{k: log.history.weight_at(at, log.counting) for k, at in log.keys.items()} for log in (short, whole)]
    assert weights[0] == weights[1]


def busy_household() -> KeyLog:
    log, _, _ = with_thief()
    for number in range(1, 9):
        remove(log, LAPTOP, TABLET) if TABLET.node_id in log.keys else add(log, PHONE, TABLET, nonce=number)
    remove(log, PHONE, THIEF)
    passkey(log, RECOVERY)
    log.merge([set_guardians(log, RECOVERY, quorum())])
    look_twice(log, DESK)
    return log


def test_a_log_that_begins_at_a_snapshot_is_short_and_comes_to_the_same() -> None:
    log = busy_household()
    short, made = compacted(log)
    same(short, log)
    assert len(short.entries) < len(log.entries) / 2
    assert short.has_seen(log.heads(), made)
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(short), type=KeyLog)
    assert read.members() == short.members()
    fresh = KeyLog()
    assert set(fresh.merge(list(short.entries.values())[::-1])) == set(short.entries)
    assert fresh.members() == short.members()


def test_life_goes_on_in_both_and_they_agree() -> None:
    log = young_household()
    short, _ = compacted(log)
    remove(short, PHONE, LAPTOP)  # of the two first devices each may put the other out, also after a snapshot
    assert active(short) == {"phone"}
    log.merge(short.since(log.heads()))
    same(short, log)
    add(log, RECOVERY, TABLET)
    short.merge(log.since(short.heads()))
    same(short, log)
    again, _ = compacted(short)
    assert log.merge(again.since(log.heads()))
    same(again, log)


def test_a_device_that_was_away_takes_the_snapshot_in_the_place_of_what_it_missed() -> None:
    log = household()
    behind = copy_of(log)
    remove(log, LAPTOP, DESK)
    short, _ = compacted(log)
    add(short, PHONE, TABLET)
    behind.merge(short.since(behind.heads()))
    same(behind, short)
    assert active(behind) == {"laptop", "phone", "tablet"}


def test_what_was_forgotten_comes_back_by_nobody() -> None:
    log = busy_household()
    short, _ = compacted(log)
    before = short.members()
    assert short.merge(list(log.entries.values())[::-1]) == []
    assert short.members() == before
    with pytest.raises(PeerBroke, match="second time"):
        short.merge([add_device(short, PHONE, claim(THIEF))])


def test_a_thiefs_child_does_not_bring_it_back_after_a_snapshot() -> None:
    log, _, _ = with_thief()
    add(log, THIEF, TABLET)
    vouch(log, TABLET)
    remove(log, PHONE, THIEF)
    short, _ = compacted(log)
    assert active(short) == {"laptop", "phone", "desk", "tablet"}
    assert {d.name for d in short.members().devices} >= {"thief"}
    with pytest.raises(NotAllowed, match="admitted by"):
        add_device(short, TABLET, claim(THIEF, 1))


def test_the_words_on_a_bare_machine_still_bring_it_in() -> None:
    log = household()
    short, _ = compacted(log)
    bare = log_of()
    add(bare, RECOVERY, TABLET)
    short.merge(list(bare.entries.values()))
    log.merge(list(bare.entries.values()))
    bare.merge(list(short.entries.values()))
    same(short, log)
    same(bare, log)
    assert "tablet" in active(bare)


def test_only_words_and_holders_sign_a_snapshot() -> None:
    log = household()
    with pytest.raises(NotAllowed, match="only the recovery key"):
        snapshot(log, LAPTOP)
    log.merge([rekey(log, RECOVERY, NEW_WORDS)])
    with pytest.raises(NotAllowed, match="replaced"):
        snapshot(log, RECOVERY)
    short, _ = compacted(log, NEW_WORDS)
    same(short, log)
    assert KeyLog().merge(list(short.entries.values()))
    firm = KeyLog()
    firm.merge([by_quorum(shared_genesis(quorum(), "firm", b"s" * 16), *FRIENDS[:2])])
    made = by_quorum(snapshot_entry(firm, firm.account), *FRIENDS[1:])
    assert firm.merge([made]) == [hash_of(made)]


def test_a_snapshot_that_says_something_else_is_refused() -> None:
    log = busy_household()
    behind = KeyLog(entries=dict(list(log.entries.items())[:4]))
    entry = read_entry(snapshot(log, RECOVERY))
    assert isinstance(entry, Snapshot)
    everybody = b"\xff" * len(entry.grown)
    for lie in (
        msgspec.structs.replace(entry, grown=everybody),
        msgspec.structs.replace(entry, ended=b"\xff" * len(entry.ended)),
        msgspec.structs.replace(entry, kept=entry.kept[32:], weights=entry.weights[1:]),
        msgspec.structs.replace(entry, marks=b""),
        msgspec.structs.replace(entry, number=7),
        msgspec.structs.replace(entry, weights=entry.weights + b"\1"),
    ):
        with pytest.raises(PeerBroke):
            log.merge([sign_entry(RECOVERY, lie)])
    for key in (LAPTOP, FRIENDS[0]):
        with pytest.raises(BadSignature):
            behind.merge([*log.entries.values(), sign_entry(key, entry)][4:])
    assert KeyLog().merge([sign_entry(RECOVERY, entry), next(iter(log.entries.values()))]) == []


def test_a_long_log_may_come_in_several_messages() -> None:
    log = busy_household()
    short, _ = compacted(log)
    add(short, PHONE, TABLET, nonce=99)
    behind = household()
    pieces = short.since(behind.heads())
    for piece in pieces[:-1]:
        behind.merge([piece])
    assert active(behind) == {"laptop", "phone", "desk"}
    behind.merge(pieces[-1:])
    same(behind, short)


def test_old_words_make_no_new_beginning_for_those_who_know_the_new() -> None:
    log = household()
    there = copy_of(log)
    log.merge([rekey(log, RECOVERY, NEW_WORDS)])
    add(there, RECOVERY, THIEF)
    remove(there, RECOVERY, DESK)
    false, _ = compacted(there)
    before = log.members()
    with pytest.raises(PeerBroke, match="put out"):
        log.merge(list(false.entries.values()))
    assert log.members() == before


def test_an_old_snapshot_from_a_stolen_disk_brings_nobody_back() -> None:
    """It was signed on a machine that was off, and never told to anybody; since then the thief was put out."""
    log, _, _ = with_thief()
    stolen = copy_of(log)
    add(stolen, RECOVERY, TABLET)
    remove(stolen, RECOVERY, TABLET)
    old, _ = compacted(stolen)
    remove(log, PHONE, THIEF)
    before = log.members()
    with pytest.raises(PeerBroke, match="brings back"):
        log.merge(list(old.entries.values()))
    assert log.members() == before


def test_a_log_with_two_ends_is_not_cut() -> None:
    log = household()
    there = copy_of(log)
    made = snapshot(log, RECOVERY)
    log.merge([made])
    add(there, PHONE, TABLET)
    log.merge(list(there.entries.values()))
    assert log.snapshot_to_forget_before() == ""
    assert "tablet" in active(log)


@pytest.mark.parametrize("field", ["kept", "weights", "ended", "grown", "alone", "marks"])
def test_parts_that_do_not_fit_are_refused(field: str) -> None:
    entry = read_entry(snapshot(busy_household(), RECOVERY))
    assert isinstance(entry, Snapshot)
    check_snapshot(entry)
    with pytest.raises(PeerBroke):
        check_snapshot(msgspec.structs.replace(entry, **{field: getattr(entry, field) + b"\xff"}))


def ancestors(log: KeyLog, entry_id: str) -> set[str]:
    return {log.history.hashes[at] for at in bits(log.history.past[log.history.places[entry_id]])}


@given(st.lists(says, max_size=8), st.lists(says, max_size=6), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_any_story_goes_on_alike_with_and_without_its_beginning(before, after, dice) -> None:
    log = story(before)
    if len(log.heads()) > 4:
        return
    short, made = compacted(log)
    same(short, log)
    told = story(after, copy_of(log))
    known = {*short.history.places}
    later = []
    for hashed, entry in zip(told.history.hashes, told.history.entries, strict=True):
        # What is void is passed on by no honest signer: an entry that names it as a parent hangs in the air.
        if hashed not in known and made in ancestors(told, hashed) and set(entry.parents) <= known:
            later.append(told.entries[hashed])
            known.add(hashed)
    chance = random.Random(dice)
    for log_ in (log, short):
        pieces = later[:]
        chance.shuffle(pieces)
        for _ in range(len(pieces) + 1):
            log_.merge(pieces)
    same(short, log)
