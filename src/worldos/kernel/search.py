"""Search: which of all known resources fit what somebody looks for. Pure, sorted, and the same on every node.

Words are compared without case. ``place`` holds for a place and all below it. ``near`` is a place too, or a node, by id
or name: then it means that node's place, with the node's own resources first. ``where`` sees what a need's would.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from worldos.kernel.question import facts_of, is_within
from worldos.model.need import Condition
from worldos.model.offer import Offer
from worldos.model.resource import Fact, Resource
from worldos.model.where import holds


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for; an empty field means anything."""

    kind: str = ""
    tag: str = ""
    name: str = ""
    owner: str = ""
    place: str = ""
    text: str = ""
    near: str = ""
    where: Condition | None = None


def find(offers: Collection[Offer], query: Query) -> list[Resource]:
    """Return the resources that fit, by kind, node's name and id; those of the node that ``near`` names come first."""
    centers = [offer for offer in offers if query.near and query.near in (offer.node, offer.name)]
    nodes = {offer.node for offer in centers}
    places = {offer.place for offer in centers} if centers else {query.near}
    found = [
        (offer.node not in nodes, resource.kind, offer.name.casefold(), resource.id, resource)
        for offer in offers
        for resource in offer.resources
        if _fits(offer, resource, query) and (not query.near or offer.node in nodes or _is_at(offer, resource, places))
    ]
    return [resource for *_, resource in sorted(found, key=lambda item: item[:4])]


def _fits(offer: Offer, resource: Resource, query: Query) -> bool:
    return (
        _same(query.kind, resource.kind)
        and (not query.tag or any(_same(query.tag, tag) for tag in resource.tags))
        and (_same(query.name, resource.name) or _same(query.name, offer.name))
        and query.owner in ("", resource.owner)
        and (not query.place or _is_at(offer, resource, {query.place}))
        and (query.where is None or holds(query.where, facts_of(offer, resource)))
        and (not query.text or query.text.casefold() in _words(offer, resource))
    )


def _same(wanted: str, word: str) -> bool:
    return not wanted or wanted.casefold() == word.casefold()


def _is_at(offer: Offer, resource: Resource, places: Collection[str]) -> bool:
    here = resource.place or offer.place
    return any(is_within(place, here) for place in places)


def _words(offer: Offer, resource: Resource) -> str:
    facts: dict[str, Fact] = {**offer.facts, **resource.facts}
    told = (f"{name} {value}" for name, value in sorted(facts.items()))
    return "\n".join((resource.kind, resource.name, offer.name, offer.place, *resource.tags, *told)).casefold()
