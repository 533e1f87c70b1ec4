"""The choice: of all offers that fulfil a need, the one with the least published score, exactly.

Pure and in integers. Equal scores are drawn by lot (question.draw): a hash of the chooser's nonce and the node's id, so
neither the order of arrival nor a pleasant id wins. The score sees no names, owners or nations. A refusal says which
constraint excluded how many nodes, what would have been free, and who came closest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from worldos.kernel.question import NEAR, Question, Standing, View, draw, memory_of, node_key
from worldos.model.ids import NodeId, ResourceId
from worldos.model.need import Need
from worldos.model.offer import Offer
from worldos.model.resource import Resource
from worldos.model.units import show, show_bytes

NEAR_MISSES_MAX: Final = 3


class Exclusion(msgspec.Struct, frozen=True, kw_only=True):
    """The first constraint that an offer does not fulfil."""

    constraint: str


class Choice(msgspec.Struct, frozen=True, kw_only=True, tag="choice"):
    """The best place for a need. ``resource`` is the first of ``resources``, which are several only for whole GPUs.

    ``runner_up`` is the second best node, empty if only one could have done it.
    """

    node: NodeId
    resource: ResourceId
    resources: tuple[ResourceId, ...]
    score: int
    considered: int
    runner_up: NodeId = NodeId("")
    runner_up_score: int = 0


class NearMiss(msgspec.Struct, frozen=True, kw_only=True):
    """A node that almost could: what it lacked, and what it has free of the kind."""

    node: NodeId
    constraint: str
    free: str


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag="refusal"):
    """Why nothing was chosen. ``excluded`` names constraints with the nodes each excluded, most first.

    ``best_free`` is the most that is free where everything else fits, empty if nothing else fits anywhere. ``part`` is
    the part of a gang that no node can take, or -1 where each part could be had alone, but not all at once.
    """

    considered: int
    excluded: tuple[tuple[str, int], ...]
    best_free: str
    near_misses: tuple[NearMiss, ...]
    part: int = 0


def feasible(need: Need, offer: Offer, view: View) -> Exclusion | None:
    """Say which constraint excludes the offer first, or None if both sides agree."""
    question = Question(need, view)
    stage = question.standing(offer).stage
    return None if stage == len(question.texts) else Exclusion(constraint=question.texts[stage])


def score(need: Need, offer: Offer, resource: Resource, view: View) -> int:
    """Return the published score of one resource, smaller is better; meaningful where the need fits."""
    return Question(need, view).score(offer, resource, memory_of(offer))


def price_hour_uwos(need: Need, offer: Offer, resource: Resource) -> int:
    """Return what an hour of the need costs at this resource, memory included, in micro-WOSCoin."""
    question = Question(need, View(home=offer.node, account=offer.owner))
    return question.price_hour_uwos(offer, resource, memory_of(offer))


def choose(need: Need, offers: Iterable[Offer], view: View) -> Choice | Refusal:
    """Return the best place for the need, or why there is none."""
    question = Question(need, view)
    considered = 0
    best: list[tuple[int, int, NodeId, tuple[ResourceId, ...]]] = []
    refused: list[Offer] = []
    for offer in offers:
        considered += 1
        place = question.place(offer)
        if place is None:
            refused.append(offer)
            continue
        lot = draw(node_key(offer.node), view.nonce)
        best = sorted([*best, (place.score, lot, offer.node, place.resources)])[:2]
    if not best:
        return refusal(question, ((offer.node, question.standing(offer)) for offer in refused))
    return choice(best, considered)


def choice(best: list[tuple[int, int, NodeId, tuple[ResourceId, ...]]], considered: int) -> Choice:
    """Return the choice from the best places ``(score, lot, node, resources)``, best first."""
    points, _, node, resources = best[0]
    second = best[1] if len(best) > 1 else None
    return Choice(
        node=node,
        resource=resources[0],
        resources=resources,
        score=points,
        considered=considered,
        runner_up=second[2] if second else NodeId(""),
        runner_up_score=second[0] if second else 0,
    )


def refusal(question: Question, standings: Iterable[tuple[NodeId, Standing]]) -> Refusal:
    """Return the explanation of a refusal from how far each offer came."""
    reached = list(standings)
    nonce = question.view.nonce
    close = sorted(
        (-standing.stage, -standing.free, draw(node_key(node), nonce), node)
        for node, standing in reached
        if standing.stage >= NEAR
    )[:NEAR_MISSES_MAX]
    return explanation(
        question,
        Counter(standing.stage for _, standing in reached),
        [(node, -stage, -free) for stage, free, _, node in close],
        max(((s.free, s.memory_free) for _, s in reached if s.stage >= question.size), default=None),
    )


def explanation(
    question: Question,
    counts: Mapping[int, int],
    close: Sequence[tuple[NodeId, int, int]],
    most: tuple[int, int] | None,
) -> Refusal:
    """Return the refusal for these counts by stage, the closest ``(node, stage, free)``, and the most that is free."""
    by_count = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return Refusal(
        considered=sum(counts.values()),
        excluded=tuple((question.texts[stage], count) for stage, count in by_count),
        best_free=_show_free(question, *most) if most else "",
        near_misses=tuple(
            NearMiss(node=node, constraint=question.texts[stage], free=show(question.need.kind, free))
            for node, stage, free in close
        ),
    )


def _show_free(question: Question, free: int, memory_free: int) -> str:
    said = show(question.need.kind, free)
    return f"{said} with {show_bytes(memory_free)} of memory" if question.memory_bytes else said


def explain(need: Need, answer: Refusal) -> str:
    """Say a refusal in one sentence."""
    wanted = show(need.kind, need.amount)
    if answer.considered == 0:
        return f"no node can give {wanted}: no offers are known"
    free = f"; free would be {answer.best_free}" if answer.best_free else ""
    if answer.considered == 1:
        return f"no node can give {wanted}: the only node is excluded by {answer.excluded[0][0]}{free}"
    first, *others = (f"by {constraint}" for constraint, _ in answer.excluded)
    counts = [count for _, count in answer.excluded]
    reasons = ", ".join([f"{counts[0]} excluded {first}", *map("{} {}".format, counts[1:], others)])
    return f"no node can give {wanted}: of {answer.considered} nodes {reasons}{free}"
