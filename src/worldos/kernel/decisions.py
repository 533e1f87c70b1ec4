"""Decisions: each choice, refusal and measure of this node as a value, complete enough to be made again by anybody.

``decide`` is the one place where a node chooses: it blinds the offers, asks the matcher, and puts down what it saw and said.
What was put down in one event lies in ``Decisions.made`` until the next; the shell takes it from there into its log, so that
no lease waits for that. ``redo`` makes a choice again from what was put down: the same bytes, or somebody is lying.
A use may come to more than one choice; ``number`` counts them all over this node's life, so one that is left out is missed.
Source: DESIGN.md section 10.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from worldos.kernel import match
from worldos.kernel.blind import OURS, blind
from worldos.kernel.cores import merge_cores, split_cores
from worldos.kernel.effects import CloseLane, Decided, Effect, Send
from worldos.kernel.match import Choice, Refusal
from worldos.kernel.match_gang import choose_gang
from worldos.kernel.question import View
from worldos.model.ids import LeaseId, NodeId, ResourceId, UseId
from worldos.model.need import Need
from worldos.model.offer import Offer
from worldos.model.wire import LeaseAsk, LeaseConfirm, LeaseGranted, LeaseRefused, LeaseRelease

if TYPE_CHECKING:
    from worldos.kernel.leases import Leases
    from worldos.kernel.uses import Uses

RELEASED: Final = "released"  # what a holder gives back by itself is no decision of this node
Answer = tuple[Choice, ...] | Refusal


class Chosen(msgspec.Struct, frozen=True, kw_only=True, tag="chosen"):
    """A choice as it was made, in memory: from these (blind) offers and this view, this answer.

    ``parts`` are the needs that the answer is for: those asked, or these split into cores.
    """

    number: int
    use: UseId
    needs: tuple[Need, ...]
    splits: bool
    offers: tuple[Offer, ...]
    view: View
    parts: tuple[Need, ...]
    answer: tuple[Choice, ...] | Refusal


class Answered(msgspec.Struct, frozen=True, kw_only=True, tag="answered"):
    """This node was asked for something of its own, and granted it (``lease``) or said no (``reason``)."""

    holder: NodeId
    ask: int
    use: UseId
    need: Need
    resources: tuple[ResourceId, ...]
    lease: LeaseId = LeaseId("")
    reason: str = ""
    free: int = 0


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag="ended"):
    """This node ended a lease that its holder had not given back: preempted, expired, failed."""

    lease: LeaseId
    why: str


class Acted(msgspec.Struct, frozen=True, kw_only=True, tag="acted"):
    """Something else that this node decided by itself or for its owner: a guarded command, a quarantine, a narrowing."""

    what: str
    about: str
    why: str
    fields: dict[str, str | int] = {}


Made = Chosen | Answered | Ended | Acted

_acted: msgspec.msgpack.Decoder[Acted] = msgspec.msgpack.Decoder(Acted)
_encode = msgspec.msgpack.Encoder().encode


class Decisions(msgspec.Struct, kw_only=True):
    """What was decided in the last event, in order. ``number`` is that of the last choice in this life."""

    number: int = 0
    made: list[Made] = []

    def answered(
        self, peer: NodeId, asked: LeaseAsk | LeaseConfirm | LeaseRelease, effects: list[Effect]
    ) -> list[Effect]:
        """Put down what this node said to who asked for something of its own; return the effects as they are."""
        if type(asked) is LeaseAsk:
            for effect in effects:
                if type(effect) is Send and isinstance(effect.message, LeaseGranted | LeaseRefused):
                    self.made.append(_answered(peer, asked, effect.message))
        return effects

    def follow(self, uses: Uses, leases: Leases, effects: Sequence[Effect]) -> None:
        """Take over what was chosen for programs here, what else was decided, and which leases this node ended or gave late."""
        chosen: list[Made] = []
        for each in uses.made:
            self.number += 1
            chosen.append(msgspec.structs.replace(each, number=self.number))
        if chosen:
            self.made[:0] = chosen  # what was chosen comes before what it led to
            uses.made.clear()
        self.made.extend(_answered(*late) for late in leases.late)
        leases.late.clear()
        for effect in effects:
            if type(effect) is CloseLane:
                if effect.why != RELEASED:
                    self.made.append(Ended(lease=effect.lease, why=effect.why))
            elif type(effect) is Decided:
                self.made.append(_acted.decode(effect.entry))


def decided(what: str, about: str, why: str, **fields: str | int) -> Decided:
    """Return the effect that puts down a decision of another kind: ``decided("quarantine", principal, "burst", rate=3)``."""
    return Decided(entry=_encode(Acted(what=what, about=about, why=why, fields=fields)))


def decide(
    use: UseId, needs: tuple[Need, ...], offers: Collection[Offer], view: View, *, splits: bool
) -> tuple[tuple[Need, ...], Answer, Chosen]:
    """Choose, blindly: return the needs that were filled (the cores of a split CPU joined again), the answer, and the record."""
    seen, seeing = blind(needs, offers, view)
    parts, answer = choose(needs, seen, seeing, splits=splits)
    chosen = Chosen(number=0, use=use, needs=needs, splits=splits, offers=seen, view=seeing, parts=parts, answer=answer)
    return parts, answer, chosen


def choose(
    needs: tuple[Need, ...], offers: Collection[Offer], view: View, *, splits: bool
) -> tuple[tuple[Need, ...], Answer]:
    """Choose among blind offers: in one piece if that can be had, else in single cores."""
    answer = _in_one_piece(needs, offers, view)
    if isinstance(answer, Refusal) and splits:
        split = split_cores(needs)
        if split is not None:
            retry = choose_gang(split, offers, view)
            if not isinstance(retry, Refusal):
                return merge_cores(split, retry)
    return needs, answer


def _in_one_piece(needs: tuple[Need, ...], offers: Collection[Offer], view: View) -> Answer:
    """Choose for one need or for a gang; for one the second best is known as well."""
    if len(needs) > 1:
        return choose_gang(needs, offers, view)
    alone = match.choose(needs[0], offers, view)
    return alone if isinstance(alone, Refusal) else (alone,)


def redo(chosen: Chosen) -> Chosen:
    """Make a choice again from what was put down of it."""
    assert chosen.view.account == OURS
    parts, answer = choose(chosen.needs, chosen.offers, chosen.view, splits=chosen.splits)
    return msgspec.structs.replace(chosen, parts=parts, answer=answer)


def _answered(peer: NodeId, ask: LeaseAsk, message: LeaseGranted | LeaseRefused) -> Answered:
    if isinstance(message, LeaseGranted):
        return Answered(
            holder=peer, ask=ask.ask, use=ask.use, need=ask.need, resources=ask.resources, lease=message.terms.lease
        )
    return Answered(
        holder=peer,
        ask=ask.ask,
        use=ask.use,
        need=ask.need,
        resources=ask.resources,
        reason=message.reason,
        free=message.free,
    )
