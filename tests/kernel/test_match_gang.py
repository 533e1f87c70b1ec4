"""Gangs: all or none, with the least sum of scores, against brute force."""

from __future__ import annotations

from itertools import product

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel.offers import GB, cpu, offer, resource, view
from tests.kernel.worlds import needs, views, worlds

from worldos.errors import BadRequest
from worldos.kernel.match import Choice, Refusal, choose
from worldos.kernel.match_gang import GANG_EXACT_PARTS, choose_gang
from worldos.kernel.question import Question, View, clamp, memory_of
from worldos.model.limits import GANG_PARTS_MAX
from worldos.model.need import Need, Objective
from worldos.model.offer import Offer

LAN = view(rtt_us={"b": 300, "c": 400, "d": 9000})


def nodes(answer: tuple[Choice, ...] | Refusal) -> list[str]:
    assert not isinstance(answer, Refusal), answer
    return [part.node for part in answer]


def test_parts_share_a_node_as_long_as_it_has_room() -> None:
    offers = [offer("home"), offer("b"), offer("c")]
    assert nodes(choose_gang([cpu(2000)] * 5, offers, LAN)) == ["home", "home", "b", "b", "c"]


def test_memory_beside_the_cores_is_taken_too() -> None:
    offers = [offer("home"), offer("b")]
    assert nodes(choose_gang([cpu(1000, memory_bytes=5 * GB)] * 2, offers, LAN)) == ["home", "b"]
    mixed = [Need(kind="Memory", amount=7 * GB), cpu(1000, memory_bytes=5 * GB)]
    assert sorted(nodes(choose_gang(mixed, offers, LAN))) == ["b", "home"]


def test_parts_apart_are_on_nodes_of_their_own() -> None:
    offers = [offer("home"), offer("b"), offer("c")]
    assert sorted(nodes(choose_gang([cpu(apart=True)] * 3, offers, LAN))) == ["b", "c", "home"]
    found = nodes(choose_gang([cpu(apart=True), cpu(), cpu()], offers, LAN))
    assert found[0] not in found[1:]
    refused = choose_gang([cpu(apart=True)] * 4, offers, LAN)
    assert isinstance(refused, Refusal)
    assert (refused.part, refused.excluded) == (-1, (("4 parts at once, 4 of them apart", 3),))


def test_a_part_that_nobody_can_take_is_named_with_its_own_reasons() -> None:
    offers = [offer("home"), offer("b")]
    refused = choose_gang([cpu(), Need(kind="GPU", amount=1000)], offers, LAN)
    assert isinstance(refused, Refusal)
    alone = choose(Need(kind="GPU", amount=1000), offers, LAN)
    assert refused == msgspec.structs.replace(alone, part=1)  # type: ignore[type-var]


def test_the_greedy_choice_is_undone_where_it_blocks_another_part() -> None:
    # the small part prefers b, but only b has room for the large one
    offers = [offer("b", cores=4, speed_mips=20_000), offer("c", cores=2)]
    assert nodes(choose_gang([cpu(2000), cpu(4000)], offers, LAN)) == ["c", "b"]


def test_a_part_gives_way_where_that_is_cheaper_for_all() -> None:
    # greedy: the large part takes the faster b first, and one small part must pay for c
    offers = [offer("b", speed_mips=10_001), offer("c", price=10**6)]
    small = cpu(1000, objective=Objective.CHEAPEST)
    assert nodes(choose_gang([cpu(3000), small, small], offers, view())) == ["c", "b", "b"]


def test_several_gpus_of_one_node_are_taken_once() -> None:
    gpus = [resource("b", "GPU", str(number), 1000) for number in range(4)]
    answer = choose_gang([Need(kind="GPU", amount=2000)] * 2, [offer("b", *gpus)], LAN)
    assert not isinstance(answer, Refusal)
    assert sorted(item for part in answer for item in part.resources) == [gpu.id for gpu in gpus]
    assert isinstance(choose_gang([Need(kind="GPU", amount=2000)] * 3, [offer("b", *gpus)], LAN), Refusal)


def test_equal_resource_names_of_two_nodes_are_two_resources() -> None:
    told = offer("b")
    twin = msgspec.structs.replace(told, node="c")
    assert sorted(nodes(choose_gang([cpu(4000)] * 2, [told, twin], LAN))) == ["b", "c"]


def test_a_gang_is_bounded() -> None:
    for parts in (0, GANG_PARTS_MAX + 1):
        with pytest.raises(BadRequest, match="1 to 256 parts"):
            choose_gang([cpu()] * parts, [offer("b")], LAN)


