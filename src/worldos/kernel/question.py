"""A need, read once before many offers: which constraints it sets, in which order, and who fulfils them.

Two-sided: the need's constraints and the provider's rules are one list. An offer that is excluded is so by the *first*
constraint of that list that fails, so the counts of a refusal add up; where a node has several resources of the kind,
the one that comes furthest speaks for it. Static constraints come first and what is merely taken now comes last, so a
refusal tells "never here" from "not now".

A Network with a far end (``to``) begins at the caller's node, unless ``near`` says where.

What fits: an amount must fit in *one* resource of its kind. Only GPUs add up: a whole number of more than one GPU takes
that many whole, free GPUs of one node. Memory beside a CPU or GPU must be free in one Memory resource of the same node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from worldos.errors import BadRequest
from worldos.kernel import score
from worldos.model import where
from worldos.model.ids import AccountId, NodeId, ResourceId
from worldos.model.isolation import Isolation
from worldos.model.limits import DATA_PLACES_MAX, GAIN_MS_MAX, NAME_CHARS_MAX, NEED_PRIORITY_MAX
from worldos.model.need import Compare, Condition, Need
from worldos.model.offer import Offer
from worldos.model.resource import Fact, Kind, Resource, ResourceState, kept_to_owner
from worldos.model.units import AMOUNT_MAX, show, show_bytes

KIND, ALIVE, FRESH, OPEN, OWNER, NEAR, START, BATTERY, SERVICE, WHERE = range(10)
"""The stages before ``where``; after its parts come SIZE, PRICE, FREE and MEMORY (Question.size and so on)."""

WAY_CHARS_MAX: Final = 256
ISOLATION: Final = "isolation"  # the fact of an offer: in which classes its node can run what is not its own, as words
WORKERS_MAX: Final = 4096
ISOLATIONS: Final = frozenset(Isolation)
_MASK: Final = 2**64 - 1
_COMPUTES: Final = frozenset({Kind.CPU.value, Kind.GPU.value})


Way = score.Way[int]


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What the chooser knows, beside the offers. ``nonce`` decides ties and is fixed before the offers are looked at.

    ``gone`` are nodes that are not alive, ``passed_over`` those that have just refused this need or did not answer.
    ``flaps`` counts how often a node was lost and came back lately.
    """

    home: NodeId
    account: AccountId
    nonce: bytes = b""
    rtt_us: Mapping[NodeId, int] = {}
    doubted: frozenset[NodeId] = frozenset()
    flaps: Mapping[NodeId, int] = {}
    gone: frozenset[NodeId] = frozenset()
    passed_over: frozenset[NodeId] = frozenset()


class Standing(NamedTuple):
    """How far an offer came: the stage that excluded it, or ``len(texts)``; with what it has free of the kind."""

    stage: int
    free: int
    memory_free: int


class Place(NamedTuple):
    """Where a need fits in an offer: in one resource, or in several whole GPUs."""

    score: int
    resources: tuple[ResourceId, ...]


