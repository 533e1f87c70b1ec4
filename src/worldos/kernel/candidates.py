"""Candidates: which nodes of this site could fill the needs of a program elsewhere, as its center says.

A hint like every offer: the node itself grants. Only what a stranger must know to choose goes out: the resources of the kinds
that are asked for, and the facts. Pure, in integers, ties by the bid's number.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec

from worldos.errors import BadRequest
from worldos.kernel.blind import blind
from worldos.kernel.match import Refusal
from worldos.kernel.match_gang import choose_gang
from worldos.kernel.question import Question, View, check_need, draw, node_key
from worldos.model.ids import NodeId
from worldos.model.need import Need
from worldos.model.offer import Offer
from worldos.model.realm import CANDIDATES_MAX, Candidate, Contact, Epoch, RealmId
from worldos.model.resource import Kind

PER_NEED_MAX = 4


def candidates(
    *,
    needs: tuple[Need, ...],
    offers: Collection[Offer],
    view: View,
    contact_of: Callable[[NodeId], Contact | None],
    realm: RealmId,
    epoch: Epoch,
) -> tuple[Candidate, ...]:
    """Return the best nodes for the needs, best first; for a gang those that can take it together come first."""
    try:
        for need in needs:
            check_need(need)
    except BadRequest:
        return ()
    order: list[NodeId] = []
    seen, seeing = blind(needs, offers, view)
    if len(needs) > 1:
        together = choose_gang(needs, seen, seeing)
        if not isinstance(together, Refusal):
            order.extend(choice.node for choice in together)
    for need in dict.fromkeys(needs):
        order.extend(_best(need, seen, seeing))
    kinds = {need.kind for need in needs} | {Kind.MEMORY}
    by_node = {offer.node: offer for offer in offers}
    found: list[Candidate] = []
    for node in dict.fromkeys(order):
        contact = contact_of(node)
        if contact is not None and len(found) < CANDIDATES_MAX:
            found.append(Candidate(offer=_trimmed(by_node[node], kinds), contact=contact, realm=realm, epoch=epoch))
    return tuple(found)


def _best(need: Need, offers: Collection[Offer], view: View) -> list[NodeId]:
    question = Question(need, view)
    places = [(offer.node, question.place(offer)) for offer in offers]
    ranked = sorted((place.score, draw(node_key(node), view.nonce), node) for node, place in places if place)
    return [node for _, _, node in ranked[:PER_NEED_MAX]]


def _trimmed(offer: Offer, kinds: Collection[str]) -> Offer:
    resources = tuple(resource for resource in offer.resources if resource.kind in kinds)
    return msgspec.structs.replace(offer, resources=resources, addresses=())
