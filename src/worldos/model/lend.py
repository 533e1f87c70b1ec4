"""Lend rules: what a machine gives to other accounts, to whom, when, and for how much.

A rule names shares of what the machine has, in thousandths; a kind that no rule names is lent to nobody. Several rules stand side
by side: who asks is served by the most particular one that holds now (``particular``), so "20 % always" and "all of it at night"
go together. Two rules that are equally particular and may hold at one moment must not differ: that is a contradiction, and is
refused with both of them.

Times of day are those of the machine's own zone. Windows are minutes of a week that begins on Monday, ``first <= minute < end``.
Prices are micro-WOSCoin for one core or GPU and hour; memory goes with them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final, TypeAlias

import msgspec

from worldos.errors import BadRequest
from worldos.model.isolation import Isolation
from worldos.model.resource import Kind

RULES_MAX: Final = 16
WINDOWS_MAX: Final = 32
PERMILLE_MAX: Final = 1000
PRICE_MAX_UWOS: Final = 10**11
DAY_MINUTES: Final = 24 * 60
WEEK_MINUTES: Final = 7 * DAY_MINUTES
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LENT_KINDS: Final = (Kind.CPU, Kind.GPU, Kind.MEMORY)

Permille: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=PERMILLE_MAX)]
Windows: TypeAlias = tuple[tuple[int, int], ...]

_TIME: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})-([0-9]{1,2}):([0-9]{2})", re.ASCII)


class Audience(StrEnum):
    """To whom a rule lends; what is none of these words is the id of one account. From the most particular to the widest."""

    ME = "me"  # other devices of the own account: limited only where a rule says so
    FAMILY = "family"  # those to whom this account gave a role
    REALM = "realm"  # those whom the centers of our realms send
    ANYONE = "anyone"  # whoever gets here


_WIDTH: Final[Mapping[str, int]] = {Audience.FAMILY: 1, Audience.REALM: 2, Audience.ANYONE: 3}


class LendRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One rule. ``when`` is text as people write it (``windows_of``); ``isolation`` is the least that guests get."""

    to: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] = Audience.REALM.value
    cpu_permille: Permille = 0
    gpu_permille: Permille = 0
    memory_permille: Permille = 0
    when: Annotated[str, msgspec.Meta(max_length=256)] = ""
    on_battery: bool = False
    idle_only: bool = False
    price_uwos_hour: Annotated[int, msgspec.Meta(ge=0, le=PRICE_MAX_UWOS)] = 0
    isolation: Annotated[str, msgspec.Meta(max_length=16)] = ""


