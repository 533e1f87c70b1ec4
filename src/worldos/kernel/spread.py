"""The choice of stores: as many nodes as there are parts, no two behind one wall if that can be had.

What hits one store often hits its neighbours: a fire takes a home, a switch takes a rack, a thief takes an account. So a gang
of needs for Store, each apart, is not the cheapest sum but the widest spread, and the same score as ever decides among equals.
One node after the other is taken: the one whose place holds the fewest of those taken, then whose owner does, then the best
score, then the lot. Every node is in one place, so no choice of as many nodes is in more places (a greedy count over a
partition is the best one); of owners it takes as many as that leaves. Source: DESIGN.md section 9.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from worldos.kernel.match import Choice, Refusal, choose
from worldos.kernel.question import Question, View, draw, node_key
from worldos.model.ids import NodeId, ResourceId
from worldos.model.need import Need
from worldos.model.offer import Offer
from worldos.model.resource import Kind


def is_spread(needs: Sequence[Need]) -> bool:
    """Tell whether these needs are for stores that must not share a fate."""
    first = needs[0]
    return len(needs) > 1 and first.kind == Kind.STORE and first.apart and all(need == first for need in needs)


def choose_spread(needs: Sequence[Need], offers: Collection[Offer], view: View) -> tuple[Choice, ...] | Refusal:
    """Return a node for each of the equal needs, or why there are not so many."""
    question = Question(needs[0], view)
    left: dict[NodeId, tuple[int, int, ResourceId, Offer]] = {}
    for offer in offers:
        fitting = question.place(offer)
        if fitting is not None:
            lot = draw(node_key(offer.node), view.nonce)
            left[offer.node] = (fitting.score, lot, fitting.resources[0], offer)
    if len(left) < len(needs):
        return _too_few(needs, offers, view, len(left))
    places: Counter[str] = Counter()
    owners: Counter[str] = Counter()
    chosen: list[Choice] = []
    for _ in needs:
        ranked = sorted(
            (places[offer.place], owners[offer.owner], points, lot, node)
            for node, (points, lot, _, offer) in left.items()
        )
        node = ranked[0][-1]
        points, _, resource, offer = left.pop(node)
        places[offer.place] += 1
        owners[offer.owner] += 1
        next_best = ranked[1] if len(ranked) > 1 else None
        chosen.append(
            Choice(
                node=node,
                resource=resource,
                resources=(resource,),
                score=points,
                considered=len(offers),
                runner_up=next_best[-1] if next_best else NodeId(""),
                runner_up_score=next_best[2] if next_best else 0,
            )
        )
    return tuple(chosen)


def _too_few(needs: Sequence[Need], offers: Collection[Offer], view: View, fitting: int) -> Refusal:
    """Say why there are fewer nodes than parts: for one part alone where not even that can be had."""
    alone = choose(needs[0], offers, view)
    if isinstance(alone, Refusal):
        return alone
    text = f"{len(needs)} nodes of their own, where {fitting} can"
    return Refusal(considered=len(offers), excluded=((text, len(offers)),), best_free="", near_misses=(), part=-1)
