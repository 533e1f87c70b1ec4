"""The few candidates that are worth sending back."""

from __future__ import annotations

import msgspec
from tests.kernel.contacts import contact
from tests.kernel.offers import GB, cpu, offer, resource

from worldos.kernel.shortlist import covers, fitting, shortlist
from worldos.model.need import Need
from worldos.model.offer import Offer, OfferRules
from worldos.model.realm import CANDIDATES_MAX, BidAsk, Candidate, Epoch, RealmId

LENT = OfferRules(owners_only=False)


def candidate(one: Offer) -> Candidate:
    return Candidate(offer=one, contact=contact(one.node), realm=RealmId("site"), epoch=Epoch(1))


def cores(node: str, amount: int = 4, **more: object) -> Candidate:
    return candidate(offer(node, cores=amount, rules=LENT, owner="them", **more))  # type: ignore[arg-type]


def gpu(node: str) -> Candidate:
    return candidate(offer(node, resource(node, "GPU", "0", 1000), cores=1, rules=LENT))


def ask(*needs: Need) -> BidAsk:
    return BidAsk(
        bid=1,
        home=contact("home", "me"),
        realm=RealmId("top"),
        needs=needs,
        within="",
        trail=(),
        hops=1,
        wait_ns=1,
        down=False,
    )


def nodes(candidates: tuple[Candidate, ...] | list[Candidate]) -> list[str]:
    return [each.contact.node for each in candidates]


def test_who_fits_no_part_or_is_not_who_it_says_is_left_out() -> None:
    kept = cores("owned")
    kept = msgspec.structs.replace(kept, offer=msgspec.structs.replace(kept.offer, rules=OfferRules()))
    forged = msgspec.structs.replace(cores("forged"), contact=contact("other"))
    assert nodes(fitting(ask(cpu(4000)), [cores("a"), cores("b", 2), kept, forged, cores("a", 8)])) == ["a"]


def test_the_fastest_come_first_and_at_most_eight() -> None:
    many = [cores(f"n{at:02}", speed_mips=10_000 + 1000 * at) for at in range(20)]
    assert nodes(shortlist(ask(cpu()), many)) == [f"n{at:02}" for at in range(19, 19 - CANDIDATES_MAX, -1)]


def test_each_part_of_a_gang_gets_its_own_best() -> None:
    gang = ask(Need(kind="GPU", amount=1000), cpu(4000))
    found = [*(cores(f"fast{at}", speed_mips=90_000) for at in range(9)), gpu("g")]
    assert nodes(shortlist(gang, found))[0] == "g"
    assert covers(gang, shortlist(gang, found))


def test_a_gang_is_covered_when_each_part_has_a_place_and_together_they_have_enough() -> None:
    two = ask(cpu(4000), cpu(4000))
    assert covers(two, [cores("a", 8)])
    assert not covers(two, [cores("a", 4)])
    assert covers(two, [cores("a", 4), cores("b", 4)])
    apart = ask(cpu(1000, apart=True), cpu(1000, apart=True))
    assert not covers(apart, [cores("a", 8)])
    assert covers(apart, [cores("a", 1), cores("b", 1)])
    assert not covers(ask(cpu(), Need(kind="GPU", amount=1000)), [cores("a")])
    assert not covers(ask(cpu(memory_bytes=9 * GB)), [cores("a")])
    assert not covers(ask(cpu()), [])


def test_a_very_large_gang_is_looked_at_in_bounded_time() -> None:
    gang = ask(*(cpu(1 + at) for at in range(256)))
    found = [cores(f"n{at}") for at in range(24)]
    assert len(shortlist(gang, fitting(gang, found))) == CANDIDATES_MAX
    assert covers(gang, found[:CANDIDATES_MAX]) is (4000 * CANDIDATES_MAX >= 256 * 257 // 2)
