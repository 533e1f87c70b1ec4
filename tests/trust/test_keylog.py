"""The log as stories: who is in after what was said, and what may never get in."""

import contextlib
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.trust.people import (
    ACCOUNT,
    DESK,
    DEVICES,
    GENESIS,
    LAPTOP,
    PHONE,
    RECOVERY,
    ROOTS,
    TABLET,
    THIEF,
    active,
    add,
    claim,
    copy_of,
    log_of,
    raw,
    remove,
)

from worldos.errors import BadRequest, BadSignature, NotAllowed, OverQuota, PeerBroke
from worldos.trust import keylog
from worldos.trust.entries import Genesis, RemoveDevice, SignedEntry, read_entry, sign_entry
from worldos.trust.keylog import (
    DeviceStatus,
    KeyLog,
    accept_claim,
    add_device,
    hash_of,
    new_account,
    remove_device,
)
from worldos.trust.keys import DeviceKey
from worldos.trust.standing import bits, standing
from worldos.trust.words import seed_from_words, words_from_entropy


def household() -> KeyLog:
    """Laptop by the words, phone by the laptop, desk by the laptop."""
    log = log_of()
    add(log, RECOVERY, LAPTOP)
    add(log, LAPTOP, PHONE)
    add(log, LAPTOP, DESK)
    return log


# -- how an account lives --------------------------------------------------------------------------------------------


def test_the_words_alone_name_the_account_again() -> None:
    words = words_from_entropy(b"w" * 32)
    first, again = (new_account(seed_from_words(text)) for text in (words, words.upper()))
    assert first == again
    assert KeyLog(entries={hash_of(first): first}).account == hash_of(first)


def test_a_device_is_admitted_by_two_signatures() -> None:
    log = household()
    members = log.members()
    assert members.account == ACCOUNT == hash_of(GENESIS)
    assert active(log) == {"laptop", "phone", "desk"}
    by = {device.name: device.added_by for device in members.devices}
    assert by == {"laptop": "recovery", "phone": LAPTOP.node_id, "desk": LAPTOP.node_id}
    assert [device.node for device in members.devices] == sorted(device.node for device in members.devices)
    assert members.devices[0].root_cert == ROOTS[members.devices[0].node]
    assert log.is_member(PHONE.node_id)
    assert not log.is_member(THIEF.node_id)


def test_a_removed_device_stays_in_the_list_as_revoked() -> None:
    log = household()
    remove(log, PHONE, DESK)
    found = log.members().get(DESK.node_id)
    assert found is not None
    assert found.status is DeviceStatus.REVOKED
    assert not log.is_member(DESK.node_id)
    assert active(log) == {"laptop", "phone"}


def test_a_device_may_leave_by_itself() -> None:
    log = household()
    remove(log, DESK, DESK)
    assert active(log) == {"laptop", "phone"}


def test_what_a_device_admitted_before_its_removal_stays() -> None:
    log = household()
    remove(log, PHONE, LAPTOP)
    assert active(log) == {"phone", "desk"}


def test_a_removed_device_comes_back_by_a_fresh_admission_after_the_removal() -> None:
    log = household()
    remove(log, LAPTOP, DESK)
    add(log, PHONE, DESK, nonce=1)
    assert active(log) == {"laptop", "phone", "desk"}
    remove(log, LAPTOP, DESK)
    assert active(log) == {"laptop", "phone"}


def test_an_old_acceptance_does_not_bring_a_device_back_against_its_will() -> None:
    log = household()
    remove(log, DESK, DESK)
    again = add_device(log, LAPTOP, claim(DESK, nonce=0))
    with pytest.raises(PeerBroke, match="acceptance is used a second time"):
        log.merge([again])


def test_a_log_survives_its_encoding() -> None:
    log = household()
    remove(log, PHONE, DESK)
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(log), type=KeyLog)
    assert read == log
    assert read.members() == log.members()
    assert read.heads() == log.heads()


def test_the_members_are_worked_out_once() -> None:
    log = household()
    assert log.members() is log.members()
    before = log.members()
    log.merge(list(log.entries.values()))
    assert log.members() is before
    remove(log, PHONE, DESK)
    assert log.members() is not before


