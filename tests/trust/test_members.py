"""What a history comes to: the cases that the stories of a log do not show (those: tests/trust/test_keylog.py)."""

from tests.trust.people import DESK, LAPTOP, PHONE, TABLET, THIEF, add, copy_of, household, remove, vouch, with_thief

from worldos.trust.history import History
from worldos.trust.members import BY_RECOVERY, DeviceStatus, view_of


def test_no_history_has_no_members() -> None:
    view = view_of(History())
    assert view.members.devices == ()
    assert view.keys == {}


def test_of_two_admissions_at_once_the_ripe_one_speaks() -> None:
    here, there = household(), household()
    add(here, LAPTOP, TABLET, nonce=1)
    add(there, PHONE, TABLET, nonce=2)
    vouch(there, TABLET)
    here.merge(list(there.entries.values()))
    view = view_of(here.history)
    tablet = view.members.get(TABLET.node_id)
    assert tablet is not None
    assert not tablet.young
    assert tablet.added_by == PHONE.node_id
    assert view.live.bit_count() == len(view.keys) + 1


def test_a_device_that_was_struck_while_young_is_shown_as_revoked_and_a_hidden_one_not_at_all() -> None:
    log, _, _ = with_thief()
    hidden = copy_of(log)
    add(hidden, THIEF, DESK, nonce=5)
    add(log, THIEF, TABLET)
    remove(log, PHONE, THIEF)
    log.merge(list(hidden.entries.values()))
    view = view_of(log.history)
    tablet = view.members.get(TABLET.node_id)
    assert tablet is not None
    assert tablet.status is DeviceStatus.REVOKED
    assert view.members.get(LAPTOP.node_id).added_by == BY_RECOVERY
    assert {device.name for device in view.members.active} == {"laptop", "phone", "desk"}
