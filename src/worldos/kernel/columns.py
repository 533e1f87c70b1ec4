"""The resources of one kind of many nodes, as numpy columns: a row for each resource.

A row carries what the score and the constraints read of its resource and its node. Facts that ``where`` asks for become
columns when they are first asked for, strings as codes of a dictionary of their own. A row that is given up stays and is
used again; ``usable`` tells whether anyone lends it. ``rtt_us`` and ``doubt`` hold what an unmeasured node gets; a choice
writes its view over them for its own time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from worldos.kernel import score
from worldos.kernel.question import clamp, fact_of, price_of
from worldos.kernel.score import Figures, Way
from worldos.model import where
from worldos.model.need import All, AnyOf, Compare, Condition, Not
from worldos.model.offer import Offer
from worldos.model.resource import Fact, Resource, ResourceState, kept_to_owner
from worldos.model.units import AMOUNT_MAX

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

ROWS_MIN: Final = 64
_ORDERED: Final[dict[str, Callable[[Ints, int], Bools]]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
_NONE, _BOOL, _INT, _TEXT = range(4)
_FIGURES: Final = ("work_us", "load_percent", "capacity", "free", "carbon_g_kwh", "loss_permille")
_NUMBERS: Final = (*_FIGURES, "price", "memory_free", "memory_price", "slot", "owner", "place")
_TRUTHS: Final = ("usable", "alive", "open", "owners_only", "battery_barred", "service")


class Words:
    """Strings as small integers."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self.texts: list[str] = []

    def code(self, text: str) -> int:
        """Return the code of the text, a new one if it is new."""
        code = self.codes.setdefault(text, len(self.texts))
        if code == len(self.texts):
            self.texts.append(text)
        return code

    def where(self, test: Callable[[str], bool]) -> Bools:
        """Return for each code whether its text passes."""
        return np.fromiter(map(test, self.texts), dtype=np.bool_, count=len(self.texts))


class FactColumn:
    """One fact of every row: its type, and its value or code."""

    def __init__(self, rows: int) -> None:
        self.types = np.zeros(rows, dtype=np.int8)
        self.values = np.zeros(rows, dtype=np.int64)
        self.words = Words()

    def code(self, fact: Fact | None) -> tuple[int, int]:
        """Return type and value of a fact; a number that no column holds counts as missing."""
        match fact:
            case None:
                return _NONE, 0
            case bool():
                return _BOOL, int(fact)
            case int():
                return (_INT, fact) if abs(fact) <= AMOUNT_MAX else (_NONE, 0)
            case str():
                return _TEXT, self.words.code(fact)

    def holds(self, op: str, value: Fact, rows: Rows | slice) -> Bools:
        """Return for each of the rows what where.compare would say."""
        types, values = self.types[rows], self.values[rows]
        if isinstance(value, str):
            texts: Bools = (types == _TEXT) & self._text_holds(op, value, values)
            return texts
        if op not in _ORDERED or abs(value) > AMOUNT_MAX:
            return np.zeros(len(types), dtype=np.bool_)
        same: Bools = types == (_BOOL if isinstance(value, bool) else _INT)
        return same & _ORDERED[op](values, int(value))

    def _text_holds(self, op: str, value: str, codes: Ints) -> Bools:
        if op in ("==", "!="):
            return _ORDERED[op](codes, self.words.codes.get(value, -1))
        table = self.words.where(lambda text: where.compare(text, op, value))
        return table[np.minimum(codes, len(table) - 1)] if len(table) else np.zeros(len(codes), dtype=np.bool_)


