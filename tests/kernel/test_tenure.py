"""When a place in a group begins, is mended and is over; whole groups are in the tests of seats and replicas."""

from __future__ import annotations

import pytest

from worldos.kernel.raft import LAN, Raft
from worldos.kernel.stored import Recovered
from worldos.kernel.tenure import Tenure, caught_up
from worldos.model.ids import NodeId
from worldos.model.limits import NEVER_NS, SEAT_LONE_NS, SEAT_SETTLED_NS
from worldos.model.raft import NOBODY, AppendAsk, Config, Entry, Vote

ME, OTHER = NodeId("a" * 52), NodeId("b" * 52)
TERM = 3


def log_of(*voters: NodeId, term: int = TERM) -> tuple[Entry, ...]:
    return (Entry(term=term, index=1, config=Config(voters=voters)),)


def recovered(*voters: NodeId, damaged: str = "") -> tuple[Raft, Tenure]:
    disk = Recovered(
        vote=Vote(term=TERM, voted=NOBODY), snapshot=None, entries=log_of(*voters), damaged=damaged, life=2
    )
    return Tenure.recovered(ME, disk, 1, 0, LAN)


def test_an_invited_place_is_over_when_the_log_never_came() -> None:
    raft, tenure = Tenure.invited(ME, 1, 0, LAN)
    assert tenure.due_ns(raft) == SEAT_SETTLED_NS
    assert not tenure.stays_empty(raft, SEAT_SETTLED_NS - 1)
    assert tenure.stays_empty(raft, SEAT_SETTLED_NS)


def test_a_place_whose_log_came_or_that_voted_or_has_a_leader_is_not_over_by_silence() -> None:
    for change in (
        lambda raft: raft.log.append(log_of(ME)),
        lambda raft: setattr(raft, "voted", OTHER),
        lambda raft: setattr(raft, "leader", OTHER),
    ):
        raft, tenure = Tenure.invited(ME, 1, 0, LAN)
        change(raft)
        assert not tenure.stays_empty(raft, SEAT_SETTLED_NS)
    raft, tenure = recovered(ME)
    assert tenure.due_ns(raft) == NEVER_NS


def test_a_lone_member_with_a_damaged_disk_goes_on_alone_when_nobody_comes() -> None:
    raft, tenure = recovered(ME, damaged="a bit fell over")
    assert raft.mending
    assert tenure.due_ns(raft) == SEAT_LONE_NS
    assert not tenure.mends_alone(raft, SEAT_LONE_NS - 1)
    assert tenure.mends_alone(raft, SEAT_LONE_NS)
    assert not raft.mending
    assert not tenure.mends_alone(raft, 2 * SEAT_LONE_NS)


def test_one_of_several_waits_for_a_leader_to_mend_it() -> None:
    raft, tenure = recovered(ME, OTHER, damaged="a bit fell over")
    assert tenure.due_ns(raft) == NEVER_NS
    assert not tenure.mends_alone(raft, 10 * SEAT_LONE_NS)
    assert raft.mending


def test_a_repair_ends_once_with_its_write() -> None:
    tenure = Tenure(mending=7)
    assert [tenure.is_mended(number) for number in (6, 7, 8)] == [False, True, False]


@pytest.mark.parametrize("seated", [True, False])
def test_only_who_once_sat_can_be_left_out(seated: bool) -> None:
    raft, tenure = recovered(ME if seated else OTHER, OTHER)
    tenure.due_ns(raft)
    raft.log.append((Entry(term=TERM, index=2, config=Config(voters=(OTHER,))),))
    asked = AppendAsk(term=TERM, prev_index=1, prev_term=TERM, entries=(), committed=1, round=1)
    assert not tenure.is_left_out(raft, asked)
    raft.log.committed = 2
    assert tenure.is_left_out(raft, asked) is seated


def test_a_group_without_learners_has_none_that_caught_up() -> None:
    assert caught_up(recovered(ME)[0]) == []