class Lend(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the owner said. Without rules the realm's word alone decides; ``off``: nothing for anybody else."""

    off: bool = False
    rules: Annotated[tuple[LendRule, ...], msgspec.Meta(max_length=RULES_MAX)] = ()


class Lent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an offer tells of it: so much of a kind is left for this audience now, at this price a unit and hour."""

    to: Annotated[str, msgspec.Meta(max_length=64)]
    kind: Annotated[str, msgspec.Meta(max_length=64)]
    left: int
    price_uwos: int = 0


class Felt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the machine feels, beside its facts; told to nobody. ``zone_s``: local time less UTC.

    ``rests``: why guests do not run now (the owner is here, it is too warm ...), for people; empty while they do.
    """

    zone_s: Annotated[int, msgspec.Meta(ge=-86_400, le=86_400)] = 0
    owner_here: bool = False
    rests: Annotated[str, msgspec.Meta(max_length=200)] = ""


def permille_of(rule: LendRule, kind: str) -> int:
    """Return the share of a kind that a rule gives."""
    match kind:
        case Kind.CPU:
            return rule.cpu_permille
        case Kind.GPU:
            return rule.gpu_permille
        case Kind.MEMORY:
            return rule.memory_permille
        case _:
            return 0


def particular(rule: LendRule) -> tuple[int, bool, bool, bool]:
    """Return how particular a rule is; the least comes first: who, then when, idle only, and on mains only."""
    return (_WIDTH.get(rule.to, 0), not rule.when, not rule.idle_only, rule.on_battery)


def check_rules(rules: tuple[LendRule, ...]) -> None:
    """Refuse rules that say nothing, cannot hold, or contradict each other; the numbers in sentences begin at 1."""
    if len(rules) > RULES_MAX:
        raise BadRequest(f"{RULES_MAX} rules are the most", hint="wos lend forget 1")
    for number, rule in enumerate(rules, 1):
        _check_rule(rule)
        for other_number, other in enumerate(rules[: number - 1], 1):
            what = contradiction(other, rule)
            if what:
                raise BadRequest(
                    f"rules {other_number} and {number} contradict each other: {show_rule(other)} / {show_rule(rule)}: {what}",
                    hint=f"say when each holds (--when), or drop one: wos lend forget {other_number}",
                )


def contradiction(one: LendRule, other: LendRule) -> str:
    """Return in what two rules differ that may hold at one moment for one audience, neither before the other."""
    if one.to != other.to or particular(one) != particular(other):
        return ""
    if one.when and not _overlap(windows_of(one.when), windows_of(other.when)):
        return ""
    for kind in LENT_KINDS:
        mine, theirs = permille_of(one, kind), permille_of(other, kind)
        if mine and theirs and (kind is not Kind.MEMORY or _same_computing(one, other)):
            if mine != theirs:
                return f"{show_permille(mine)} and {show_permille(theirs)} of {kind}"
            if one.price_uwos_hour != other.price_uwos_hour:
                return f"two prices for {kind}"
            if one.isolation != other.isolation:
                return f"two kinds of isolation for {kind}"
    return ""


def windows_of(text: str) -> Windows:
    """Read ``22:00-07:00`` or ``mon-fri 22:00-07:00, sat, sun``; empty means always, and gives no windows."""
    if not text.strip():
        return ()
    spans: list[tuple[int, int]] = []
    for item in text.lower().split(","):
        spans.extend(_item(item.strip()))
    if len(spans) > WINDOWS_MAX:
        raise BadRequest(f"{WINDOWS_MAX} windows a week are the most")
    return tuple(_joined(spans))


def is_within(windows: Windows, minute: int) -> bool:
    """Tell whether a minute of the week lies in a window; without windows it always does."""
    return not windows or any(first <= minute < end for first, end in windows)


def minute_of_week(wall_s: int, zone_s: int) -> int:
    """Return the minute of the week that clocks on the wall show; the epoch was a Thursday."""
    return ((wall_s + zone_s) // 60 + 3 * DAY_MINUTES) % WEEK_MINUTES


def show_permille(permille: int) -> str:
    """Write a share as people do."""
    whole, tenth = divmod(permille, 10)
    return f"{whole}.{tenth} %" if tenth else f"{whole} %"


def show_rule(rule: LendRule) -> str:
    """Say a rule in a line."""
    shares = [f"{show_permille(permille_of(rule, kind))} of {kind}" for kind in LENT_KINDS if permille_of(rule, kind)]
    words = [" and ".join(shares) or "nothing", f"to {rule.to}"]
    if rule.when:
        words.append(f"at {rule.when}")
    if rule.idle_only:
        words.append("while nobody is here")
    if rule.on_battery:
        words.append("also on battery")
    return " ".join(words)


def _check_rule(rule: LendRule) -> None:
    if not any(permille_of(rule, kind) for kind in LENT_KINDS):
        raise BadRequest("a rule that lends nothing", hint="wos lend --cpu 50%; wos lend off lends nothing to anybody")
    windows_of(rule.when)
    if rule.isolation and rule.isolation not in tuple(Isolation):
        raise BadRequest(
            f"there is no isolation {rule.isolation[:16]!r}",
            hint=f"there are: {', '.join(word.value for word in Isolation)}",
        )
    if rule.to == Audience.ANYONE and rule.isolation == Isolation.PROCESS:
        raise BadRequest(
            "the rule contradicts itself: what anyone sends does not run as a plain process",
            hint="leave --isolation out, or lend --to family",
        )
    if rule.to == Audience.ME and rule.price_uwos_hour:
        raise BadRequest(
            "the rule contradicts itself: your own account pays nothing to itself", hint="leave --price out"
        )


def _same_computing(one: LendRule, other: LendRule) -> bool:
    """Tell whether two rules name a kind in common that computes: memory beside one is not memory beside the other."""
    both = any(permille_of(one, kind) and permille_of(other, kind) for kind in (Kind.CPU, Kind.GPU))
    neither = not any(permille_of(rule, kind) for rule in (one, other) for kind in (Kind.CPU, Kind.GPU))
    return both or neither


def _overlap(some: Windows, others: Windows) -> bool:
    return any(a < d and c < b for a, b in some for c, d in others)


def _item(text: str) -> list[tuple[int, int]]:
    hint = "write it as 22:00-07:00, or mon-fri 22:00-07:00, sat, sun"
    words = text.split()
    times = words.pop() if words and ":" in words[-1] else ""
    if len(words) > 1 or not (words or times):
        raise BadRequest(f"not a time of the week: {text[:40]!r}", hint=hint)
    days = _days(words[0], hint) if words else range(7)
    first, length = _span(times, hint) if times else (0, DAY_MINUTES)
    spans = []
    for day in days:
        start = day * DAY_MINUTES + first
        end = start + length
        spans.append((start, min(end, WEEK_MINUTES)))
        if end > WEEK_MINUTES:
            spans.append((0, end - WEEK_MINUTES))
    return spans


def _days(word: str, hint: str) -> list[int]:
    names = [name[:3] for name in word.split("-")]
    if not 1 <= len(names) <= 2 or any(name not in DAYS for name in names):
        raise BadRequest(f"no day of the week: {word[:40]!r}", hint=hint)
    first, last = DAYS.index(names[0]), DAYS.index(names[-1])
    return [(first + step) % 7 for step in range((last - first) % 7 + 1)]


def _span(text: str, hint: str) -> tuple[int, int]:
    read = _TIME.fullmatch(text)
    if read is None:
        raise BadRequest(f"not a time of day: {text[:40]!r}", hint=hint)
    numbers = [int(number) for number in read.groups()]
    first, end = numbers[0] * 60 + numbers[1], numbers[2] * 60 + numbers[3]
    if max(numbers[1], numbers[3]) >= 60 or first >= DAY_MINUTES or end > DAY_MINUTES:
        raise BadRequest(f"no such time of day: {text[:40]!r}", hint=hint)
    if first == end:
        raise BadRequest(
            f"{text} contradicts itself: it ends when it begins", hint="for the whole day leave the times out: sat, sun"
        )
    return first, (end - first) % DAY_MINUTES or DAY_MINUTES


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, end in sorted(spans):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((first, end))
    return joined