def test_a_large_gang_is_found_where_it_just_fits() -> None:
    offers = [offer(f"n{number}", cores=1 + number % 4) for number in range(32)]
    total = sum(told.resources[0].capacity for told in offers) // 1000
    answer = choose_gang([cpu(1000)] * total, offers, LAN)
    assert len(nodes(answer)) == total
    check(answer, [cpu(1000)] * total, offers)
    assert isinstance(choose_gang([cpu(1000)] * (total + 1), offers, LAN), Refusal)


def test_a_large_mixed_gang_is_repaired_until_it_fits() -> None:
    offers = [offer(f"n{number}", cores=3, speed_mips=10_000 + number) for number in range(10)]
    parts = [cpu(2000)] * 10 + [cpu(1000)] * 10
    check(choose_gang(parts, offers, LAN), parts, offers)


def check(answer: tuple[Choice, ...] | Refusal, gang: list[Need], offers: list[Offer]) -> None:
    """Nothing is given twice, and who wants a node alone has it."""
    assert not isinstance(answer, Refusal), answer
    free = {(told.node, item.id): clamp(item.free) for told in offers for item in told.resources}
    by_node = {told.node: told for told in offers}
    for need, part in zip(gang, answer, strict=True):
        question = Question(need, LAN)
        assert len(part.resources) == question.count
        for item in part.resources:
            free[part.node, item] -= question.each
        if question.memory_bytes:
            memory = memory_of(by_node[part.node])
            assert memory is not None
            free[part.node, memory.id] -= question.memory_bytes
        assert not need.apart or [other.node for other in answer].count(part.node) == 1
    assert min(free.values(), default=0) >= 0


def least_sum(gang: list[Need], offers: list[Offer], known: View) -> int | None:
    """Try everything."""
    questions = [Question(need, known) for need in gang]
    places = [
        [(points, told.node, item) for told in offers for points, item in question.fitting(told)]
        for question in questions
    ]
    memories = {told.node: memory_of(told) for told in offers}
    best: int | None = None
    for plan in product(*places):
        free = {(told.node, item.id): clamp(item.free) for told in offers for item in told.resources}
        for question, (_, node, item) in zip(questions, plan, strict=True):
            free[node, item] -= question.each
            memory = memories[node]
            if question.memory_bytes and memory is not None:
                free[node, memory.id] -= question.memory_bytes
        where = [node for _, node, _ in plan]
        apart = all(where.count(node) == 1 for node, need in zip(where, gang, strict=True) if need.apart)
        total = sum(points for points, _, _ in plan)
        if apart and min(free.values(), default=0) >= 0 and (best is None or total < best):
            best = total
    return best


single = needs.filter(lambda need: need.kind != "GPU" or need.amount <= 1000)
gangs = st.one_of(
    st.lists(single, min_size=1, max_size=4),
    st.tuples(single, st.integers(2, 4)).map(lambda pair: [pair[0]] * pair[1]),
    st.lists(
        st.sampled_from([cpu(1000), cpu(2000), cpu(1000, apart=True), cpu(2000, memory_bytes=4 * GB)]),
        min_size=2,
        max_size=5,
    ),
)


@settings(max_examples=80, deadline=None)
@given(gangs, worlds.map(lambda offers: offers[:5]), views)
def test_a_small_gang_is_as_good_as_the_best_of_all(gang: list[Need], offers: list[Offer], known: View) -> None:
    assert len(gang) <= GANG_EXACT_PARTS
    best = least_sum(gang, offers, known)
    answer = choose_gang(gang, offers, known)
    if isinstance(answer, Refusal):
        assert best is None
        return
    check(answer, gang, offers)
    assert sum(part.score for part in answer) == best


@settings(max_examples=50, deadline=None)
@given(gangs, worlds, views, st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(
    gang: list[Need], offers: list[Offer], known: View, random: object
) -> None:
    shuffled = list(offers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert choose_gang(gang, shuffled, known) == choose_gang(gang, offers, known)


@settings(max_examples=50, deadline=None)
@given(needs, worlds, views)
def test_a_gang_of_one_is_a_single_choice(need: Need, offers: list[Offer], known: View) -> None:
    alone = choose(need, offers, known)
    together = choose_gang([need], offers, known)
    assert (together if isinstance(together, Refusal) else together[0].node) == (
        alone if isinstance(alone, Refusal) else alone.node
    )
