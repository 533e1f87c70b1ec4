"""The one list of who can act for an account, and the sentence that says how it comes back."""

from tests.trust.people import (
    DESK,
    LAPTOP,
    PHONE,
    RECOVERY,
    TABLET,
    add,
    household,
    look_twice,
    remove,
    young_household,
)
from tests.trust.test_sayings import FRIENDS, by_quorum, passkey, quorum

from worldos.trust.actors import ActorKind, limits_of, recovery_path, who_can_act
from worldos.trust.history import VETO_S
from worldos.trust.keylog import KeyLog
from worldos.trust.sayings import rekey, set_guardians, shared_genesis, witness


def test_the_strongest_come_first_and_each_says_who_let_it_in() -> None:
    log = household()
    log.merge([set_guardians(log, RECOVERY, quorum())])
    passkey(log, RECOVERY)
    actors = who_can_act(log)
    assert [(actor.kind, actor.weight) for actor in actors] == [
        (ActorKind.RECOVERY, 10),
        (ActorKind.GUARDIANS, 9),
        (ActorKind.PASSKEY, 3),
        (ActorKind.DEVICE, 1),
        (ActorKind.DEVICE, 1),
        (ActorKind.DEVICE, 1),
    ]
    by = {actor.name: actor.by for actor in actors}
    assert by["24 words"] == ""
    assert by["laptop"] == RECOVERY.node_id
    assert by["phone"] == LAPTOP.node_id
    assert limits_of(actors[0]) == "none"
    assert len({limits_of(actor) for actor in actors}) == 4
    assert actors[1].threshold == 2
    assert len(actors[1].seats) == 3


def test_who_is_out_is_not_in_the_list() -> None:
    log = household()
    remove(log, LAPTOP, PHONE)
    assert {actor.name for actor in who_can_act(log)} == {"24 words", "laptop", "desk"}


def test_a_young_device_shows_since_when_it_is_known_and_when_it_may_be_grown() -> None:
    log = household()
    add(log, LAPTOP, TABLET)
    tablet = next(actor for actor in who_can_act(log) if actor.name == "tablet")
    assert (tablet.young, tablet.weight, tablet.since_s, tablet.ripens_s) == (True, 0, 0, 0)
    assert "puts nobody grown out" in limits_of(tablet)
    log.merge([witness(log, PHONE, 1_000_000)])
    tablet = next(actor for actor in who_can_act(log) if actor.name == "tablet")
    assert (tablet.since_s, tablet.ripens_s) == (1_000_000, 1_000_000 + VETO_S)
    look_twice(log, DESK, 1_000_000)
    tablet = next(actor for actor in who_can_act(log) if actor.name == "tablet")
    assert (tablet.young, tablet.weight) == (False, 1)


def test_there_is_one_recovery_path_and_it_is_the_strongest() -> None:
    log = household()
    assert "24 recovery words" in recovery_path(who_can_act(log))
    log.merge([set_guardians(log, RECOVERY, quorum())])
    assert "24 recovery words" in recovery_path(who_can_act(log))
    there = KeyLog(entries=dict(log.entries))
    log.merge([rekey(log, RECOVERY, TABLET)])
    there.merge([rekey(there, RECOVERY, FRIENDS[0])])
    log.merge(list(there.entries.values()))
    assert "2 of 3 guardians" in recovery_path(who_can_act(log))
    firm = KeyLog()
    firm.merge([by_quorum(shared_genesis(quorum(), "the firm", b"s" * 16), *FRIENDS[:2])])
    assert "2 of 3 holders" in recovery_path(who_can_act(firm))
    assert recovery_path(()).startswith("by nothing")
    assert all(actor.young == (actor.name in {"phone", "desk"}) for actor in who_can_act(young_household()))
