"""Candidates: the nodes of a site that could fill the need of a stranger, and no more said of them than that takes."""

from __future__ import annotations

import msgspec
from tests.kernel.offers import cpu, offer, resource, view

from worldos.kernel.candidates import candidates
from worldos.kernel.question import View
from worldos.model.ids import NodeId
from worldos.model.need import Need
from worldos.model.offer import Offer, OfferRules
from worldos.model.realm import CANDIDATES_MAX, Candidate, Contact, Epoch, RealmId

SITE = RealmId("me")
STRANGER = msgspec.structs.replace(view(), account="other", home=NodeId("far"), nonce=b"12345678")
LENDS = OfferRules(owners_only=False)


def contact_of(node: NodeId) -> Contact | None:
    return None if node == "hidden" else Contact(node=node, name=node, site=SITE, root_cert=b"", addresses=("h:1",))


def found(needs: tuple[Need, ...], offers: list[Offer], seen: View = STRANGER) -> tuple[Candidate, ...]:
    return candidates(needs=needs, offers=offers, view=seen, contact_of=contact_of, realm=SITE, epoch=Epoch(3))


def nodes(some: tuple[Candidate, ...]) -> list[str]:
    return [candidate.contact.node for candidate in some]


def test_only_nodes_that_lend_to_strangers_and_have_it_free_are_named() -> None:
    offers = [
        offer("lends", cores=4, rules=LENDS),
        offer("keeps", cores=4),
        offer("full", cores=4, free=0, rules=LENDS),
        offer("hidden", cores=4, rules=LENDS),
    ]
    assert nodes(found((cpu(2000),), offers)) == ["lends"]
    assert found((cpu(2000),), offers)[0].epoch == Epoch(3)


def test_what_was_not_asked_for_is_not_told() -> None:
    camera = resource("a", "Camera", "0", 1)
    (only,) = found((cpu(1000),), [offer("a", camera, rules=LENDS)])
    assert {item.kind for item in only.offer.resources} == {"CPU", "Memory"}
    assert only.offer.addresses == ()


def test_the_parts_of_a_gang_come_first_and_there_is_a_bound() -> None:
    offers = [offer(f"n{number}", cores=2, rules=LENDS) for number in range(40)]
    needs = tuple(msgspec.structs.replace(cpu(2000), apart=True) for _ in range(9))
    some = nodes(found(needs, offers))
    assert len(set(some)) == len(some) == CANDIDATES_MAX


def test_a_need_out_of_bounds_finds_nobody() -> None:
    assert found((cpu(-1),), [offer("a", rules=LENDS)]) == ()


def test_who_owns_a_node_and_what_it_is_called_changes_nothing_in_who_is_named() -> None:
    offers = [offer(f"n{number}", cores=4, rules=LENDS) for number in range(20)]
    renamed = [
        msgspec.structs.replace(each, owner=f"gov{at % 3}", name=f"ministry {at}", place=f"earth/{at}")
        for at, each in enumerate(offers)
    ]
    for needs in ((cpu(2000),), (cpu(1000), cpu(3000))):
        assert nodes(found(needs, offers)) == nodes(found(needs, renamed[::-1]))
