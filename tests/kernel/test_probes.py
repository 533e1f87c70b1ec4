"""Whose turn it is, what is waited for, and how long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.site import DEAD, A, B, C, pair, rumor

from worldos.kernel.dice import Dice
from worldos.kernel.probes import HEALTH_MAX, Errand, Probes
from worldos.kernel.roster import Roster
from worldos.model.ids import NodeId
from worldos.model.limits import MS
from worldos.model.swim import Ack


def some() -> Probes:
    return Probes(dice=Dice(state=3), number=10)


def roster(size: int) -> Roster:
    node = pair()
    for i in range(size - 2):
        node.linked(0, NodeId(f"x{i}"), 1)
    return node.roster


@given(st.integers(3, 30))
def test_in_a_cycle_everyone_has_one_turn(size: int) -> None:
    probes, everyone = some(), roster(size)
    for _ in range(3):
        assert sorted(str(probes.turn(everyone)) for _ in range(size)) == sorted(everyone.members)


def test_the_dead_and_those_still_asked_have_no_turn() -> None:
    node = pair()
    node.linked(0, NodeId("d"), 1)
    node.heard(0, B, Ack(number=0, rumors=(rumor(NodeId("e"), DEAD, 1 << 16),)))
    probes = some()
    probes.start(11, C, 0, MS, hinted=False)
    assert {probes.turn(node.roster) for _ in range(10)} == {B, "d"}


def test_where_nobody_is_left_it_is_nobodys_turn() -> None:
    node = pair()
    node.forget(B)
    node.forget(C)
    assert some().turn(node.roster) is None


def test_a_newcomer_has_its_turn_in_the_cycle_that_runs() -> None:
    everyone = roster(10)
    probes = some()
    begun = [probes.turn(everyone) for _ in range(5)]
    everyone.members[NodeId("new")] = everyone.members[B]
    probes.insert(NodeId("new"))
    rest = [probes.turn(everyone) for _ in range(6)]
    assert "new" in rest
    assert set(begun) | set(rest) == set(everyone.members)


def test_a_second_probe_of_one_target_takes_the_place_of_the_first() -> None:
    probes = some()
    probes.start(11, A, 0, MS, hinted=False)
    probes.start(12, A, 0, MS, hinted=True)
    assert list(probes.open) == [12]
    assert [number for number, _ in probes.overdue(MS)] == [12]
    assert probes.overdue(MS - 1) == []
    probes.stop(A)
    assert probes.probing == probes.open == {}


def test_who_is_unwell_waits_longer_up_to_a_bound() -> None:
    probes = some()
    assert probes.stretched(MS) == MS
    for _ in range(HEALTH_MAX + 5):
        probes.ail()
    assert probes.stretched(MS) == (HEALTH_MAX + 1) * MS
    for _ in range(HEALTH_MAX + 5):
        probes.mend()
    assert probes.stretched(MS) == MS


def test_the_first_deadline_of_all_is_due_and_moves_with_the_rest() -> None:
    probes = some()
    probes.start(11, A, 0, 5 * MS, hinted=False)
    probes.errands[12] = Errand(asker=B, number=1, target=C, deadline_ns=3 * MS)
    assert probes.due_ns(9 * MS) == 3 * MS
    assert probes.due_ns(2 * MS) == 2 * MS
    probes.shift(MS)
    assert probes.due_ns(9 * MS) == 4 * MS
    assert [errand.number for errand in probes.failed_errands(4 * MS)] == [1]
    assert probes.due_ns(9 * MS) == 6 * MS
