"""The table: what follows of strange behaviour, and who may say what is usual."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel.behaviour.traffic import Person, learnt, requests
from tests.test_node import node_of

from worldos.errors import PeerBroke
from worldos.kernel.behaviour.asked import Asked
from worldos.kernel.behaviour.baseline import Baseline
from worldos.kernel.behaviour.behaviour import Frozen, Usual, encode_said, read_said
from worldos.kernel.behaviour.limits import PRINCIPALS_MAX, TRIP_AGAIN_NS, WINDOW_NS, WINDOWS_LEARNT
from worldos.kernel.effects import Effect, Notice, State
from worldos.kernel.events import StatementsOffered
from worldos.kernel.quarantine import UNBOUND
from worldos.model.limits import SECOND
from worldos.model.rights import Impact
from worldos.model.statements import Statement, Topic
from worldos.node import Node
from worldos.sim.machine import device_key
from worldos.trust.statements import sign_statement

ME, PEER, THIRD, STRANGER = (device_key(number).node_id for number in range(4))
STEADY = Person(mean=8, shape=5.0, things=5, by_class=(100,), denied=0.0)


def show(node: Node, start_ns: int, windows: Iterable[Iterable[Asked]], who: str = STRANGER) -> list[Effect]:
    """Let somebody ask for so many windows; return what followed."""
    effects: list[Effect] = []
    for number, window in enumerate(windows):
        for place, asked in enumerate(window):
            now_ns = start_ns + number * WINDOW_NS + place * 1000
            effects += node.behaviour.saw(now_ns, msgspec.structs.replace(asked, principal=who), node)
    return effects


def usual(dice: Random, count: int, factor: float = 1.0) -> Iterable[Iterable[Asked]]:
    return (requests(dice, STEADY, factor) for _ in range(count))


def steady_baseline() -> Baseline:
    baseline = learnt(Random(9), STEADY).baseline
    assert baseline is not None
    return baseline


def say(node: Node, said: Frozen | Usual, by: int, *, stored: bool = False) -> list[Effect]:
    statement = sign_statement(device_key(by), Topic.BASELINE, encode_said(said))
    return node.handle(StatementsOffered(now_ns=SECOND, statements=(statement,), stored=stored))


def kept(node: Node) -> list[Statement]:
    return list(node.statements.of(Topic.BASELINE).values())


def names(effects: list[Effect]) -> list[str]:
    return [effect.name for effect in effects if isinstance(effect, Notice)]


def steps(effects: list[Effect]) -> list[int]:
    return [int(e.fields["step"]) for e in effects if isinstance(e, Notice) and e.name == "strange behaviour"]


def test_what_it_learnt_is_stated_once() -> None:
    node, dice = node_of(), Random(1)
    effects = show(node, 0, usual(dice, 2 * WINDOWS_LEARNT))
    stated = [effect for effect in effects if isinstance(effect, State)]
    assert [effect.topic for effect in stated] == [Topic.BASELINE]
    assert names(effects) == []


def test_a_burst_slows_down_the_next_one_asks_for_a_person_the_third_is_quarantine() -> None:
    node, dice = node_of(), Random(2)
    show(node, 0, usual(dice, WINDOWS_LEARNT + 1))
    start_ns = (WINDOWS_LEARNT + 2) * WINDOW_NS
    effects = show(node, start_ns, usual(dice, 60, 20.0))
    assert steps(effects)[:3] == [1, 2, 3]
    narrowed = [e for e in effects if isinstance(e, Notice) and e.name == "narrowed"]
    assert [e.fields["class"] for e in narrowed[:3]] == [4, 1, 0]
    assert node.quarantine.ceiling(STRANGER).cls == Impact.READ


def test_between_two_steps_there_is_time_to_calm_down() -> None:
    node, dice = node_of(), Random(3)
    show(node, 0, usual(dice, WINDOWS_LEARNT + 1))
    effects = show(node, (WINDOWS_LEARNT + 2) * WINDOW_NS, usual(dice, TRIP_AGAIN_NS // WINDOW_NS, 300.0))
    assert len(steps(effects)) == 1


def test_a_class_that_it_never_asked_for_begins_at_the_second_step() -> None:
    node, dice = node_of(), Random(4)
    show(node, 0, usual(dice, WINDOWS_LEARNT + 1))
    lock = Asked(principal=STRANGER, target="thing 1", cls=3, is_allowed=True)
    effects = show(node, (WINDOWS_LEARNT + 2) * WINDOW_NS, ([lock] * 3 for _ in range(6)))
    assert steps(effects)[0] == 2
    assert node.quarantine.ceiling(STRANGER).human


def test_a_device_of_the_account_keeps_its_floor_however_strange_it_is() -> None:
    node, dice = node_of(), Random(5)
    show(node, 0, usual(dice, WINDOWS_LEARNT + 1), who=PEER)
    effects = show(node, (WINDOWS_LEARNT + 2) * WINDOW_NS, usual(dice, 60, 20.0), who=PEER)
    assert steps(effects)[:3] == [1, 2, 3]
    assert node.quarantine.ceiling(PEER).cls == Impact.REVERSIBLE


def test_this_node_does_not_watch_itself() -> None:
    node, dice = node_of(), Random(6)
    show(node, 0, usual(dice, WINDOWS_LEARNT + 1), who=ME)
    assert node.behaviour.table == {}


def test_being_refused_because_it_was_narrowed_is_no_denial() -> None:
    node, dice = node_of(), Random(7)
    show(node, 0, usual(dice, WINDOWS_LEARNT + 1))
    show(node, (WINDOWS_LEARNT + 2) * WINDOW_NS, usual(dice, 12, 20.0))
    assert node.quarantine.ceiling(STRANGER) != UNBOUND
    watched = node.behaviour.table[STRANGER]
    refused = Asked(principal=STRANGER, target="thing 0", cls=0, is_allowed=False)
    node.behaviour.saw(watched.window.start_ns + 3 * WINDOW_NS, refused, node)
    assert watched.window.denials == 0


def test_a_restart_teaches_nothing_new() -> None:
    node, frozen = node_of(), Frozen(principal=STRANGER, baseline=steady_baseline(), at_s=5)
    say(node, frozen, by=0, stored=True)
    assert node.behaviour.table[STRANGER].baseline == frozen.baseline


def test_what_another_device_learnt_is_kept_for_it_but_does_not_count_here() -> None:
    node = node_of()
    say(node, Frozen(principal=STRANGER, baseline=steady_baseline(), at_s=5), by=1)
    assert len(kept(node)) == 1
    assert STRANGER not in node.behaviour.table
    say(node, Frozen(principal=STRANGER, baseline=steady_baseline(), at_s=6), by=1)
    assert len(kept(node)) == 1, "the later one replaces it"


def test_the_owner_may_have_it_learnt_anew_or_say_what_is_usual() -> None:
    node = node_of()
    say(node, Frozen(principal=STRANGER, baseline=steady_baseline(), at_s=5), by=0, stored=True)
    assert names(say(node, Usual(principal=STRANGER, baseline=None, at_s=7), by=1)) == ["learns anew"]
    assert node.behaviour.table[STRANGER].baseline is None
    assert len(kept(node)) == 1, "what was frozen before is dropped"
    assert names(say(node, Usual(principal=STRANGER, baseline=steady_baseline(), at_s=8), by=2)) == ["usual was set"]
    assert node.behaviour.table[STRANGER].baseline == steady_baseline()


def test_an_old_word_of_the_owner_does_not_replace_a_newer_one() -> None:
    node = node_of()
    say(node, Usual(principal=STRANGER, baseline=steady_baseline(), at_s=8), by=1)
    say(node, Usual(principal=STRANGER, baseline=None, at_s=7), by=1)
    say(node, Frozen(principal=STRANGER, baseline=steady_baseline(), at_s=7), by=1)
    assert len(kept(node)) == 1
    assert node.behaviour.table[STRANGER].baseline == steady_baseline()


@pytest.mark.parametrize("by", [1, 3])
def test_neither_the_device_itself_nor_a_stranger_says_what_is_usual_for_a_device(by: int) -> None:
    node = node_of()
    say(node, Usual(principal=PEER, baseline=None, at_s=7), by=by)
    assert kept(node) == []


def test_who_is_in_quarantine_says_nothing_of_what_is_usual() -> None:
    node, dice = node_of(), Random(8)
    show(node, 0, usual(dice, WINDOWS_LEARNT + 1), who=PEER)
    show(node, (WINDOWS_LEARNT + 2) * WINDOW_NS, usual(dice, 60, 20.0), who=PEER)
    say(node, Usual(principal=STRANGER, baseline=None, at_s=7), by=1)
    assert kept(node) == []


def test_however_many_come_only_so_many_are_watched_and_the_known_are_not_put_out() -> None:
    node = node_of()
    say(node, Usual(principal=STRANGER, baseline=steady_baseline(), at_s=8), by=1)
    for number in range(PRINCIPALS_MAX + 50):
        node.behaviour.saw(number, Asked(principal=f"sybil {number}", target="a", cls=0, is_allowed=True), node)
    assert len(node.behaviour.table) == PRINCIPALS_MAX
    assert STRANGER in node.behaviour.table


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_garbage_is_no_statement(body: bytes) -> None:
    try:
        said = read_said(body)
    except PeerBroke:
        return
    assert encode_said(said) == body


def test_a_snapshot_of_the_table_is_all_of_it() -> None:
    node, dice = node_of(), Random(10)
    show(node, 0, usual(dice, WINDOWS_LEARNT + 3))
    table = node.behaviour
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(table), type=type(table)) == table
