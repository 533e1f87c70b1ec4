"""Seats: a council replaces its primary, keeps its charter, and gives a seat only where it may."""

from __future__ import annotations

from tests.kernel.realms.village import Village

from worldos.kernel.charter import PolicySet
from worldos.kernel.realms import seating
from worldos.kernel.stored import Recovered
from worldos.model.raft import TimeoutNow
from worldos.model.realm import RaftSaid, RealmId


def test_what_was_agreed_is_there_under_the_next_primary() -> None:
    village = Village(home=3)
    village.run(25)
    assert village.propose("home1", village.site("home1"), PolicySet(key="lend", value="kin")) == ""
    village.cut(["home0"], ["home1", "home2"])
    village.run(4)
    primary = village.primary("home1", "home2")
    seat = village.nodes[primary].realms.seats[village.site(primary)]
    assert seat.charter.lend == "kin"
    assert village.nodes["home1"].registry.lends


def test_a_stranger_gives_nobody_a_seat() -> None:
    village = Village(home=1, office=1)
    village.run(1)
    node = village.nodes["home0"]
    message = RaftSaid(realm=RealmId("mine"), message=TimeoutNow(term=3))
    stranger = village.nodes["office0"].node
    assert seating.raft_said(node.realms, village.now_ns, stranger, message, node) == []
    assert RealmId("mine") not in node.realms.seats


def test_a_seat_that_comes_back_damaged_does_not_lead_at_once() -> None:
    village = Village(home=1)
    realms = village.nodes["home0"].realms
    realms.founding = False
    effects = realms.recover(
        village.now_ns, realms.site, Recovered(vote=None, snapshot=None, entries=(), damaged="lost", life=2)
    )
    assert effects == [] or realms.seats[realms.site].raft.mending
    village.run(1)
    assert not realms.seats[realms.site].is_primary(village.now_ns)
