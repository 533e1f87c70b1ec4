"""Search: which of all known resources fit what somebody looks for. Pure, sorted, and the same on every node."""

from __future__ import annotations

import msgspec

from worldos.model.need import Condition
from worldos.model.offer import Offer
from worldos.model.resource import Resource
from worldos.model.where import holds


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for; an empty field means anything. ``place`` and ``near`` fit a place and all below it."""

    kind: str = ""
    tag: str = ""
    name: str = ""
    owner: str = ""
    place: str = ""
    text: str = ""
    near: str = ""
    where: Condition | None = None


def find(offers: list[Offer], query: Query) -> list[Resource]:
    """Return the resources that fit, by kind, node's name and id."""
    found = [
        (resource.kind, offer.name, resource.id, resource)
        for offer in offers
        for resource in offer.resources
        if _fits(offer, resource, query)
    ]
    return [resource for _, _, _, resource in sorted(found, key=lambda item: item[:3])]


def _fits(offer: Offer, resource: Resource, query: Query) -> bool:
    return (
        query.kind.lower() in {"", resource.kind.lower()}
        and (not query.tag or query.tag.lower() in {tag.lower() for tag in resource.tags})
        and (not query.name or query.name.lower() in {resource.name.lower(), offer.name.lower()})
        and query.owner in {"", resource.owner}
        and (not query.place or _is_at(resource.place, query.place))
        and (not query.near or query.near in {offer.node, offer.name} or _is_at(resource.place, query.near))
        and (query.where is None or holds(query.where, {**offer.facts, **resource.facts, "free": resource.free}))
        and (not query.text or query.text.lower() in _words(offer, resource))
    )


def _is_at(place: str, wanted: str) -> bool:
    return f"{place}/".lower().startswith(f"{wanted.strip('/')}/".lower())


def _words(offer: Offer, resource: Resource) -> str:
    facts = (f"{key} {value}" for key, value in resource.facts.items())
    return " ".join((resource.kind, resource.name, offer.name, resource.place, *resource.tags, *facts)).lower()
