"""Stores for shares: as many places and owners as there can be, and the best score among equals."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.offers import GB, offer, resource, view

from worldos.kernel.match import Choice, Refusal, choose
from worldos.kernel.match_gang import choose_gang
from worldos.model.need import Need
from worldos.model.offer import Offer, OfferRules

KIN = OfferRules(owners_only=False)
STORE = Need(kind="Store", amount=GB, apart=True)


def store(node: str, place: str = "home", *, owner: str = "me", free: int = 9 * GB, **facts: int) -> Offer:
    return offer(node, resource(node, "Store", "0", 10 * GB, free, facts=facts), place=place, owner=owner, rules=KIN)


def taken(offers: list[Offer], count: int) -> list[str]:
    answer = choose_gang([STORE] * count, offers, view(rtt_us={"a": 200, "b": 300, "c": 400, "d": 500}))
    assert not isinstance(answer, Refusal), answer
    return [part.node for part in answer]


def test_each_share_goes_to_another_home_before_two_go_to_one() -> None:
    offers = [store("home"), store("a"), store("b"), store("c", "office"), store("d", "cabin")]
    assert set(taken(offers, 3)) == {"home", "c", "d"}
    assert set(taken(offers, 4)) == {"home", "c", "d", "a"}


def test_in_one_place_shares_go_to_different_owners_first() -> None:
    offers = [store("home"), store("a"), store("b", owner="ann")]
    assert set(taken(offers, 2)) == {"home", "b"}


def test_among_equals_the_published_score_decides() -> None:
    offers = [store("a", write_bytes_s=10**7), store("b", write_bytes_s=10**9), store("c", write_bytes_s=10**8)]
    assert taken(offers, 2) == ["b", "c"]


def test_full_stores_and_those_that_do_not_lend_are_passed_over() -> None:
    own = offer("b", resource("b", "Store", "0", 10 * GB), owner="ann", rules=OfferRules())
    offers = [store("home"), store("a", free=GB - 1), own, store("c")]
    assert set(taken(offers, 2)) == {"home", "c"}


def test_too_few_stores_are_a_refusal_that_says_how_many_there_are() -> None:
    answer = choose_gang([STORE] * 3, [store("home"), store("a"), offer("b")], view())
    assert isinstance(answer, Refusal)
    assert answer.excluded == (("3 nodes of their own, where 2 can", 3),)
    alone = choose_gang([STORE] * 2, [offer("home"), offer("b")], view())
    assert alone == choose(STORE, [offer("home"), offer("b")], view())


@given(
    st.lists(st.tuples(st.sampled_from("pqrs"), st.sampled_from("xyz"), st.integers(1, 3)), min_size=2, max_size=9),
    st.data(),
)
def test_no_other_choice_is_in_more_places(world: list[tuple[str, str, int]], data: st.DataObject) -> None:
    offers = [
        store(f"n{number}", place, owner=owner, write_bytes_s=speed * 10**7)
        for number, (place, owner, speed) in enumerate(world)
    ]
    count = data.draw(st.integers(2, len(offers)))
    answer = choose_gang([STORE] * count, offers, view())
    assert not isinstance(answer, Refusal)
    assert all(isinstance(part, Choice) for part in answer)
    assert len({part.node for part in answer}) == count
    by_node = {each.node: each for each in offers}
    used = Counter(by_node[part.node].place for part in answer)
    have = Counter(each.place for each in offers)
    assert len(used) == min(count, len(have))
    fullest = max(used.values())
    assert all(used[place] in (fullest, fullest - 1) or used[place] == have[place] for place in have)
