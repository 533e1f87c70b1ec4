"""Summaries: what a realm has free, told in lines that add up, so that a parent needs no list of nodes.

Invariant: a summary is optimistic. Where some node of the realm would say yes to a need, ``may_fill`` is not 0; whatever a
summary cannot know (conditions of ``where``, what is near, which memory is beside which core) counts as perhaps. The other
direction is only a hope: who promised and cannot loses credibility (children.py), nothing else. Integers only; lines sorted by
kind and class.
Source: DESIGN.md section 6.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from worldos.kernel import score
from worldos.kernel.lend_rules import Guest, lent_to
from worldos.kernel.question import clamp, price_of
from worldos.model.need import Need, Objective
from worldos.model.offer import Offer
from worldos.model.resource import Fact, Kind, Resource, ResourceState, kept_to_owner
from worldos.model.summary import AMOUNT_MAX, DEPTH_MAX, LINES_MAX, Line, Summary

OTHER_KINDS: Final = "*"  # one line for all kinds that did not get a line of their own
CHANGE_PART: Final = 10  # a change above 1/10 is worth telling
SPEED_MAX: Final = 63
POINTS_MAX: Final = 100_000
NEEDS_READ_MAX: Final = 16  # of a larger gang these are representative enough for a hint

_Key = tuple[str, int, bool]


def summarize(offers: Iterable[Offer], *, lend: bool) -> Summary:
    """Return what a site has free. ``lend``: its policy lets other accounts have what the nodes' own rules let them."""
    lines: dict[_Key, Line] = {}
    nodes = 0
    for offer in offers:
        nodes += 1
        if _is_shut(offer):
            continue
        for line in _lines_of(offer, lent=lend and not offer.rules.owners_only):
            key = _key(line)
            known = lines.get(key)
            lines[key] = line if known is None else _joined(known, line)
    return Summary(lines=_few(lines), nodes=nodes)


def merged(summaries: Iterable[Summary]) -> Summary:
    """Return what a realm has free whose child realms have these; where lines are too many, near classes become one."""
    sums: dict[_Key, list[int]] = {}
    nodes, depth = 0, -1
    for summary in summaries:
        nodes += summary.nodes
        depth = max(depth, summary.depth)
        for line in summary.lines:
            _add(sums, line)
    lines = {key: _line_of(key, figures) for key, figures in sums.items()}
    return Summary(lines=_few(lines), nodes=min(nodes, AMOUNT_MAX), depth=min(depth + 1, DEPTH_MAX))


def differs(old: Summary, new: Summary) -> bool:
    """Tell whether the change is worth telling: a line more or less, or a figure that moved by more than 10 %."""
    if old.depth != new.depth or _moved(old.nodes, new.nodes) or len(old.lines) != len(new.lines):
        return True
    return any(_line_differs(a, b) for a, b in zip(old.lines, new.lines, strict=True))


def may_fill(summary: Summary, needs: tuple[Need, ...], *, stranger: bool) -> int:
    """Say how well a realm might fill the needs; 0: no node there could take even one of them. More is better.

    How many of the needs it might take counts most, then what their objective asks for. ``stranger``: for another account
    than the realm's own, so only what is lent counts.
    """
    taken: dict[str, int] = {}
    filled = points = 0
    read = needs[:NEEDS_READ_MAX]
    for need in read:
        best = max((_points(need, line) for line in _fitting(summary, need, stranger=stranger)), default=0)
        if not best:
            continue
        taken[need.kind] = taken.get(need.kind, 0) + need.amount
        if taken[need.kind] > need.amount and taken[need.kind] > _free(summary, need.kind, stranger=stranger):
            continue
        filled += 1
        points += best
    return filled * 10 * POINTS_MAX // len(read) + points // len(read) if filled else 0


def promises(summary: Summary, needs: tuple[Need, ...], *, stranger: bool) -> bool:
    """Tell whether the summary can be held to it: it said outright that one node has this much free."""
    return any(
        need.where is None
        and not (need.near or need.to or need.budget_uwos_hour or need.realm)
        and any(line.kind == need.kind for line in _fitting(summary, need, stranger=stranger))
        for need in needs[:NEEDS_READ_MAX]
    )


# -- lines ----------------------------------------------------------------------------------------------------------------


