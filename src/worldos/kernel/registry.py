"""What there is: this node's own resources with the history of their lives, and the latest offer of every other node.

Offers are soft state: each node tells its own, whole, when it changed by more than 5 %, and a newer one replaces an older one.
Invariant: an offer is believed only from the node that it is about, and never goes back in time.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from worldos.kernel.effects import Effect, Notice
from worldos.kernel.leases import Leases
from worldos.model import limits
from worldos.model.ids import AccountId, NodeId, ResourceId, short
from worldos.model.lend import Lent
from worldos.model.offer import Offer, OfferRules
from worldos.model.resource import Fact, HistoryLine, Resource, ResourceState, Scanned, kept_to_owner


class Registry(msgspec.Struct, kw_only=True):
    """Own resources and all known offers. ``wall_offset_ns`` turns the node's clock into the wall's, for people only."""

    node: NodeId
    owner: AccountId
    boot: int
    name: str
    place: str
    prices: dict[str, int] = {}
    not_on_battery: bool = False
    lends: bool = False  # to other accounts of the realms above too
    limited: bool = False  # by rules of its owner, which leave others what is in ``lent``
    lent: tuple[Lent, ...] = ()
    number: int = 0
    wall_offset_ns: int = 0
    facts: dict[str, Fact] = {}
    addresses: tuple[str, ...] = ()
    scanned: dict[ResourceId, Scanned] = {}
    states: dict[ResourceId, ResourceState] = {}
    history: dict[ResourceId, list[HistoryLine]] = {}
    offers: dict[NodeId, Offer] = {}
    told: Offer | None = None
    told_ns: int = 0

    def scan(self, now_ns: int, wall_ns: int, resources: tuple[Scanned, ...], leases: Leases) -> list[Effect]:
        """Take in what the drivers found; a resource that is not found any more is offline, not forgotten."""
        self.wall_offset_ns = wall_ns - now_ns
        found = {self._id(item): item for item in resources[: limits.RESOURCES_PER_NODE_MAX]}
        gone = [r for r in self.scanned if r not in found][: limits.RESOURCES_PER_NODE_MAX - len(found)]
        self.scanned = {**{r: self.scanned[r] for r in gone}, **found}
        leasable = [self._resource(r, item, leases) for r, item in found.items() if item.leasable]
        leases.offer_capacity(leasable, {r: item.free for r, item in found.items()})
        effects: list[Effect] = []
        for resource in gone:
            effects.extend(self._enter(now_ns, resource, ResourceState.OFFLINE, "not found by the scan"))
        for resource in found:
            effects.extend(self._enter(now_ns, resource, self._state(resource, leases), "seen by the scan"))
        return effects

    def refresh(self, now_ns: int, leases: Leases) -> list[Effect]:
        """Bring states and history up to date after leases changed."""
        effects: list[Effect] = []
        for resource, item in self.scanned.items():
            if self.states.get(resource) is ResourceState.OFFLINE:
                continue
            state = self._state(resource, leases)
            if self.states.get(resource) is not state:
                lent = leases.lent.get(resource, 0)
                effects.extend(self._enter(now_ns, resource, state, f"{lent} of {item.capacity} {item.unit} leased"))
        return effects

    def own_offer(self, leases: Leases) -> Offer:
        """Say what this node offers now. The number only grows when the offer is told (``tell``)."""
        resources = tuple(self._resource(r, item, leases) for r, item in sorted(self.scanned.items()))
        return Offer(
            node=self.node,
            name=self.name,
            owner=self.owner,
            place=self.place,
            boot=self.boot,
            number=self.number,
            resources=resources,
            facts=self.facts,
            rules=OfferRules(
                open=not leases.drained,
                not_on_battery=self.not_on_battery,
                owners_only=not self.lends or (self.limited and not self.lent),
                limited=self.limited,
                lent=self.lent,
            ),
            addresses=self.addresses,
        )

    def tell(self, now_ns: int, leases: Leases) -> Offer | None:
        """Return the offer to send to everyone, if it is time and it changed enough, or must be refreshed."""
        if self.told is not None and now_ns - self.told_ns < limits.OFFER_PERIOD_MIN_NS:
            return None
        offer = self.own_offer(leases)
        due = self.told is None or now_ns - self.told_ns >= limits.OFFER_REFRESH_NS
        if not due and self.told is not None and not changed(self.told, offer):
            return None
        self.number += 1
        self.told = msgspec.structs.replace(offer, number=self.number)
        self.told_ns = now_ns
        self.offers[self.node] = self.told
        return self.told

    def hear(self, peer: NodeId, offer: Offer) -> list[Effect]:
        """Take in another node's offer, unless it is not its own or older than what is known."""
        if offer.node != peer or peer == self.node:
            return [Notice(name="offer refused", fields={"from": peer, "about": offer.node})]
        known = self.offers.get(peer)
        if known is not None and (known.boot, known.number) >= (offer.boot, offer.number):
            return []
        self.offers[peer] = offer
        if known is None or known.boot != offer.boot:
            return [Notice(name="node offers", fields={"node": peer, "name": offer.name})]
        return []

    def drop(self, node: NodeId) -> None:
        """Forget the offer of a node that is gone."""
        self.offers.pop(node, None)

    def lends_all(self, resources: Iterable[ResourceId]) -> bool:
        """Tell whether other accounts may have these: the site lends, and none is for its own account alone."""
        items = [self.scanned[resource] for resource in resources if resource in self.scanned]
        return self.lends and not any(kept_to_owner(item.facts) for item in items)

    def note(self, now_ns: int, resource: ResourceId, note: str) -> None:
        """Write a line into a resource's history."""
        lines = self.history.setdefault(resource, [])
        state = self.states.get(resource, ResourceState.AVAILABLE)
        lines.append(HistoryLine(at_ns=now_ns + self.wall_offset_ns, state=state, note=note))
        del lines[: -limits.HISTORY_PER_RESOURCE_MAX]

    def _enter(self, now_ns: int, resource: ResourceId, state: ResourceState, note: str) -> list[Effect]:
        if self.states.get(resource) is state:
            return []
        self.states[resource] = state
        self.note(now_ns, resource, note)
        return [Notice(name="resource", fields={"resource": resource, "state": state.value})]

    def _state(self, resource: ResourceId, leases: Leases) -> ResourceState:
        if leases.drained:
            return ResourceState.MAINTENANCE
        return ResourceState.IN_USE if leases.lent.get(resource, 0) else ResourceState.AVAILABLE

    def _id(self, item: Scanned) -> ResourceId:
        return ResourceId(f"{short(self.node)}/{item.kind.lower()}/{item.local}")

    def _resource(self, resource: ResourceId, item: Scanned, leases: Leases) -> Resource:
        return Resource(
            id=resource,
            kind=item.kind,
            name=item.name,
            node=self.node,
            owner=self.owner,
            place=self.place,
            uri=f"wos://{self.node}/{item.kind.lower()}/{item.local}",
            unit=item.unit,
            capacity=item.capacity,
            free=leases.free(resource) if item.leasable else 0,
            price_uwos=self.prices.get(item.kind, 0),
            tags=item.tags,
            facts=item.facts if item.leasable else {**item.facts, "leasable": False, "free": item.free},
            state=self.states.get(resource, ResourceState.AVAILABLE),
            yielding=leases.yielding(resource),
        )