def test_an_empty_log_says_so() -> None:
    assert KeyLog().members().devices == ()
    assert KeyLog().heads() == ()
    with pytest.raises(NotAllowed, match="no account"):
        _ = KeyLog().account


# -- two that were cut off -----------------------------------------------------------------------------------------------


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


def test_heads_missing_and_since_bring_two_logs_together() -> None:
    here, there = household(), household()
    add(here, LAPTOP, TABLET)
    remove(there, PHONE, DESK)
    wanted = there.missing(here.heads())
    assert wanted == list(here.heads())
    assert there.merge(here.since(there.heads())) == wanted
    here.merge(there.since(here.heads()))
    assert here == there
    assert here.since(here.heads()) == []
    assert [hash_of(entry) for entry in here.since(household().heads())] == list(here._history.hashes[4:])
    assert sorted(KeyLog().merge(here.since([]))) == sorted(here.entries)


def test_an_entry_before_its_parents_is_left_out_until_they_come() -> None:
    log = household()
    late = add(log, LAPTOP, TABLET)
    short = log_of()
    assert short.merge([late]) == []
    assert short.missing([hash_of(late)]) == [hash_of(late)]
    assert short.merge([late, *log.entries.values()]) == list(log.entries)[1:]
    assert short == log


# -- thieves -------------------------------------------------------------------------------------------------------------


def history_before(log: KeyLog, entries: int):
    return KeyLog(entries=dict(list(log.entries.items())[:entries]))._history


def with_thief() -> tuple[KeyLog, str, int]:
    """A household with a device that will be stolen; its warrant; how many entries there were while it was a member."""
    log = household()
    warrant = hash_of(add(log, LAPTOP, THIEF))
    return log, warrant, len(log.entries)


def test_a_thief_that_back_dates_an_admission_gains_nothing() -> None:
    log, warrant, then = with_thief()
    remove(log, PHONE, THIEF)
    late = raw(history_before(log, then), THIEF, "add", TABLET, 0, warrant)
    assert log.merge([late]) == [hash_of(late)]
    assert active(log) == {"laptop", "phone", "desk"}
    assert log.members().get(TABLET.node_id) is None


def test_a_removed_device_does_not_re_admit_itself() -> None:
    log, warrant, then = with_thief()
    remove(log, PHONE, THIEF)
    with pytest.raises(NotAllowed, match="removed"):
        add_device(log, THIEF, claim(THIEF, 1))
    for seen in (log._history, history_before(log, then)):
        with pytest.raises(PeerBroke, match="admitted by itself"):
            log.merge([raw(seen, THIEF, "add", THIEF, 1, warrant)])
    assert active(log) == {"laptop", "phone", "desk"}


def test_a_removed_device_is_not_re_admitted_by_its_own_child() -> None:
    """Not by a hidden child, and not by one that was seen and let be."""
    log, _, _ = with_thief()
    hidden = copy_of(log)
    child = hash_of(add(hidden, THIEF, TABLET))
    remove(log, PHONE, THIEF)
    log.merge(list(hidden.entries.values()))
    assert not log.is_member(TABLET.node_id)
    with pytest.raises(PeerBroke, match="by one that it admitted"):
        log.merge([raw(log._history, TABLET, "add", THIEF, 1, child)])

    seen, _, _ = with_thief()
    add(seen, THIEF, TABLET)
    remove(seen, PHONE, THIEF)
    assert seen.is_member(TABLET.node_id)
    with pytest.raises(NotAllowed, match="admitted by"):
        add_device(seen, TABLET, claim(THIEF, 1))


def test_a_hidden_child_cannot_strike_the_remover() -> None:
    log, _, _ = with_thief()
    hidden = copy_of(log)
    add(hidden, THIEF, TABLET)
    remove(hidden, TABLET, PHONE)
    remove(log, PHONE, THIEF)
    log.merge(list(hidden.entries.values()))
    assert not log.is_member(THIEF.node_id)
    assert not log.is_member(TABLET.node_id)
    assert log.is_member(LAPTOP.node_id)