def _is_shut(offer: Offer) -> bool:
    rules = offer.rules
    return not rules.open or (rules.not_on_battery and offer.facts.get("battery") is True)


def _lines_of(offer: Offer, *, lent: bool) -> Iterable[Line]:
    """Return a node's own lines, one a kind and class."""
    own: dict[_Key, Line] = {}
    for item in offer.resources:
        free = clamp(item.free)
        if not free or not item.kind or item.state not in (ResourceState.AVAILABLE, ResourceState.IN_USE):
            continue
        price_uwos, given = price_of(offer, item), lent and not kept_to_owner(item.facts)
        if given and offer.rules.limited:
            entry = lent_to(offer.rules.lent, Guest(), item.kind)
            given = entry is not None and entry.left > 0
            if entry is not None and given:
                free, price_uwos = min(free, entry.left), clamp(max(price_uwos, entry.price_uwos))
        line = Line(
            kind=item.kind,
            speed=_speed_class(item, offer),
            free=free,
            largest=free,
            nodes=1,
            price_uwos=price_uwos,
            carbon_g_kwh=_carbon(item, offer),
            lent=given,
        )
        known = own.get(_key(line))
        own[_key(line)] = line if known is None else _beside(known, line)
    return own.values()


def _speed_class(item: Resource, offer: Offer) -> int:
    if item.kind != Kind.CPU:
        return 0
    speed = _figure("speed_mips", item, offer, score.SPEED_MIPS_DEFAULT)
    return max(score.SPEED_MIPS_MIN, min(score.SPEED_MIPS_MAX, speed)).bit_length() - 1


def _carbon(item: Resource, offer: Offer) -> int:
    return max(0, min(score.CARBON_G_KWH_MAX, _figure("carbon_g_kwh", item, offer, 0)))


def _figure(name: str, item: Resource, offer: Offer, default: int) -> int:
    value: Fact = item.facts.get(name, offer.facts.get(name, default))
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _beside(one: Line, other: Line) -> Line:
    """Join two lines of the same node: whole GPUs of one node add up to one piece, nothing else does."""
    joined = _joined(one, other)
    largest = min(one.largest + other.largest, AMOUNT_MAX) if one.kind == Kind.GPU else joined.largest
    return msgspec.structs.replace(joined, largest=largest, nodes=1)


def _add(sums: dict[_Key, list[int]], line: Line) -> None:
    """Join a line with those of its key, as ``_joined`` does, without a value for each step: a center has many children."""
    figures = sums.get((line.kind, line.speed, line.lent))
    if figures is None:
        carbon = line.carbon_g_kwh
        sums[line.kind, line.speed, line.lent] = [line.free, line.largest, line.nodes, line.price_uwos, carbon]
        return
    figures[0] += line.free
    figures[1] = max(figures[1], line.largest)
    figures[2] += line.nodes
    figures[3] = min(figures[3], line.price_uwos)
    carbon = line.carbon_g_kwh
    if carbon and (carbon < figures[4] or not figures[4]):
        figures[4] = carbon


def _line_of(key: _Key, figures: list[int]) -> Line:
    free, largest, nodes, price_uwos, carbon = figures
    return Line(
        kind=key[0],
        speed=key[1],
        free=min(free, AMOUNT_MAX),
        largest=largest,
        nodes=min(nodes, AMOUNT_MAX),
        price_uwos=price_uwos,
        carbon_g_kwh=carbon,
        lent=key[2],
    )


def _joined(one: Line, other: Line) -> Line:
    """Join two lines into one that promises no less than either."""
    carbons = [line.carbon_g_kwh for line in (one, other) if line.carbon_g_kwh]
    return Line(
        kind=one.kind,
        speed=max(one.speed, other.speed),
        free=min(one.free + other.free, AMOUNT_MAX),
        largest=max(one.largest, other.largest),
        nodes=min(one.nodes + other.nodes, AMOUNT_MAX),
        price_uwos=min(one.price_uwos, other.price_uwos),
        carbon_g_kwh=min(carbons, default=0),
        lent=one.lent or other.lent,
    )


def _key(line: Line) -> _Key:
    return line.kind, line.speed, line.lent


