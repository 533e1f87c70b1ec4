"""The choice of a gang: several needs at once, all or none, with the least sum of their scores.

Parts may share a node as long as its capacity and memory suffice; a part with ``apart`` has its node to itself within
the gang. Each part is scored as if it were alone: what the parts take from each other is bounded by capacity, not by
score.

Depth-first branch and bound over the cheapest places of each part. Of P parts the others can occupy at most P - 1 nodes
and P - 1 resources of a node, so some best answer uses only each part's P cheapest nodes and the P cheapest resources
there. With one resource of a kind per node those are at most 6 + 6**2 + ... + 6**6 plans for six parts, each entered
and left once, which STEPS_EXACT covers: up to GANG_EXACT_PARTS the answer is exact. Beyond, a greedy answer with repair
is improved for STEPS_MORE steps.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from worldos.errors import BadRequest
from worldos.kernel.match import Choice, Refusal, choose
from worldos.kernel.question import Question, View, clamp, draw, memory_of, node_key
from worldos.kernel.spread import choose_spread, is_spread
from worldos.model.ids import NodeId, ResourceId
from worldos.model.limits import GANG_PARTS_MAX
from worldos.model.need import Need
from worldos.model.offer import Offer

GANG_EXACT_PARTS: Final = 6
STEPS_EXACT: Final = 120_000
STEPS_MORE: Final = 5_000
REPAIRS_MAX: Final = 512


_Key = tuple[NodeId, ResourceId]


class _Spot(NamedTuple):
    """One place that a part could have: ``count`` of ``resources`` on a node, ``each`` of them, and memory beside."""

    score: int
    lot: int
    node: NodeId
    resources: tuple[ResourceId, ...]
    memory: ResourceId


class _Part(NamedTuple):
    """One need of the gang with its places, cheapest first. ``twin`` is the first part that asks for the same."""

    number: int
    question: Question
    spots: tuple[_Spot, ...]
    twin: int


class _Packing:
    """Which part is where, and what that leaves free."""

    def __init__(self, free: dict[_Key, int]) -> None:
        self.free = free
        self.parts_on: dict[NodeId, int] = {}
        self.apart_on: set[NodeId] = set()
        self.at: dict[int, tuple[_Spot, tuple[ResourceId, ...]]] = {}
        self.score = 0

    def take(self, part: _Part, spot: _Spot) -> bool:
        """Put the part there if it fits."""
        need, question = part.question.need, part.question
        if spot.node in self.apart_on or (need.apart and self.parts_on.get(spot.node, 0)):
            return False
        taken = tuple(item for item in spot.resources if self.free[spot.node, item] >= question.each)[: question.count]
        if len(taken) < question.count or (
            question.memory_bytes and self.free[spot.node, spot.memory] < question.memory_bytes
        ):
            return False
        self._give(part, spot, taken, -1)
        self.at[part.number] = (spot, taken)
        self.score += spot.score
        self.parts_on[spot.node] = self.parts_on.get(spot.node, 0) + 1
        if need.apart:
            self.apart_on.add(spot.node)
        return True

    def leave(self, part: _Part) -> None:
        """Take the part away again."""
        spot, taken = self.at.pop(part.number)
        self._give(part, spot, taken, 1)
        self.score -= spot.score
        self.parts_on[spot.node] -= 1
        self.apart_on.discard(spot.node)

    def _give(self, part: _Part, spot: _Spot, taken: tuple[ResourceId, ...], sign: int) -> None:
        for item in taken:
            self.free[spot.node, item] += sign * part.question.each
        if part.question.memory_bytes:
            self.free[spot.node, spot.memory] += sign * part.question.memory_bytes


def choose_gang(needs: Sequence[Need], offers: Collection[Offer], view: View) -> tuple[Choice, ...] | Refusal:
    """Return a place for every need, in their order, or why they cannot be had together."""
    if not 0 < len(needs) <= GANG_PARTS_MAX:
        raise BadRequest(f"a gang has 1 to {GANG_PARTS_MAX} parts, this has {len(needs)}")
    if is_spread(needs):
        return choose_spread(needs, offers, view)
    parts = _parts(needs, offers, view)
    for part in parts:
        if not part.spots:
            answer = choose(part.question.need, offers, view)
            assert isinstance(answer, Refusal)
            return _for_part(answer, part.number)
    order = sorted(parts, key=lambda part: (len(part.spots), -part.question.need.amount, part.twin, part.number))
    packing = _Packing(_all_free(offers))
    best = _greedy(order, packing)
    best = _branch_and_bound(order, _Packing(_all_free(offers)), best)
    if best is None:
        return _together(needs, offers)
    return tuple(_choice(parts[index], *best[index], considered=len(offers)) for index in range(len(needs)))


_Plan = dict[int, tuple[_Spot, tuple[ResourceId, ...]]]


def _parts(needs: Sequence[Need], offers: Collection[Offer], view: View) -> list[_Part]:
    seen: list[_Part] = []
    parts: list[_Part] = []
    for index, need in enumerate(needs):
        twin = next((part for part in seen if part.question.need == need), None)
        if twin is None:
            question = Question(need, view)
            twin = _Part(index, question, _spots(question, offers, len(needs)), index)
            seen.append(twin)
        parts.append(twin._replace(number=index))
    return parts


def _spots(question: Question, offers: Collection[Offer], parts: int) -> tuple[_Spot, ...]:
    """Return the cheapest places of one need: of ``parts`` nodes, and of each as many resources."""
    nodes: list[list[_Spot]] = []
    for offer in offers:
        fitting = question.fitting(offer)
        if len(fitting) < question.count:
            continue
        lot = draw(node_key(offer.node), question.view.nonce)
        memory = memory_of(offer)
        beside = memory.id if memory else ResourceId("")
        if question.count > 1:
            ids = tuple(resource for _, resource in fitting)
            nodes.append([_Spot(fitting[question.count - 1][0], lot, offer.node, ids, beside)])
        else:
            nodes.append([_Spot(points, lot, offer.node, (item,), beside) for points, item in fitting[:parts]])
    nodes.sort()
    return tuple(sorted(spot for spots in nodes[:parts] for spot in spots))


def _all_free(offers: Collection[Offer]) -> dict[_Key, int]:
    return {(offer.node, item.id): clamp(item.free) for offer in offers for item in offer.resources}


def _greedy(order: Sequence[_Part], packing: _Packing) -> _Plan | None:
    """Give each part its cheapest place that is left; where none is, move one other part out of the way."""
    repairs = 0
    for number, part in enumerate(order):
        if any(packing.take(part, spot) for spot in part.spots):
            continue
        repairs += 1
        if repairs > REPAIRS_MAX or not _repair(part, order[:number], packing):
            return None
    return dict(packing.at)


def _repair(part: _Part, placed: Sequence[_Part], packing: _Packing) -> bool:
    for other in placed:
        spot, _ = packing.at[other.number]
        if all(spot.node != mine.node for mine in part.spots):
            continue
        packing.leave(other)
        for mine in part.spots:
            if mine.node == spot.node and packing.take(part, mine):
                if any(packing.take(other, elsewhere) for elsewhere in other.spots):
                    return True
                packing.leave(part)
        back = packing.take(other, spot)
        assert back, "what was there a moment ago still fits"
    return False


def _branch_and_bound(order: Sequence[_Part], packing: _Packing, best: _Plan | None) -> _Plan | None:
    """Improve on the best plan known, exactly if the steps suffice."""
    rest = [0] * (len(order) + 1)
    for number in range(len(order) - 1, -1, -1):
        rest[number] = rest[number + 1] + order[number].spots[0].score
    steps = STEPS_EXACT if len(order) <= GANG_EXACT_PARTS else STEPS_MORE
    limit = sum(spot.score for spot, _ in best.values()) if best is not None else None
    ranks: list[int] = [-1] * len(order)  # the place tried last, by depth; an explicit stack, since gangs may be deep
    depth = 0
    while depth >= 0:
        part = order[depth]
        if part.number in packing.at:
            packing.leave(part)
        steps -= 1
        if steps < 0:
            break
        if not _advance(order, packing, ranks, depth, None if limit is None else limit - rest[depth + 1]):
            ranks[depth] = -1
            depth -= 1
        elif depth + 1 == len(order):
            best, limit = dict(packing.at), packing.score
        else:
            depth += 1
            ranks[depth] = _first_rank(order, ranks, depth) - 1
    return best


def _advance(order: Sequence[_Part], packing: _Packing, ranks: list[int], depth: int, below: int | None) -> bool:
    """Put the part of this depth on its next place that fits and keeps the sum below the limit."""
    part = order[depth]
    for rank in range(ranks[depth] + 1, len(part.spots)):
        spot = part.spots[rank]
        if below is not None and packing.score + spot.score >= below:
            return False
        if packing.take(part, spot):
            ranks[depth] = rank
            return True
    return False


def _first_rank(order: Sequence[_Part], ranks: Sequence[int], depth: int) -> int:
    """Return where to begin: parts that ask for the same are interchangeable, so they come in one order only."""
    same = order[depth].twin == order[depth - 1].twin
    return max(ranks[depth - 1], 0) if same else 0


def _choice(part: _Part, spot: _Spot, taken: tuple[ResourceId, ...], *, considered: int) -> Choice:
    other = next((item for item in part.spots if item.node != spot.node), None)
    return Choice(
        node=spot.node,
        resource=taken[0],
        resources=taken,
        score=spot.score,
        considered=considered,
        runner_up=other.node if other else NodeId(""),
        runner_up_score=other.score if other else 0,
    )


def _for_part(answer: Refusal, part: int) -> Refusal:
    return Refusal(
        considered=answer.considered,
        excluded=answer.excluded,
        best_free=answer.best_free,
        near_misses=answer.near_misses,
        part=part,
    )


def _together(needs: Sequence[Need], offers: Collection[Offer]) -> Refusal:
    apart = sum(need.apart for need in needs)
    text = f"{len(needs)} parts at once" + (f", {apart} of them apart" if apart else "")
    return Refusal(considered=len(offers), excluded=((text, len(offers)),), best_free="", near_misses=(), part=-1)
