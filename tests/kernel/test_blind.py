"""The blind view: the matcher chooses the same from it, and has nothing there that it could favour somebody by."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.offers import HOME, cpu, offer, view
from tests.kernel.worlds import needs, views, worlds

from worldos.kernel.blind import OTHERS, OURS, REMEMBERED_MAX, WORDS_MAX, _remembered, blind
from worldos.kernel.match_gang import choose_gang
from worldos.kernel.question import View
from worldos.model.ids import AccountId
from worldos.model.need import Need
from worldos.model.offer import Offer
from worldos.model.resource import Kind
from worldos.model.where import parse_where


@given(worlds, st.lists(needs, min_size=1, max_size=3), views)
def test_the_choice_is_the_same_as_from_all_that_is_known(offers: list[Offer], asked: list[Need], known: View) -> None:
    needs_of = tuple(asked)
    seen, seeing = blind(needs_of, offers, known)
    assert choose_gang(needs_of, seen, seeing) == choose_gang(needs_of, offers, known)


def test_owner_name_place_and_facts_that_are_no_figures_are_not_there() -> None:
    rich = msgspec.structs.replace(
        offer("b", speed_mips=9000),
        name="ministry",
        owner=AccountId("gov" * 10),
        place="earth/eu/acme",
        addresses=("10.0.0.1:7",),
    )
    rich = msgspec.structs.replace(rich, facts={**rich.facts, "nation": "X"})
    (seen,), seeing = blind((cpu(),), [rich], view())
    said = msgspec.json.encode((seen, seeing)).decode()
    assert not any(word in said for word in ("ministry", "gov", "earth", "10.0.0.1", "nation"))
    assert seen.owner == OTHERS
    assert seeing.account == OURS
    assert seen.facts["speed_mips"] == 9000


def test_what_the_asker_asks_by_stays() -> None:
    known = msgspec.structs.replace(offer("b"), name="lab", place="acme/berlin")
    asked = cpu(where=parse_where("arch == 'x' and name == 'lab'"))
    (seen,), _ = blind((asked,), [msgspec.structs.replace(known, facts={"arch": "x", "os": "y"})], view())
    assert (seen.name, seen.place, seen.facts) == ("lab", "", {"arch": "x"})
    (seen,), _ = blind((cpu(near="acme/berlin"),), [known], view())
    assert (seen.name, seen.place) == ("lab", "acme/berlin")
    (seen,), _ = blind((cpu(near=HOME),), [known], view())
    assert (seen.name, seen.place) == ("", "")


def test_stores_keep_marks_that_tell_owners_apart_and_name_none() -> None:
    store = Need(kind=Kind.STORE, amount=1, apart=True)
    offers = [msgspec.structs.replace(offer(n), owner=AccountId(o)) for n, o in (("a", "x"), ("b", "y"), ("c", "x"))]
    seen, _ = blind((store, store), offers, view())
    assert seen[0].owner == seen[2].owner != seen[1].owner
    assert "x" not in {one.owner for one in seen}


def test_an_offer_is_blinded_once_and_what_is_remembered_is_bounded() -> None:
    kept = offer("b")
    assert blind((cpu(),), [kept], view())[0][0] is blind((cpu(),), [kept], view())[0][0]
    for number in range(REMEMBERED_MAX + 10):
        blind((cpu(),), [kept, msgspec.structs.replace(kept, name=f"n{number}")], view())
    for number in range(WORDS_MAX + 2):
        blind((cpu(where=parse_where(f"f{number} == 1")),), [kept], view())
    assert len(_remembered) <= WORDS_MAX
    assert max(len(offers) for offers in _remembered.values()) <= REMEMBERED_MAX + 1