def _few(lines: dict[_Key, Line]) -> tuple[Line, ...]:
    """Return the lines in order, near speed classes joined and rare kinds put together until they are few enough."""
    kept = [lines[key] for key in sorted(lines)]
    while len(kept) > LINES_MAX:
        gaps = [
            (kept[at + 1].speed - kept[at].speed, at)
            for at in range(len(kept) - 1)
            if kept[at].kind == kept[at + 1].kind and kept[at].speed != kept[at + 1].speed
        ]
        if not gaps:
            return _kinds_joined(kept)
        at = min(gaps)[1]
        one, other = kept[at : at + 2]
        kept[at : at + 2] = [_joined(one, other)]
        kept = _doubles_joined(kept)
    return tuple(kept)


def _doubles_joined(lines: list[Line]) -> list[Line]:
    """Join lines that came to have one key, and put the others into order."""
    by_key: dict[_Key, Line] = {}
    for line in lines:
        known = by_key.get(_key(line))
        by_key[_key(line)] = line if known is None else _joined(known, line)
    return [by_key[key] for key in sorted(by_key)]


def _kinds_joined(lines: list[Line]) -> tuple[Line, ...]:
    """Keep the kinds that most nodes have, and one line for the rest, with which anything of another kind may be had."""
    ranked = sorted(lines, key=lambda line: (line.kind == OTHER_KINDS, -line.nodes, _key(line)))
    others = [msgspec.structs.replace(line, kind=OTHER_KINDS, speed=0) for line in ranked[LINES_MAX - 2 :]]
    return tuple(_doubles_joined(ranked[: LINES_MAX - 2] + others))


def _moved(old: int, new: int) -> bool:
    return abs(old - new) * CHANGE_PART > max(old, new)


def _line_differs(old: Line, new: Line) -> bool:
    return (
        _key(old) != _key(new)
        or _moved(old.free, new.free)
        or _moved(old.largest, new.largest)
        or _moved(old.nodes, new.nodes)
        or _moved(old.price_uwos, new.price_uwos)
        or _moved(old.carbon_g_kwh, new.carbon_g_kwh)
    )


# -- needs ----------------------------------------------------------------------------------------------------------------


def _is_for(line: Line, kind: str, *, stranger: bool) -> bool:
    return line.kind in (kind, OTHER_KINDS) and (line.lent or not stranger)


def _fitting(summary: Summary, need: Need, *, stranger: bool) -> list[Line]:
    """Return the lines in which some node may have room for the need."""
    kinds = (need.kind, OTHER_KINDS)
    found = [
        line
        for line in summary.lines
        if line.kind in kinds
        and line.largest >= need.amount
        and (line.lent or not stranger)
        and _is_affordable(need, line)
    ]
    if not found or need.memory_bytes <= 0 or need.kind == Kind.MEMORY:
        return found
    memories = (line for line in summary.lines if _is_for(line, Kind.MEMORY, stranger=stranger))
    return found if any(line.largest >= need.memory_bytes for line in memories) else []


def _is_affordable(need: Need, line: Line) -> bool:
    budget = min(need.budget_uwos_hour, score.PRICE_HOUR_MAX_UWOS) if need.budget_uwos_hour > 0 else None
    return _price_hour_uwos(need, line) <= (score.PRICE_HOUR_MAX_UWOS if budget is None else budget)


def _price_hour_uwos(need: Need, line: Line) -> int:
    if line.kind == OTHER_KINDS or not line.price_uwos:  # of another kind the unit, and so the price, is not known
        return 0
    return score.price_hour_uwos(line.price_uwos, score.thousandths(need.kind, max(need.amount, 0)), score.INTEGERS)


def _free(summary: Summary, kind: str, *, stranger: bool) -> int:
    return sum(line.free for line in summary.lines if _is_for(line, kind, stranger=stranger))


def _points(need: Need, line: Line) -> int:
    """Return 1 .. POINTS_MAX for one need in one line: the objective first, then how much room there is."""
    match need.objective:
        case Objective.CHEAPEST:
            wanted = 1000 * (SPEED_MAX - _price_hour_uwos(need, line).bit_length())
        case Objective.GREENEST:
            wanted = 6 * (score.CARBON_G_KWH_MAX - (line.carbon_g_kwh or score.CARBON_G_KWH_DEFAULT))
        case _:
            wanted = 1000 * line.speed
    room = min(line.free // max(need.amount, 1), 1 << 20).bit_length() * 20 + min(line.nodes.bit_length(), 20)
    return max(1, min(POINTS_MAX, 1 + wanted + room))