def changed(old: Offer, new: Offer) -> bool:
    """Tell whether others should hear of it: anything but a small drift of numbers."""
    if (old.rules, old.name, old.place, old.addresses) != (new.rules, new.name, new.place, new.addresses):
        return True
    if len(old.resources) != len(new.resources) or old.facts.keys() != new.facts.keys():
        return True
    if any(_moved(value, new.facts[name], 100) for name, value in old.facts.items()):
        return True
    return any(_resource_changed(a, b) for a, b in zip(old.resources, new.resources, strict=True))


def _resource_changed(old: Resource, new: Resource) -> bool:
    if (old.id, old.state, old.capacity, old.tags) != (new.id, new.state, new.capacity, new.tags):
        return True
    moved = max(abs(old.free - new.free), abs(old.yielding - new.yielding))
    return moved * 100 > limits.OFFER_CHANGE_PERCENT * max(1, new.capacity)


def _moved(old: Fact, new: Fact, scale_min: int) -> bool:
    """Compare two facts; integers may drift by 5 % (percentages by 5 points, hence ``scale_min``)."""
    if isinstance(old, int) and isinstance(new, int) and not isinstance(old, bool) and not isinstance(new, bool):
        return abs(old - new) * 100 > limits.OFFER_CHANGE_PERCENT * max(abs(old), abs(new), scale_min)
    return old != new
