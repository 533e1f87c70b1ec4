"""The index chooses exactly what match.choose does."""

from __future__ import annotations

import builtins
import importlib
import sys
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.kernel.offers import GB, cpu, offer, resource, view
from tests.kernel.worlds import NODES, needs, offers, views, worlds

from worldos.kernel import match_index
from worldos.kernel.match import Choice, choose
from worldos.kernel.match_index import OfferIndex
from worldos.kernel.question import View
from worldos.model.ids import NodeId
from worldos.model.need import Need, Objective
from worldos.model.offer import Offer
from worldos.model.where import parse_where

updates = st.lists(st.one_of(st.sampled_from(NODES).flatmap(offers), st.sampled_from(NODES)), max_size=4)


@pytest.fixture(params=[1, 3, 4096], ids="blocks of {}".format)
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small blocks, so that few offers go through all stages of a search."""
    monkeypatch.setattr(match_index, "BLOCK_ROWS", request.param)
    monkeypatch.setattr(match_index, "ROWS_IN_ORDER", 2 * request.param)
    monkeypatch.setattr(match_index, "DIRTY_ROWS_MIN", request.param)


@pytest.mark.usefixtures("blocks")
@settings(
    max_examples=min(50, settings().max_examples),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(worlds, updates, st.lists(st.tuples(needs, views), min_size=1, max_size=4))
def test_the_index_agrees_with_the_choice_after_every_change(
    told: list[Offer], changes: list[Offer | str], asked: list[tuple[Need, View]]
) -> None:
    index, known = OfferIndex(told), {item.node: item for item in told}
    for need, seen in asked:
        assert index.choose(need, seen) == choose(need, list(known.values()), seen)
    for change in changes:
        if isinstance(change, Offer):
            index.update(change)
            known[change.node] = change
        else:
            index.remove(NodeId(change))
            known.pop(NodeId(change), None)
        assert len(index) == len(known)
        for need, seen in asked:
            assert index.choose(need, seen) == choose(need, list(known.values()), seen)


def machine(name: str, random: Random) -> Offer:
    return offer(
        name,
        cores=random.choice([4, 8]),
        free=random.choice([0, 1000, 4000, 4000]),
        speed_mips=random.choice([10_000, 10_001, 10_002, 10_002]),
        load_percent=random.choice([0, 0, 21, 60]),
        price=random.choice([0, 1, 1, 2, 7]),
        carbon_g_kwh=random.choice([100, 100, 101]),
        memory=16 * GB,
    )


@pytest.mark.parametrize("objective", list(Objective))
def test_the_bound_never_hides_the_best_row(objective: Objective, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(match_index, "BLOCK_ROWS", 1)
    monkeypatch.setattr(match_index, "DIRTY_ROWS_MIN", 20)
    random = Random(objective)
    names = [f"n{number}" for number in range(60)]
    known = {name: machine(name, random) for name in names}
    index = OfferIndex(known.values())
    asked = [cpu(3000, memory_bytes=GB, objective=objective), cpu(4000, objective=objective)]
    for turn in range(60):
        for name in random.sample(names, turn % 4):
            known[name] = machine(name, random)
            index.update(known[name])
        seen = view(nonce=bytes([turn]), rtt_us={NodeId("n7"): 19_999, NodeId("n8"): 20_001})
        for need in asked:
            assert index.choose(need, seen) == choose(need, known.values(), seen)


def fleet(size: int) -> list[Offer]:
    return [
        offer(
            f"n{number}",
            *[resource(f"n{number}", "GPU", str(gpu), 1000, 1000 - 500 * (number % 2)) for gpu in range(number % 4)],
            cores=2 ** (number % 5),
            free=1000 * (number % 4),
            speed_mips=5000 + 997 * number % 8000,
            load_percent=number * 7 % 100,
            price=number * 31 % 50,
            memory_free=number % 9 * GB,
            carbon_g_kwh=number * 13 % 600,
            arch="arm64" if number % 50 == 0 else "x86_64",
        )
        for number in range(size)
    ]


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("objective", list(Objective))
def test_the_index_agrees_on_a_fleet(objective: Objective) -> None:
    told = fleet(600)
    index = OfferIndex(told)
    known = view(rtt_us={NodeId(f"n{number}"): 100 + number for number in range(0, 600, 60)})
    for need in (
        cpu(objective=objective),
        cpu(1500, memory_bytes=8 * GB, objective=objective),
        cpu(objective=objective, where=parse_where("arch == arm64 and load_percent < 50")),
        cpu(objective=objective, where=parse_where("arch == riscv")),
        cpu(objective=objective, near="n77"),
        cpu(32_000, objective=objective),
        Need(kind="GPU", amount=2000, objective=objective),
        Need(kind="GPU", amount=4000, objective=objective),
    ):
        assert index.choose(need, known) == choose(need, told, known)


def test_many_equal_machines_are_drawn_as_by_the_choice() -> None:
    told = [offer(f"n{number}") for number in range(300)]
    index = OfferIndex(told)
    winners = set()
    for nonce in range(8):
        seen = view(nonce=bytes([nonce]))
        answer = index.choose(cpu(), seen)
        assert answer == choose(cpu(), told, seen)
        assert isinstance(answer, Choice)
        winners.add(answer.node)
    assert len(winners) > 4


def test_a_search_leaves_nothing_of_its_view_behind() -> None:
    told = fleet(20)
    index = OfferIndex(told)
    before = index.choose(cpu(), view())
    seen = view(rtt_us={NodeId("n3"): 1}, gone=frozenset({"n1", "n5"}), doubted=frozenset({"n2"}))
    assert index.choose(cpu(), seen) == choose(cpu(), told, seen)
    assert index.choose(cpu(), view()) == before


def test_only_the_newest_of_two_offers_of_a_node_counts() -> None:
    index = OfferIndex([offer("b", cores=2), offer("b", cores=16)])
    assert len(index) == 1
    assert isinstance(index.choose(cpu(16_000), view()), Choice)


def test_without_numpy_the_index_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object, **more: object) -> object:
        if name == "numpy":
            raise ImportError(name)
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.delitem(sys.modules, "worldos.kernel.match_index")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install worldos\[index\]"):
        importlib.import_module("worldos.kernel.match_index")
