"""A shortlist: the few candidates for a bid that are worth sending back, from what several realms answered.

A gang needs several nodes, so each of its parts in turn picks its best candidate that nobody picked yet. Who does not fit any
part is left out, whoever sent it. Pure, in integers, ties by the bid's number. Source: DESIGN.md section 6.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from worldos.kernel.question import Question, View, clamp, draw, node_key
from worldos.model.ids import AccountId, NodeId
from worldos.model.need import Need
from worldos.model.realm import CANDIDATES_MAX, BidAsk, Candidate

NEEDS_READ_MAX: Final = 16  # of a larger gang so many different needs are looked at


def view_of(ask: BidAsk) -> View:
    """Say how the asker's node sees candidates: it is a stranger to all accounts but its own."""
    return View(home=ask.home.node, account=AccountId(ask.home.site), nonce=ask.bid.to_bytes(8, "big"))


def fitting(ask: BidAsk, candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the candidates that could take a part of what is asked, each node once."""
    view = view_of(ask)
    questions = [Question(need, view) for need in _different(ask.needs)]
    kept: dict[NodeId, Candidate] = {}
    for candidate in candidates:
        node = candidate.contact.node
        if node not in kept and candidate.offer.node == node and _takes_any(questions, candidate):
            kept[node] = candidate
    return list(kept.values())


def shortlist(ask: BidAsk, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Return the best candidates, each part of a gang picking in turn."""
    view = view_of(ask)
    rankings = {need: _ranked(Question(need, view), candidates) for need in _different(ask.needs)}
    chosen: dict[NodeId, Candidate] = {}
    turns = [need for need in ask.needs if need in rankings]
    while len(chosen) < CANDIDATES_MAX:
        before = len(chosen)
        for need in turns[:CANDIDATES_MAX]:
            best = next((one for one in rankings[need] if one.contact.node not in chosen), None)
            if best is not None and len(chosen) < CANDIDATES_MAX:
                chosen[best.contact.node] = best
        if len(chosen) == before:
            break
    return tuple(chosen.values())


def covers(ask: BidAsk, candidates: Sequence[Candidate]) -> bool:
    """Tell whether the candidates seem to suffice: each part has one, and together they have what all parts take."""
    if not candidates or sum(need.apart for need in ask.needs) > len(candidates):
        return False
    view = view_of(ask)
    for need in _different(ask.needs):
        question = Question(need, view)
        if all(question.place(candidate.offer) is None for candidate in candidates):
            return False
    wanted: dict[str, int] = {}
    for need in ask.needs:
        wanted[need.kind] = wanted.get(need.kind, 0) + need.amount
    return all(_free(kind, candidates) >= amount for kind, amount in wanted.items())


def _different(needs: Iterable[Need]) -> list[Need]:
    return list(dict.fromkeys(needs))[:NEEDS_READ_MAX]


def _takes_any(questions: Iterable[Question], candidate: Candidate) -> bool:
    return any(question.place(candidate.offer) is not None for question in questions)


def _ranked(question: Question, candidates: Iterable[Candidate]) -> list[Candidate]:
    placed = [(question.place(one.offer), one) for one in candidates]
    nonce = question.view.nonce
    ranked = sorted(
        (
            (place.score, draw(node_key(one.contact.node), nonce), one.contact.node, one)
            for place, one in placed
            if place is not None
        ),
        key=lambda each: each[:3],
    )
    return [one for _, _, _, one in ranked]


def _free(kind: str, candidates: Iterable[Candidate]) -> int:
    return sum(clamp(item.free) for one in candidates for item in one.offer.resources if item.kind == kind)