class Columns:
    """All resources of one kind."""

    def __init__(self, owners: Words, places: Words) -> None:
        self.owners, self.places = owners, places
        self.count = 0
        self.numbers: dict[str, Ints] = {name: np.zeros(ROWS_MIN, dtype=np.int64) for name in _NUMBERS}
        self.truths: dict[str, Bools] = {name: np.zeros(ROWS_MIN, dtype=np.bool_) for name in _TRUTHS}
        self.rtt_us: Ints = np.full(ROWS_MIN, score.RTT_US_DEFAULT, dtype=np.int64)
        self.doubt: Ints = np.zeros(ROWS_MIN, dtype=np.int64)
        self.out: Bools = np.zeros(ROWS_MIN, dtype=np.bool_)
        self.facts: dict[str, FactColumn] = {}
        self.told: list[tuple[Offer, Resource] | None] = []
        self._spare: list[int] = []

    # -- writing ----------------------------------------------------------------------------------------------------

    def rows_for(self, number: int) -> list[int]:
        """Return rows to write to, given-up ones first."""
        kept = [self._spare.pop() for _ in range(min(number, len(self._spare)))]
        fresh = range(self.count, self.count + number - len(kept))
        self.count += len(fresh)
        self.told.extend([None] * len(fresh))
        self._grow()
        return [*kept, *fresh]

    def write(self, rows: Sequence[int], told: Sequence[tuple[Offer, Resource, Resource | None, int]]) -> None:
        """Write ``(offer, resource, its node's memory, its node's slot)`` to each row."""
        at = np.array(rows, dtype=np.intp)
        numbers = np.array([self._numbers(*item) for item in told], dtype=np.int64).reshape(len(rows), len(_NUMBERS))
        for name, column in zip(_NUMBERS, numbers.T, strict=True):
            self.numbers[name][at] = column
        truths = np.array([_truths(item[0], item[1]) for item in told], dtype=np.bool_).reshape(len(rows), len(_TRUTHS))
        for name, truth in zip(_TRUTHS, truths.T, strict=True):
            self.truths[name][at] = truth
        for row, (offer, resource, _, _) in zip(rows, told, strict=True):
            self.told[row] = (offer, resource)
        for name, facts in self.facts.items():
            self._write_fact(name, facts, rows)

    def give_up(self, rows: Iterable[int]) -> None:
        """Take the rows out of use."""
        for row in rows:
            self.truths["alive"][row] = self.truths["usable"][row] = False
            self.told[row] = None
            self._spare.append(row)

    def _numbers(self, offer: Offer, resource: Resource, memory: Resource | None, slot: int) -> tuple[int, ...]:
        figures = score.figures_of(
            resource.kind, clamp(resource.capacity), clamp(resource.free), offer.facts, resource.facts
        )
        return (
            *figures,
            price_of(offer, resource),
            clamp(memory.free) if memory else 0,
            clamp(memory.price_uwos) if memory else 0,
            slot,
            self.owners.code(offer.owner),
            self.places.code(offer.place),
        )

    def _write_fact(self, name: str, facts: FactColumn, rows: Sequence[int]) -> None:
        told = (self.told[row] for row in rows)
        coded = [facts.code(fact_of(*item, name)) if item else (_NONE, 0) for item in told]
        at = np.array(rows, dtype=np.intp)
        facts.types[at] = [kind for kind, _ in coded]
        facts.values[at] = [value for _, value in coded]

    def _grow(self) -> None:
        room = len(self.rtt_us)
        if self.count <= room:
            return
        room = max(self.count, room * 2)
        for group in (self.numbers, self.truths):
            for name, column in group.items():
                group[name] = _grown(column, room, 0)
        self.rtt_us = _grown(self.rtt_us, room, score.RTT_US_DEFAULT)
        self.doubt, self.out = _grown(self.doubt, room, 0), _grown(self.out, room, 0)
        for facts in self.facts.values():
            facts.types, facts.values = _grown(facts.types, room, 0), _grown(facts.values, room, 0)

    # -- reading ----------------------------------------------------------------------------------------------------

    def figures(self, rows: Rows | slice) -> Figures[Ints]:
        """Return what the score reads of these rows."""
        return Figures(*(self.numbers[name][rows] for name in _FIGURES))

    def way(self, rows: Rows | slice) -> Way[Ints]:
        """Return how far these rows are, and what is known against them."""
        return Way(self.rtt_us[rows], self.doubt[rows])

    def holds(self, condition: Condition, rows: Rows | slice) -> Bools:
        """Return for each of the rows what where.holds would say."""
        match condition:
            case Compare(fact=fact, op=op, value=value):
                return self._fact(fact).holds(op, value, rows)
            case Not(part=part):
                return ~self.holds(part, rows)
            case All(parts=parts):
                return self._joined(np.logical_and, parts, rows, start=True)
            case AnyOf(parts=parts):
                return self._joined(np.logical_or, parts, rows, start=False)

    def _joined(
        self, join: Callable[[Bools, Bools], Bools], parts: Sequence[Condition], rows: Rows | slice, *, start: bool
    ) -> Bools:
        answer = np.full(len(self.rtt_us[rows]), start, dtype=np.bool_)
        for part in parts:
            answer = join(answer, self.holds(part, rows))
        return answer

    def _fact(self, name: str) -> FactColumn:
        facts = self.facts.get(name)
        if facts is None:
            facts = self.facts[name] = FactColumn(len(self.rtt_us))
            self._write_fact(name, facts, range(self.count))
        return facts


def _truths(offer: Offer, resource: Resource) -> tuple[bool, ...]:
    """Return usable, alive, open, owners_only, battery_barred, service."""
    rules = offer.rules
    barred = rules.not_on_battery and offer.facts.get("battery") is True
    service = resource.state in (ResourceState.AVAILABLE, ResourceState.IN_USE)
    owners_only = rules.owners_only or kept_to_owner(resource.facts)
    return rules.open and not barred and service, True, rules.open, owners_only, barred, service


def _grown(column: npt.NDArray[Any], room: int, value: int) -> npt.NDArray[Any]:
    longer = np.full(room, value, dtype=column.dtype)
    longer[: len(column)] = column
    return longer
