"""What no honest signer could have made, or made before its time, does not come in."""

import pytest
from tests.trust.people import (
    DESK,
    GENESIS,
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
    household,
    log_of,
    raw,
    remove,
    vouch,
    with_thief,
)

from worldos.errors import BadRequest, NotAllowed, PeerBroke
from worldos.trust.entries import RemoveDevice, sign_entry
from worldos.trust.keylog import (
    KeyLog,
    add_device,
    hash_of,
    new_account,
    remove_device,
)


def test_an_old_acceptance_does_not_bring_a_device_back_against_its_will() -> None:
    log = household()
    remove(log, DESK, DESK)
    again = add_device(log, LAPTOP, claim(DESK, nonce=0))
    with pytest.raises(PeerBroke, match="acceptance is used a second time"):
        log.merge([again])


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
    vouch(seen, TABLET)
    remove(seen, PHONE, THIEF)
    assert seen.is_member(TABLET.node_id)
    with pytest.raises(NotAllowed, match="admitted by"):
        add_device(seen, TABLET, claim(THIEF, 1))


def test_a_parent_that_does_not_exist_leads_nowhere() -> None:
    log, warrant, _ = with_thief()
    nowhere = RemoveDevice(warrant=warrant, parents=(hash_of(new_account(b"z" * 32)),), device=LAPTOP.node_id)
    assert log.merge([sign_entry(THIEF, nowhere)]) == []
    assert log == with_thief()[0]


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


def test_an_entry_before_its_parents_is_left_out_until_they_come() -> None:
    log = household()
    late = add(log, LAPTOP, TABLET)
    short = log_of()
    assert short.merge([late]) == []
    assert short.missing([hash_of(late)]) == [hash_of(late)]
    assert short.merge([late, *log.entries.values()]) == list(log.entries)[1:]
    assert short == log