def test_a_parent_that_does_not_exist_leads_nowhere() -> None:
    log, warrant, _ = with_thief()
    nowhere = RemoveDevice(warrant=warrant, parents=(hash_of(new_account(b"z" * 32)),), device=LAPTOP.node_id)
    assert log.merge([sign_entry(THIEF, nowhere)]) == []
    assert len(log.entries) == 5


def test_a_stranger_signs_nothing() -> None:
    log = household()
    with pytest.raises(NotAllowed):
        add_device(log, THIEF, claim(TABLET))
    with pytest.raises(NotAllowed):
        remove_device(log, THIEF, LAPTOP.node_id)
    forged = raw(log._history, THIEF, "remove", LAPTOP, 0, log.account)
    with pytest.raises(BadSignature):
        log.merge([forged])
    assert active(log) == {"laptop", "phone", "desk"}


def test_a_batch_with_one_bad_entry_leaves_the_log_as_it_was() -> None:
    log, other = household(), household()
    bad = msgspec.structs.replace(add(other, LAPTOP, TABLET), signature=bytes(64))
    good = remove_device(log, LAPTOP, DESK.node_id)
    with pytest.raises(BadSignature):
        log.merge([good, bad])
    assert log == household()
    assert log.members() == household().members()
    assert log.merge([good]) == [hash_of(good)]


def test_an_admission_without_the_devices_own_word_is_refused() -> None:
    log = household()
    entry = read_entry(raw(log._history, LAPTOP, "add", TABLET, 0, list(log.entries)[1]))
    for wrong in (
        msgspec.structs.replace(entry, acceptance=claim(TABLET, 1).signature),
        msgspec.structs.replace(entry, name="another name"),
    ):
        with pytest.raises(BadSignature):
            log.merge([sign_entry(LAPTOP, wrong)])
    with pytest.raises(PeerBroke, match="root certificate"):
        log.merge([sign_entry(LAPTOP, msgspec.structs.replace(entry, root_cert=ROOTS[THIEF.node_id]))])


def test_an_acceptance_for_another_account_is_refused() -> None:
    other = hash_of(new_account(b"o" * 32))
    elsewhere = accept_claim(TABLET, other, "tablet", ROOTS[TABLET.node_id])
    with pytest.raises(PeerBroke, match="another account"):
        add_device(household(), LAPTOP, elsewhere)
    with pytest.raises(BadSignature):
        add_device(household(), LAPTOP, msgspec.structs.replace(elsewhere, account=ACCOUNT))


def test_another_accounts_log_is_refused() -> None:
    with pytest.raises(PeerBroke, match="another account"):
        household().merge([new_account(b"o" * 32)])
    with pytest.raises(PeerBroke, match="another account"):
        KeyLog().merge([GENESIS, new_account(b"o" * 32)])


def test_removing_a_device_that_never_was_is_a_mistake_or_a_lie() -> None:
    log = household()
    with pytest.raises(BadRequest, match="no device"):
        remove_device(log, LAPTOP, "nonsense")
    with pytest.raises(PeerBroke, match="never seen"):
        log.merge([raw(log._history, RECOVERY, "remove", TABLET, 0, log.account)])


@pytest.mark.parametrize("name", ["", " x", "x" * 65, "a\x1b[2J", "line\nbreak", "\u202egnp"])
def test_a_name_that_would_spoil_a_terminal_is_refused(name: str) -> None:
    with pytest.raises(PeerBroke, match="printable"):
        accept_claim(TABLET, ACCOUNT, name, ROOTS[TABLET.node_id])


@given(st.binary(max_size=300), st.binary(min_size=64, max_size=64))
def test_garbage_is_refused_and_leaves_nothing(body: bytes, signature: bytes) -> None:
    log = household()
    with pytest.raises(PeerBroke):
        log.merge([SignedEntry(body=body, signature=signature)])


@given(st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=200)
def test_an_entry_with_any_byte_changed_is_refused(place: int, flip: int) -> None:
    log = household()
    signed = list(log.entries.values())[2]
    body = bytearray(signed.body)
    body[place % len(body)] ^= flip
    with contextlib.suppress(PeerBroke, BadSignature):
        # A changed parent is one that does not exist: the entry is left out.
        assert log.merge([SignedEntry(body=bytes(body), signature=signed.signature)]) == []
    assert len(log.entries) == 4


