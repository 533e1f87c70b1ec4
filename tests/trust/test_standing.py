"""What counts of what was said: two that were cut off, thieves, and any history in any order."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.trust.people import (
    DESK,
    DEVICES,
    LAPTOP,
    PHONE,
    RECOVERY,
    TABLET,
    THIEF,
    active,
    add,
    copy_of,
    history_before,
    household,
    raw,
    remove,
    vouch,
    with_thief,
)

from worldos.errors import NotAllowed, PeerBroke
from worldos.trust.entries import RemoveDevice
from worldos.trust.history import bits
from worldos.trust.keylog import (
    KeyLog,
    hash_of,
    remove_device,
)
from worldos.trust.keys import DeviceKey
from worldos.trust.standing import standing


def both(one: KeyLog, two: KeyLog) -> KeyLog:
    """Merge two logs each way; both must come to the same."""
    left, right = copy_of(one), copy_of(two)
    left.merge(list(two.entries.values()))
    right.merge(list(one.entries.values())[::-1])
    assert left == right
    assert left.members() == right.members()
    assert left.heads() == right.heads()
    return left


def test_removal_wins_over_an_admission_at_the_same_time() -> None:
    here = household()
    remove(here, LAPTOP, DESK)
    there = household()
    add(there, PHONE, DESK, nonce=1)
    assert active(both(here, there)) == {"laptop", "phone"}


def test_what_a_removed_device_says_meanwhile_is_void() -> None:
    here, there = household(), household()
    remove(here, LAPTOP, PHONE)
    add(there, PHONE, TABLET)
    remove(there, PHONE, DESK)
    assert active(both(here, there)) == {"laptop", "desk"}


def test_two_that_put_each_other_out_are_both_out() -> None:
    here, there = household(), household()
    remove(here, LAPTOP, PHONE)
    remove(there, PHONE, LAPTOP)
    log = both(here, there)
    assert active(log) == {"desk"}
    add(log, DESK, PHONE, nonce=1)
    assert active(log) == {"desk", "phone"}


def test_one_that_takes_its_remover_down_frees_no_other() -> None:
    """A burglar with two devices: the first strikes the laptop that put out both, and the second stays out all the same."""
    log, _, then = with_thief()
    remove(log, LAPTOP, DESK)
    remove(log, LAPTOP, THIEF)
    there = KeyLog(entries=dict(list(log.entries.items())[:then]))
    remove(there, THIEF, LAPTOP)
    assert active(both(log, there)) == {"phone"}


def test_the_words_win_against_a_device_in_every_order() -> None:
    here, there = household(), household()
    remove(here, RECOVERY, PHONE)
    remove(there, PHONE, LAPTOP)
    remove(there, PHONE, DESK)
    assert active(both(here, there)) == {"laptop", "desk"}


def test_three_in_a_circle_are_all_out_and_others_stay() -> None:
    base = household()
    add(base, LAPTOP, TABLET)
    vouch(base, TABLET)
    logs = [copy_of(base) for _ in range(3)]
    for log, (who, whom) in zip(logs, [(LAPTOP, PHONE), (PHONE, DESK), (DESK, LAPTOP)], strict=True):
        remove(log, who, whom)
    assert active(both(both(logs[0], logs[1]), logs[2])) == {"tablet"}


def test_two_admissions_of_one_device_are_one_member() -> None:
    here, there = household(), household()
    add(here, LAPTOP, TABLET, nonce=1)
    add(there, PHONE, TABLET, nonce=2)
    log = both(here, there)
    assert active(log) == {"laptop", "phone", "desk", "tablet"}
    assert len(log.members().devices) == 4


def test_a_thief_that_back_dates_an_admission_gains_nothing() -> None:
    log, warrant, then = with_thief()
    remove(log, PHONE, THIEF)
    late = raw(history_before(log, then), THIEF, "add", TABLET, 0, warrant)
    assert log.merge([late]) == [hash_of(late)]
    assert active(log) == {"laptop", "phone", "desk"}
    assert log.members().get(TABLET.node_id) is None


def test_a_hidden_child_cannot_strike_the_remover() -> None:
    log, _, _ = with_thief()
    hidden = copy_of(log)
    child = hash_of(add(hidden, THIEF, TABLET))
    with pytest.raises(NotAllowed, match="weighs more"):
        remove_device(hidden, TABLET, PHONE.node_id)
    hidden.merge([raw(hidden.history, TABLET, "remove", PHONE, 0, child)])
    remove(log, PHONE, THIEF)
    log.merge(list(hidden.entries.values()))
    assert not log.is_member(THIEF.node_id)
    assert not log.is_member(TABLET.node_id)
    assert log.is_member(LAPTOP.node_id)
    assert log.is_member(PHONE.node_id)


SIGNERS = [RECOVERY, *DEVICES]


says = st.tuples(
    st.integers(0, len(SIGNERS) - 1),
    st.sampled_from(["add", "add", "remove"]),
    st.integers(0, len(DEVICES) - 1),
    st.integers(0, 2**16),
)


def story(sayings: list[tuple[int, str, int, int]], start: KeyLog | None = None) -> KeyLog:
    """Let devices say things with any view of the past, honest or not; what the door refuses is not said."""
    log = start or household()
    for number, (who, kind, whom, dice) in enumerate(sayings):
        chance = random.Random(dice)
        view = KeyLog()
        history = log._history
        for place in chance.sample(range(len(history.hashes)), k=min(3, len(history.hashes))):
            view.merge([log.entries[history.hashes[at]] for at in bits(history.past[place] | 1 << place)])
        signer, seen = SIGNERS[who], view._history
        warrants = [0] if who == 0 else list(bits(seen.adds.get(signer.node_id, 0)))
        if not warrants:
            continue
        warrant = seen.hashes[chance.choice(warrants)]
        try:
            log.merge([raw(seen, signer, kind, DEVICES[whom], number + 1, warrant)])
        except PeerBroke:
            continue
    return log


@given(st.lists(says, max_size=14), st.integers(0, 2**32))
@settings(max_examples=60)
def test_any_order_and_redelivery_come_to_the_same(sayings, dice) -> None:
    log, chance = story(sayings), random.Random(dice)
    entries = list(log.entries.values())
    for _ in range(3):
        other = KeyLog()
        while len(other.entries) < len(entries):
            other.merge(chance.choices(entries, k=chance.randint(1, len(entries))))
        assert other == log
        assert other.members() == log.members()
        assert other.heads() == log.heads()


@given(st.lists(says, max_size=14))
@settings(max_examples=80)
def test_what_counts_hangs_together(sayings) -> None:
    """Each admission that counts has a warrant that counts and no removal against it; what is void has a reason."""
    history = story(sayings)._history
    counting = standing(history)
    for place, entry in enumerate(history.entries[1:], start=1):
        warranted = counting >> history.warrants[place] & 1
        struck = history.strikers(place) & counting
        if warranted and not struck and not history.idle >> place & 1:
            assert counting >> place & 1 or not isinstance(entry, RemoveDevice)
        if counting >> place & 1 and not isinstance(entry, RemoveDevice):
            assert warranted
            assert not struck


thefts = st.lists(
    st.tuples(st.sampled_from(["add", "remove"]), st.integers(0, len(DEVICES) - 1), st.integers(0, 2**16)),
    min_size=1,
    max_size=8,
)


def steal(log: KeyLog, thief: DeviceKey, sayings: list[tuple[str, int, int]]) -> KeyLog:
    """Let a device that was just put out, and the children it hides, say what they can, back-dated as they like."""
    log, hidden = copy_of(log), []
    for number, (kind, whom, dice) in enumerate(sayings):
        chance = random.Random(dice)
        history = log._history
        own = [(thief, history.hashes[place]) for place in bits(history.adds[thief.node_id])]
        signer, warrant = chance.choice(own + hidden)
        view = KeyLog()
        for place in [history.places[warrant], *chance.sample(range(len(history.hashes)), k=2)]:
            view.merge([log.entries[history.hashes[at]] for at in bits(history.past[place] | 1 << place)])
        entry = raw(view._history, signer, kind, DEVICES[whom], 1000 + number, warrant)
        try:
            log.merge([entry])
        except PeerBroke:
            continue
        if kind == "add":
            hidden.append((DEVICES[whom], hash_of(entry)))
    return log


@given(st.lists(says, max_size=8), thefts)
@settings(max_examples=80)
def test_what_the_words_put_out_changes_nothing_any_more(before, sayings) -> None:
    log = story(before)
    if log.members().get(PHONE.node_id) is None:
        return
    remove(log, RECOVERY, PHONE)
    assert not log.is_member(PHONE.node_id)
    assert steal(log, PHONE, sayings).members() == log.members()


@given(st.lists(says, max_size=8), thefts)
@settings(max_examples=80)
def test_what_a_device_put_out_never_brings_itself_back(before, sayings) -> None:
    log = story(before)
    if log.members().get(PHONE.node_id) is None or not log.is_member(LAPTOP.node_id):
        return
    remove(log, LAPTOP, PHONE)
    assert not log.is_member(PHONE.node_id)
    after = steal(log, PHONE, sayings)
    assert not after.is_member(PHONE.node_id)
    assert {device.node for device in after.members().active} <= {device.node for device in log.members().active}
