"""The blind view: what the matcher is given of offers, and what it is not. What is not there cannot be favoured.

Owners, names, places, addresses and all facts that are no figures are taken out before anything is chosen. Of an owner is
left whether it is the asker's own account, which providers may make a condition of. A name, place, tag or fact stays only
where the asker's own words ask by it (``near=``, ``where=``); and where stores must not share a fate, owners and places stay
as marks that tell one from another and say nothing else. What is left is also what the decision log keeps, so a decision is
made again from exactly what it was made from, by people who must not learn the rest.

Offers never change, so what was blinded is remembered by the object itself. Source: DESIGN.md sections 7 and 10.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from worldos.kernel.question import ISOLATION, View
from worldos.kernel.spread import is_spread
from worldos.model.ids import AccountId
from worldos.model.need import Need
from worldos.model.offer import Offer
from worldos.model.resource import Fact, Kind, Resource
from worldos.model.where import facts_in

OURS: Final = AccountId("ours")
OTHERS: Final = AccountId("others")
FIGURES: Final = frozenset({"speed_mips", "load_percent", "carbon_g_kwh", "battery", "write_bytes_s", "for"})
"""The facts that the score and the conditions of providers read (kernel/score.py, kernel/question.py)."""

REMEMBERED_MAX: Final = 2048  # offers for the same words
WORDS_MAX: Final = 16  # ways of asking whose offers are remembered
MARK_BYTES: Final = 8


class Words(NamedTuple):
    """What the asker's own words ask by: facts, whether nodes are asked for by name or place, and which kinds."""

    facts: frozenset[str]
    kinds: frozenset[str]
    named: bool
    marked: bool


_remembered: dict[tuple[AccountId, Words], dict[int, tuple[Offer, Offer]]] = {}


def words_of(needs: Sequence[Need], view: View) -> Words:
    """Return what these needs ask by."""
    facts = frozenset(name for need in needs if need.where is not None for name in facts_in(need.where))
    facts |= {ISOLATION} if any(need.isolation for need in needs) else frozenset()
    kinds = frozenset(need.kind for need in needs) | {Kind.MEMORY}
    return Words(facts, kinds, any(need.near not in {"", view.home} for need in needs), is_spread(needs))


def blind(needs: Sequence[Need], offers: Collection[Offer], view: View) -> tuple[tuple[Offer, ...], View]:
    """Return the offers and the view as the matcher may see them, in the same order."""
    words = words_of(needs, view)
    known = _remembered.get((view.account, words))
    if known is None or len(known) + len(offers) > REMEMBERED_MAX:
        known = _forget((view.account, words))
    seen: list[Offer] = []
    for offer in offers:
        before = known.get(id(offer))
        if before is None or before[0] is not offer:
            before = known[id(offer)] = (offer, blind_offer(offer, view.account, words))
        seen.append(before[1])
    return tuple(seen), blind_view(view)


def blind_view(view: View) -> View:
    """Return a view without the name of the account that asks."""
    return msgspec.structs.replace(view, account=OURS)


def _forget(asked: tuple[AccountId, Words]) -> dict[int, tuple[Offer, Offer]]:
    """Begin anew with what was blinded for these words."""
    if len(_remembered) >= WORDS_MAX:
        _remembered.clear()
    _remembered[asked] = {}
    return _remembered[asked]


def blind_offer(offer: Offer, account: AccountId, words: Words) -> Offer:
    """Return what is left of one offer."""
    owner = OURS if offer.owner == account else _mark(account, offer.owner) if words.marked else OTHERS
    place = offer.place if words.named or "place" in words.facts else ""
    kept = FIGURES | words.facts
    return Offer(
        node=offer.node,
        name=offer.name if words.named or "name" in words.facts else "",
        owner=AccountId(owner),
        place=_mark(account, offer.place) if words.marked and not place else place,
        boot=0,
        number=0,
        resources=tuple([_blind_resource(r, words, kept) for r in offer.resources if r.kind in words.kinds]),
        facts=_facts(offer.facts, kept),
        rules=offer.rules,
    )


def _blind_resource(resource: Resource, words: Words, kept: frozenset[str]) -> Resource:
    return Resource(
        id=resource.id,
        kind=resource.kind,
        name="",
        node=resource.node,
        owner=OTHERS,
        place=resource.place if "place" in words.facts else "",
        uri="",
        unit=resource.unit,
        capacity=resource.capacity,
        free=resource.free,
        price_uwos=resource.price_uwos,
        tags=resource.tags if "tags" in words.facts else (),
        facts=_facts(resource.facts, kept),
        state=resource.state,
    )


def _facts(facts: dict[str, Fact], kept: frozenset[str]) -> dict[str, Fact]:
    return {name: value for name, value in facts.items() if name in kept}


def _mark(account: AccountId, text: str) -> str:
    """Return a mark that tells one owner or place from another and says nothing else."""
    if not text:
        return ""
    return blake2b(text.encode(), digest_size=MARK_BYTES, key=account.encode()[:64]).hexdigest()