def test_an_entry_is_read_in_one_encoding_only() -> None:
    body = GENESIS.body.replace(b"\xc4\x20", b"\xc5\x00\x20")
    assert msgspec.msgpack.decode(body) == msgspec.msgpack.decode(GENESIS.body)
    with pytest.raises(PeerBroke, match="encoding"):
        KeyLog().merge([SignedEntry(body=body, signature=RECOVERY.sign("keylog", body))])


def test_sizes_are_bounded_at_the_door() -> None:
    with pytest.raises(PeerBroke, match="size"):
        KeyLog().merge([SignedEntry(body=bytes(4097), signature=bytes(64))])
    with pytest.raises(PeerBroke):
        KeyLog().merge([sign_entry(RECOVERY, Genesis(recovery=b"short"))])
    many = [SignedEntry(body=number.to_bytes(2, "big"), signature=b"") for number in range(4097)]
    with pytest.raises(PeerBroke, match="at most 4096"):
        KeyLog().merge(many)


def test_a_full_log_still_takes_a_removal_and_the_words(monkeypatch) -> None:
    """The bounds made small; their relations are those of the real ones."""
    monkeypatch.setattr(keylog, "ENTRIES_MAX", 8)
    monkeypatch.setattr(keylog, "ADDS_MAX", 6)
    monkeypatch.setattr(keylog, "DEVICE_ENTRIES_MAX", 7)
    log, warrant, _ = with_thief()
    add(log, THIEF, TABLET)
    with pytest.raises(OverQuota, match="full"):
        add_device(log, LAPTOP, claim(DESK, 1))
    filler = raw(log._history, THIEF, "add", DESK, 1, warrant)
    assert log.merge([filler]) == []
    remove(log, PHONE, THIEF)
    with pytest.raises(OverQuota, match="full"):
        remove_device(log, PHONE, TABLET.node_id)
    remove(log, RECOVERY, TABLET)
    assert active(log) == {"laptop", "phone", "desk"}


def test_a_signer_that_has_too_many_heads_names_the_ones_that_count(monkeypatch) -> None:
    monkeypatch.setattr(keylog, "PARENTS_MAX", 2)
    log, warrant, then = with_thief()
    before = history_before(log, then)
    remove(log, PHONE, THIEF)
    log.merge([raw(before, THIEF, "add", TABLET, nonce, warrant) for nonce in range(5)])
    assert len(log.heads()) == 6
    add(log, PHONE, THIEF, nonce=9)
    assert log.is_member(THIEF.node_id)


# -- any history, any order ----------------------------------------------------------------------------------------------

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
@settings(max_examples=120)
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
@settings(max_examples=150)
def test_what_counts_hangs_together(sayings) -> None:
    """Each admission that counts has a warrant that counts and no removal against it; what is void has a reason."""
    history = story(sayings)._history
    counting = standing(history)
    for place, entry in enumerate(history.entries[1:], start=1):
        warranted = counting >> history.warrants[place] & 1
        struck = history.strikers(place) & counting
        if warranted and not struck:
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
@settings(max_examples=200)
def test_what_the_words_put_out_changes_nothing_any_more(before, sayings) -> None:
    log = story(before)
    if log.members().get(PHONE.node_id) is None:
        return
    remove(log, RECOVERY, PHONE)
    assert not log.is_member(PHONE.node_id)
    assert steal(log, PHONE, sayings).members() == log.members()


@given(st.lists(says, max_size=8), thefts)
@settings(max_examples=200)
def test_what_a_device_put_out_never_brings_itself_back(before, sayings) -> None:
    log = story(before)
    if log.members().get(PHONE.node_id) is None or not log.is_member(LAPTOP.node_id):
        return
    remove(log, LAPTOP, PHONE)
    assert not log.is_member(PHONE.node_id)
    after = steal(log, PHONE, sayings)
    assert not after.is_member(PHONE.node_id)
    assert {device.node for device in after.members().active} <= {device.node for device in log.members().active}