class Question:
    """A need before a view. ``texts[stage]`` names each constraint in the order in which it is asked."""

    def __init__(self, need: Need, view: View) -> None:
        self.need = need
        self.view = view
        self.parts: tuple[Condition, ...] = (*where.parts_of(need.where), *_kept_apart(need))
        self.near_home = need.near == view.home
        self.from_home = need.kind == Kind.NETWORK and bool(need.to) and (not need.near or self.near_home)
        self.weights = score.weights_of(need.objective, near_home=self.near_home)
        self.saved_us = {at.node: score.fetch_us(at.size_bytes) for at in need.reads}
        self.work = need.work if need.kind in _COMPUTES else None
        self.cores = max(1, need.amount // 1000)
        several = need.kind == Kind.GPU and need.amount > 1000 and need.amount % 1000 == 0
        self.count = need.amount // 1000 if several else 1
        self.each = need.amount // self.count
        self.memory_bytes = 0 if need.kind == Kind.MEMORY else need.memory_bytes
        self.thousandths = score.thousandths(need.kind, need.amount)
        self.memory_thousandths = score.thousandths(Kind.MEMORY, self.memory_bytes)
        self.budget = min(need.budget_uwos_hour or score.PRICE_HOUR_MAX_UWOS, score.PRICE_HOUR_MAX_UWOS)
        self.size = WHERE + len(self.parts)
        self.price, self.free, self.memory = self.size + 1, self.size + 2, self.size + 3
        self.texts = self._texts()

    def _texts(self) -> tuple[str, ...]:
        need = self.need
        amount = show(need.kind, need.amount)
        return (
            f"offers {need.kind}",
            "is alive",
            "has not just refused",
            "is open to new leases",
            "is open to this account",
            f"is near {need.near}",
            "begins at this node",
            "lends while on battery",
            "is in service",
            *(where.show_where(part) for part in self.parts),
            f"{amount} on one node" if self.count > 1 else f"{amount} in one piece",
            f"at most {self.budget} uWOS an hour",
            f"{amount} free",
            f"{show_bytes(self.memory_bytes)} of memory free",
        )

    # -- one offer --------------------------------------------------------------------------------------------------

    def standing(self, offer: Offer) -> Standing:
        """Say how far the offer comes."""
        memory = memory_of(offer)
        memory_free = clamp(memory.free) if memory else 0
        own = self._of_kind(offer)
        if not own:
            return Standing(KIND, 0, memory_free)
        barred = self._barred(offer, own)
        if barred is not None:
            seen = [item for item in own if not self._is_kept(offer, item)] or own
            return Standing(barred, max(clamp(item.free) for item in seen), memory_free)
        stages = sorted(((self._stage(offer, item, memory), clamp(item.free)) for item in own), reverse=True)
        if self.count == 1:
            return Standing(*stages[0], memory_free)
        free = sum(min(free, self.each) for stage, free in stages if stage >= self.size)
        last = stages[self.count - 1][0] if len(stages) >= self.count else min(stages[0][0], self.size)
        return Standing(last, free, memory_free)

    def fitting(self, offer: Offer) -> list[tuple[int, ResourceId]]:
        """Return the score and id of each resource that fits, best first."""
        own = self._of_kind(offer)
        if not own or self._barred(offer, own) is not None:
            return []
        memory = memory_of(offer) if self.memory_bytes else None
        end = len(self.texts)
        fitting = [
            (self.score(offer, item, memory), item.id) for item in own if self._stage(offer, item, memory) == end
        ]
        fitting.sort()
        return fitting

    def place(self, offer: Offer) -> Place | None:
        """Return the best place in the offer, or None where it does not fit; several GPUs score as their worst."""
        places = self.fitting(offer)
        if len(places) < self.count:
            return None
        taken = places[: self.count]
        return Place(taken[-1][0], tuple(resource for _, resource in taken))

    def _of_kind(self, offer: Offer) -> list[Resource]:
        return [item for item in offer.resources if item.kind == self.need.kind]

    def score(self, offer: Offer, resource: Resource, memory: Resource | None) -> int:
        """Return the published score of one resource; reads figures only."""
        figures = score.figures_of(
            resource.kind, clamp(resource.capacity), clamp(resource.free), offer.facts, resource.facts
        )
        if self.work is not None:
            figures = figures._replace(work_us=score.round_us(self.work, offer.node, figures.work_us))
        return score.weigh(
            self.weights,
            figures,
            self.way_to(offer.node),
            self.each,
            self.price_hour_uwos(offer, resource, memory),
            score.INTEGERS,
        )

    def expected(self, offer: Offer) -> tuple[int, int] | None:
        """Return how long a round of learned calls takes there, and its bytes on the way, in us; None: nothing was learned."""
        own = self._of_kind(offer)
        if self.work is None or not own:
            return None
        reference_us = min(
            score.figures_of(item.kind, clamp(item.capacity), clamp(item.free), offer.facts, item.facts).work_us
            for item in own
        )
        far = offer.node != self.view.home
        run_us = score.round_us(self.work, offer.node, reference_us)
        return run_us, score.move_us(self.work, offer.node, self.cores) if far else 0

    def way_to(self, node: NodeId) -> Way:
        """Return how far a node is; what must travel there makes it farther, and what it has of the data that much nearer."""
        way = way_to(self.view, node)
        more_us = -self.saved_us.get(node, 0)
        if self.work is not None and node != self.view.home:
            more_us += score.move_us(self.work, node, self.cores)
        return way._replace(rtt_us=way.rtt_us + more_us // score.TRIPS) if more_us else way

    def price_hour_uwos(self, offer: Offer, resource: Resource, memory: Resource | None) -> int:
        """Return what an hour of the whole need costs at this resource's price, memory included."""
        total = 0
        if price := price_of(offer, resource):
            total += score.price_hour_uwos(price, self.thousandths, score.INTEGERS)
        if self.memory_bytes and memory and memory.price_uwos:
            price = clamp(memory.price_uwos)
            total += score.price_hour_uwos(price, self.memory_thousandths, score.INTEGERS)
        return total

    def _stage(self, offer: Offer, resource: Resource, memory: Resource | None) -> int:
        """Return the first constraint on this resource that fails, its node being allowed."""
        if self._is_kept(offer, resource):
            return OWNER
        if resource.state not in (ResourceState.AVAILABLE, ResourceState.IN_USE):
            return SERVICE
        if self.parts:
            facts = facts_of(offer, resource)
            for number, part in enumerate(self.parts):
                if not where.holds(part, facts):
                    return WHERE + number
        if clamp(resource.capacity) < self.each:
            return self.size
        if self.price_hour_uwos(offer, resource, memory) > self.budget:
            return self.price
        if clamp(resource.free) < self.each:
            return self.free
        if self.memory_bytes > (clamp(memory.free) if memory else 0):
            return self.memory
        return len(self.texts)

    def _is_kept(self, offer: Offer, resource: Resource) -> bool:
        """Tell whether a resource is for its owner's account alone, which is another."""
        return kept_to_owner(resource.facts) and offer.owner != self.view.account

    def _barred(self, offer: Offer, own: list[Resource]) -> int | None:
        """Return the first constraint on the node as a whole that fails."""
        rules, view = offer.rules, self.view
        if offer.node in view.gone:
            return ALIVE
        if offer.node in view.passed_over:
            return FRESH
        if not rules.open:
            return OPEN
        if (rules.owners_only and offer.owner != view.account) or all(self._is_kept(offer, item) for item in own):
            return OWNER
        if self.need.near and not self.near_home and not is_near(self.need.near, offer):
            return NEAR
        if self.from_home and offer.node != view.home:
            return START
        if rules.not_on_battery and offer.facts.get("battery") is True:
            return BATTERY
        return None


def check_need(need: Need) -> None:
    """Refuse a need that came from outside and breaks a bound."""
    if not 0 < need.amount <= AMOUNT_MAX or not 0 <= need.memory_bytes <= AMOUNT_MAX:
        raise BadRequest("the amount of a need must be more than zero and less than 2**62")
    if not 0 < len(need.kind) <= NAME_CHARS_MAX or not need.kind.isprintable():
        raise BadRequest("the kind of a need must be a short word")
    ways = (need.near, need.to, need.realm)
    if any(len(way) > WAY_CHARS_MAX or not way.isprintable() for way in ways):
        raise BadRequest(f"a place or node in a need may have {WAY_CHARS_MAX} printable characters")
    if len(need.reads) > DATA_PLACES_MAX or any(not 0 <= at.size_bytes <= AMOUNT_MAX for at in need.reads):
        raise BadRequest(f"a need may name {DATA_PLACES_MAX} nodes that have its data, and no less than nothing there")
    if not 0 <= need.workers <= WORKERS_MAX or not 0 <= need.budget_uwos_hour <= AMOUNT_MAX:
        raise BadRequest(f"a need may have {WORKERS_MAX} workers, and a budget of zero or more")
    if not -NEED_PRIORITY_MAX <= need.priority <= NEED_PRIORITY_MAX or not 0 <= int(need.yields) <= GAIN_MS_MAX:
        raise BadRequest(
            f"a need has a priority from -{NEED_PRIORITY_MAX} to {NEED_PRIORITY_MAX}, and gains no less than nothing"
        )
    if need.isolation and need.isolation not in ISOLATIONS:
        raise BadRequest(f"there is no isolation {need.isolation[:16]!r}", hint=f"there are: {', '.join(Isolation)}")
    if need.where is not None:
        where.check(need.where)


def _kept_apart(need: Need) -> tuple[Condition, ...]:
    """Return the condition on nodes that comes with a need to be kept apart from them; a driver's lane always is."""
    is_asked = need.isolation not in {"", Isolation.PROCESS} and need.kind in {Kind.CPU, Kind.GPU}
    return (Compare(fact=ISOLATION, op="has", value=need.isolation),) if is_asked else ()


def facts_of(offer: Offer, resource: Resource) -> dict[str, Fact]:
    """Return what ``where`` sees: the node's facts, over them the resource's own, over these what is known anyway."""
    return {**offer.facts, **resource.facts, **{name: read(offer, resource) for name, read in _KNOWN_ANYWAY.items()}}


def fact_of(offer: Offer, resource: Resource, name: str) -> Fact | None:
    """Return one fact of facts_of, or None."""
    known = _KNOWN_ANYWAY.get(name)
    if known is not None:
        return known(offer, resource)
    return resource.facts.get(name, offer.facts.get(name))


def memory_of(offer: Offer) -> Resource | None:
    """Return the Memory in service with the most free, which a need for CPU or GPU would take from."""
    found = [
        item
        for item in offer.resources
        if item.kind == Kind.MEMORY and item.state in (ResourceState.AVAILABLE, ResourceState.IN_USE)
    ]
    return min(found, key=lambda item: (-item.free, item.price_uwos, item.id), default=None)


def price_of(offer: Offer, resource: Resource) -> int:
    """Return the price of one unit and hour: what the resource says, and no less than what the provider's rules say."""
    return clamp(max(resource.price_uwos, offer.rules.price_min_uwos))


_KNOWN_ANYWAY: Final[Mapping[str, Callable[[Offer, Resource], Fact]]] = {
    "kind": lambda _, resource: resource.kind,
    "name": lambda offer, _: offer.name,
    "node": lambda offer, _: offer.node,
    "place": lambda offer, resource: resource.place or offer.place,
    "tags": lambda _, resource: " ".join(resource.tags),
    "capacity": lambda _, resource: resource.capacity,
    "free": lambda _, resource: resource.free,
    "price": price_of,
}


def clamp(number: int) -> int:
    """Bring an amount or price that a peer said into what the score and the columns can count."""
    return number if 0 <= number <= AMOUNT_MAX else max(0, min(AMOUNT_MAX, number))


def is_near(near: str, offer: Offer) -> bool:
    """Say whether ``near`` names this node, by id or name, or a place that it is in."""
    return near in (offer.node, offer.name) or is_within(near, offer.place)


def is_within(near: str, place: str) -> bool:
    """Say whether a place lies in ``near``: ``acme/berlin`` and ``Berlin`` both hold ``earth/eu/acme/berlin/lab``."""
    outer = near.casefold().strip("/").split("/")
    inner = place.casefold().strip("/").split("/")
    last = len(inner) - len(outer)
    return any(inner[at : at + len(outer)] == outer for at in range(last + 1))


def way_to(view: View, node: NodeId) -> Way:
    """Return how far a node is from home, and what is known against it."""
    default = 0 if node == view.home else score.RTT_US_DEFAULT
    rtt_us = max(0, min(score.RTT_US_MAX, view.rtt_us.get(node, default)))
    doubt = score.LOSS_DOUBTED_PERMILLE if node in view.doubted else 0
    flaps = max(0, min(score.LOSS_FLAPS_MAX, view.flaps.get(node, 0)))
    return score.Way(rtt_us, doubt + flaps * score.LOSS_FLAP_PERMILLE)


def node_key(node: NodeId) -> int:
    """Return the 64 bits of a node that ties are drawn with."""
    return int.from_bytes(blake2b(node.encode(), digest_size=8).digest(), "little")


def draw(key: int, nonce: bytes) -> int:
    """Return a node's lot for one choice; among equal scores the smallest lot wins, whatever the order of offers.

    BLAKE2b of the node's id and of the nonce, joined by xor and mixed by splitmix64's finisher, so that the index can
    draw for a whole column. Source: G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators",
    OOPSLA 2014.
    """
    lot = key ^ int.from_bytes(blake2b(nonce, digest_size=8).digest(), "little")
    lot = ((lot ^ (lot >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    lot = ((lot ^ (lot >> 27)) * 0x94D049BB133111EB) & _MASK
    return lot ^ (lot >> 31)
