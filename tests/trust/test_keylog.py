"""The log as stories: who is in after what was said, and what may never get in."""

import msgspec
import pytest
from tests.trust.people import (
    ACCOUNT,
    DESK,
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
    history_before,
    household,
    look_twice,
    raw,
    remove,
    with_thief,
    young_household,
)

from worldos.errors import BadSignature, NotAllowed, OverQuota
from worldos.trust import keylog
from worldos.trust.keylog import (
    DeviceStatus,
    KeyLog,
    add_device,
    hash_of,
    remove_device,
)


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


def test_what_a_device_admitted_long_before_its_removal_stays() -> None:
    log = young_household()
    look_twice(log, PHONE)
    remove(log, PHONE, LAPTOP)
    assert active(log) == {"phone", "desk"}


def test_what_a_device_admitted_just_before_its_removal_goes_with_it() -> None:
    log = young_household()
    remove(log, PHONE, LAPTOP)
    assert active(log) == {"phone"}


def test_a_removed_device_comes_back_by_a_fresh_admission_after_the_removal() -> None:
    log = household()
    remove(log, LAPTOP, DESK)
    add(log, PHONE, DESK, nonce=1)
    assert active(log) == {"laptop", "phone", "desk"}
    remove(log, LAPTOP, DESK)
    assert active(log) == {"laptop", "phone"}


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
    assert [hash_of(entry) for entry in here.since(household().heads())] == list(
        here._history.hashes[len(household().entries) :]
    )
    assert sorted(KeyLog().merge(here.since([]))) == sorted(here.entries)


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


def test_a_full_log_still_takes_a_removal_and_the_words(monkeypatch) -> None:
    """The bounds made small; their relations are those of the real ones."""
    monkeypatch.setattr(keylog, "ENTRIES_MAX", 11)
    monkeypatch.setattr(keylog, "ADDS_MAX", 9)
    monkeypatch.setattr(keylog, "DEVICE_ENTRIES_MAX", 10)
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
