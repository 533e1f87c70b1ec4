"""The same choice as match.choose, among up to 10^6 offers, in milliseconds.

Exactly the same: constraints and formula are those of question.py and score.py, read over numpy columns. What makes it
fast is a lower bound. The part of the score that depends on neither need nor view is known when an offer arrives; rows
are kept in order of it, and a choice reads them from the best on, in blocks, until no later row can beat the second best
that was found. Rows written since the order was made, and rows of nodes that the view knows something of (for which the
bound may be too high), are read first. Where after ROWS_IN_ORDER rows no end is in sight, constraints are rare: then one
pass over whole columns finds those who fulfil them.

A need for the least price reads in order of price. Whole GPUs in number, and refusals, read all rows. Without pruning
the cost is O(rows); memory is about 200 bytes a row, beside the offers themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Final, NamedTuple

try:
    import numpy as np
except ImportError as missing:  # the extra is not installed
    raise ImportError("the index needs numpy; get it with: pip install worldos[index]") from missing

import numpy.typing as npt

from worldos.kernel import match, score
from worldos.kernel import question as q
from worldos.kernel.columns import Bools, Columns, Ints, Rows, Words
from worldos.kernel.match import NEAR_MISSES_MAX, Choice, Refusal, choice, explanation
from worldos.kernel.question import Question, View, memory_of, node_key
from worldos.model.ids import NodeId, ResourceId
from worldos.model.need import Need, Objective
from worldos.model.offer import Offer
from worldos.model.resource import Resource

BLOCK_ROWS: Final = 4096
ROWS_IN_ORDER: Final = 65_536
DIRTY_ROWS_MIN: Final = 4096
DIRTY_PART: Final = 64  # an order is made anew when more than 1/64 of its rows were written since

_COLUMNS: Final = score.Operations[Ints](least=np.minimum, most=np.maximum)
_Found = tuple[int, int, NodeId, tuple[ResourceId, ...]]


class _Order:
    """The rows of one kind by the part of the score that is known beforehand."""

    def __init__(self, columns: Columns, objective: Objective) -> None:
        every = slice(0, columns.count)
        figures = columns.figures(every)
        nothing = np.zeros(columns.count, dtype=np.int64)
        self.weights = score.weights_of(objective, near_home=False)
        self.static: Ints = score.weigh(
            self.weights, figures._replace(free=nothing), score.Way(nothing, nothing), 0, nothing, _COLUMNS
        )
        price = columns.numbers["price"][every]
        self.by_price = objective == Objective.CHEAPEST
        self.rows: Rows = np.lexsort((self.static, price)) if self.by_price else np.argsort(self.static, kind="stable")
        self.sorted_static: Ints = self.static[self.rows]
        self.sorted_price: Ints = price[self.rows] if self.by_price else price[:0]
        self.least_static = int(self.static.min(initial=2**62))
        self.dirty: set[int] = set()

    def is_stale(self) -> bool:
        return len(self.dirty) > max(DIRTY_ROWS_MIN, len(self.rows) // DIRTY_PART)

    def bound(self, at: int, question: Question) -> int:
        """Return what no clean row of an unknown node, from position ``at`` on, can score below."""
        way = score.RTT_US_DEFAULT * score.TRIPS * question.weights.transfer_us
        if not self.by_price:
            return way + int(self.sorted_static[at])
        here = int(self.sorted_price[at])
        bound = self._priced(here, question) + int(self.sorted_static[at])
        dearer = int(np.searchsorted(self.sorted_price, here, side="right"))
        if dearer < len(self.rows):
            bound = min(bound, self._priced(int(self.sorted_price[dearer]), question) + self.least_static)
        return way + bound

    def _priced(self, price: int, question: Question) -> int:
        return score.price_hour_uwos(price, question.thousandths, score.INTEGERS) * self.weights.price_uwos_hour


class _Table(NamedTuple):
    columns: Columns
    orders: dict[Objective, _Order]


class OfferIndex:
    """Offers by node, in columns by kind. ``update`` takes a node's newest offer, ``remove`` forgets a node."""

    def __init__(self, offers: Iterable[Offer] = ()) -> None:
        self._owners, self._places = Words(), Words()
        self._tables: dict[str, _Table] = {}
        self._slots: dict[NodeId, int] = {}
        self._spare_slots: list[int] = []
        self._nodes: list[NodeId] = []
        self._names: dict[str, set[NodeId]] = {}
        self._name_of: dict[NodeId, str] = {}
        self._keys: npt.NDArray[np.uint64] = np.zeros(64, dtype=np.uint64)
        self._rows: dict[NodeId, dict[str, list[int]]] = {}
        self._load(offers)

    def __len__(self) -> int:
        return len(self._slots)

    def update(self, offer: Offer) -> None:
        """Take in an offer, in place of the last one of the same node; O(resources)."""
        self._load([offer])

    def remove(self, node: NodeId) -> None:
        """Forget a node."""
        if node not in self._slots:
            return
        for kind, rows in self._rows.pop(node).items():
            self._give_up(kind, rows)
        self._unname(node)
        self._spare_slots.append(self._slots.pop(node))

    def choose(self, need: Need, view: View) -> Choice | Refusal:
        """Return exactly what match.choose returns for these offers."""
        question = Question(need, view)
        if question.work is not None:  # no order of rows knows what was learned: every offer is looked at
            return match.choose(need, self._offers(), view)
        table = self._tables.get(need.kind)
        if table is None:
            return explanation(question, {q.KIND: len(self)} if self._slots else {}, (), None)
        search = _Search(self, table, question)
        with search.looking():
            best = search.best_together() if question.count > 1 else search.best()
            if best:
                return choice(best, len(self))
            return search.refuse()

    def _offers(self) -> Iterator[Offer]:
        seen: set[NodeId] = set()
        for table in self._tables.values():
            for told in table.columns.told:
                if told is not None and told[0].node not in seen:
                    seen.add(told[0].node)
                    yield told[0]

    # -- writing ----------------------------------------------------------------------------------------------------

    def _load(self, offers: Iterable[Offer]) -> None:
        pending: dict[str, tuple[list[int], list[tuple[Offer, Resource, Resource | None, int]]]] = {}
        for offer in {offer.node: offer for offer in offers}.values():
            slot, memory = self._slot(offer), memory_of(offer)
            kinds: dict[str, list[Resource]] = {}
            for item in offer.resources:
                kinds.setdefault(item.kind, []).append(item)
            rows_of = self._rows.setdefault(offer.node, {})
            for kind in [kind for kind in rows_of if kind not in kinds]:
                self._give_up(kind, rows_of.pop(kind))
            for kind, items in kinds.items():
                rows = rows_of[kind] = self._rows_for(kind, rows_of.get(kind, []), len(items))
                places, told = pending.setdefault(kind, ([], []))
                places.extend(rows)
                told.extend((offer, item, memory, slot) for item in items)
        for kind, (rows, told) in pending.items():
            self._tables[kind].columns.write(rows, told)
            self._soil(kind, rows)

    def _rows_for(self, kind: str, kept: list[int], number: int) -> list[int]:
        if kind not in self._tables:
            self._tables[kind] = _Table(Columns(self._owners, self._places), {})
        if number < len(kept):
            self._give_up(kind, kept[number:])
        return kept[:number] + self._tables[kind].columns.rows_for(max(0, number - len(kept)))

    def _give_up(self, kind: str, rows: list[int]) -> None:
        self._tables[kind].columns.give_up(rows)
        self._soil(kind, rows)

    def _soil(self, kind: str, rows: Iterable[int]) -> None:
        for order in self._tables[kind].orders.values():
            order.dirty.update(rows)

    def _slot(self, offer: Offer) -> int:
        node = offer.node
        slot = self._slots.get(node)
        if slot is None:
            slot = self._slots[node] = self._spare_slots.pop() if self._spare_slots else len(self._nodes)
            if slot == len(self._nodes):
                self._nodes.append(node)
                if slot == len(self._keys):
                    self._keys = np.concatenate([self._keys, np.zeros(slot, dtype=np.uint64)])
            self._nodes[slot] = node
            self._keys[slot] = node_key(node)
        if self._name_of.get(node) != offer.name:
            self._unname(node)
            self._name_of[node] = offer.name
            self._names.setdefault(offer.name, set()).add(node)
        return slot

    def _unname(self, node: NodeId) -> None:
        name = self._name_of.pop(node, None)
        if name is not None:
            self._names[name].discard(node)
            if not self._names[name]:
                del self._names[name]

    # -- reading, for a search --------------------------------------------------------------------------------------

    def rows_of(self, kind: str, nodes: Iterable[NodeId]) -> Rows:
        """Return the rows that these nodes have of a kind."""
        none: dict[str, list[int]] = {}
        rows = [row for node in nodes for row in self._rows.get(node, none).get(kind, ())]
        return np.array(rows, dtype=np.intp)

    def named(self, near: str) -> set[NodeId]:
        """Return the nodes that ``near`` names by id or name."""
        return {NodeId(near), *self._names.get(near, ())} & self._slots.keys()

    def near_places(self, near: str) -> Bools:
        """Return for each place code whether it lies in ``near``."""
        return self._places.where(lambda place: q.is_within(near, place))

    def owner_code(self, owner: str) -> int:
        """Return the code of an account, -1 if nobody here has it."""
        return self._owners.codes.get(owner, -1)

    def lots(self, slots: Ints, nonce: bytes) -> npt.NDArray[np.uint64]:
        """Return question.draw for whole columns; uint64 wraps as the mask there does."""
        lot = self._keys[slots] ^ np.uint64(int.from_bytes(blake2b(nonce, digest_size=8).digest(), "little"))
        lot = (lot ^ (lot >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        lot = (lot ^ (lot >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: npt.NDArray[np.uint64] = lot ^ (lot >> np.uint64(31))
        return mixed

    def node_at(self, slot: int) -> NodeId:
        """Return the node of a slot."""
        return self._nodes[slot]


class _Search:
    """One question before the rows of its kind."""

    def __init__(self, index: OfferIndex, table: _Table, question: Question) -> None:
        self.index, self.columns, self.question = index, table.columns, question
        view, kind = question.view, question.need.kind
        objective = question.need.objective
        order = table.orders.get(objective)
        if order is None or order.is_stale():
            order = table.orders[objective] = _Order(table.columns, objective)
        self.order = order
        known = sorted({view.home, *view.rtt_us, *view.doubted, *view.flaps, *question.saved_us})
        self.known = index.rows_of(kind, known)
        self.out = index.rows_of(kind, sorted(view.gone | view.passed_over))
        self.account = index.owner_code(view.account)
        self.near: Bools | None = None
        if question.need.near and not question.near_home:
            self.near = index.near_places(question.need.near)
            self.named = index.rows_of(kind, sorted(index.named(question.need.near)))

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Write the view over the columns while the search runs."""
        columns = self.columns
        for row in self.known.tolist():
            told = columns.told[row]
            assert told is not None, "a node's rows are in use"
            columns.rtt_us[row], columns.doubt[row] = self.question.way_to(told[0].node)
        columns.out[self.out] = True
        try:
            yield
        finally:
            columns.rtt_us[self.known], columns.doubt[self.known] = score.RTT_US_DEFAULT, 0
            columns.out[self.out] = False

    def best(self) -> list[_Found]:
        """Return the two best nodes, best first."""
        dirty = np.fromiter(self.order.dirty, dtype=np.intp, count=len(self.order.dirty))
        best = self._merge([], np.union1d(dirty, self.known))
        at, total = 0, len(self.order.rows)
        while at < total:
            if len(best) == 2 and self.order.bound(at, self.question) > best[1][0]:
                return best
            if at >= ROWS_IN_ORDER:
                return self._merge(best, self._rest())
            block = max(BLOCK_ROWS, at)
            best = self._merge(best, self.order.rows[at : at + block])
            at += block
        return best

    def best_together(self) -> list[_Found]:
        """Return the two best nodes for several whole GPUs, each by the worst of its best."""
        count = self.question.count
        rows = self._fitting(self._rest())
        slots, points = self.columns.numbers["slot"][rows], self._points(rows)
        order = np.lexsort((points, slots))
        rows, slots, points = rows[order], slots[order], points[order]
        last = np.flatnonzero(slots[count - 1 :] == slots[: len(slots) - count + 1]) if len(rows) >= count else rows[:0]
        starts = last[np.concatenate([[True], slots[last][1:] != slots[last][:-1]])] if len(last) else last
        found: list[_Found] = []
        lots = self.index.lots(slots[starts], self.question.view.nonce)
        worst = points[starts + count - 1]
        for place in np.lexsort((lots, worst))[: 2 + _ties(worst, lots)].tolist():
            slot = slots[starts[place]]
            own = rows[slots == slot]
            ids = sorted(zip(self._points(own).tolist(), map(self._id, own.tolist()), strict=True))[:count]
            node = self.index.node_at(int(slot))
            found.append((ids[-1][0], int(lots[place]), node, tuple(item for _, item in ids)))
        return sorted(found)[:2]

    # -- constraints ------------------------------------------------------------------------------------------------

    def _fitting(self, rows: Rows) -> Rows:
        """Return those of the rows that fulfil every constraint; cheap tests first, each on what is left."""
        columns, question = self.columns, self.question
        numbers, truths = columns.numbers, columns.truths
        rows = rows[truths["usable"][rows] & ~columns.out[rows]]
        rows = rows[numbers["free"][rows] >= question.each]
        rows = rows[numbers["capacity"][rows] >= question.each]
        if question.memory_bytes:
            rows = rows[numbers["memory_free"][rows] >= question.memory_bytes]
        rows = rows[~truths["owners_only"][rows] | (numbers["owner"][rows] == self.account)]
        if self.near is not None:
            rows = rows[self._is_near(rows)]
        if question.from_home:
            rows = rows[self._is_home(rows)]
        for part in question.parts:
            rows = rows[columns.holds(part, rows)]
        return rows[self._price(rows) <= question.budget]

    def _rest(self) -> Rows:
        """Return all rows with enough that is free, by one pass over whole columns."""
        columns, question = self.columns, self.question
        every = slice(0, columns.count)
        fits = columns.truths["usable"][every] & (columns.numbers["free"][every] >= question.each)
        if question.memory_bytes:
            fits &= columns.numbers["memory_free"][every] >= question.memory_bytes
        for part in question.parts:
            fits &= columns.holds(part, every)
        return np.flatnonzero(fits)

    def _is_near(self, rows: Rows) -> Bools:
        assert self.near is not None
        near: Bools = self.near[self.columns.numbers["place"][rows]] | np.isin(rows, self.named)
        return near

    def _is_home(self, rows: Rows) -> Bools:
        home = self.index.rows_of(self.question.need.kind, [self.question.view.home])
        return np.isin(rows, home)

    def _price(self, rows: Rows) -> Ints:
        question, numbers = self.question, self.columns.numbers
        own = score.price_hour_uwos(numbers["price"][rows], question.thousandths, _COLUMNS)
        if not question.memory_bytes:
            return own
        return own + score.price_hour_uwos(numbers["memory_price"][rows], question.memory_thousandths, _COLUMNS)

    # -- choosing ---------------------------------------------------------------------------------------------------

    def _points(self, rows: Rows) -> Ints:
        columns, question = self.columns, self.question
        return score.weigh(
            question.weights, columns.figures(rows), columns.way(rows), question.each, self._price(rows), _COLUMNS
        )

    def _merge(self, best: list[_Found], rows: Rows) -> list[_Found]:
        """Return the two best nodes of those found so far and those rows that fit."""
        rows = self._fitting(rows)
        if not len(rows):
            return best
        points, slots = self._points(rows), self.columns.numbers["slot"][rows]
        first = int(points.argmin())
        others = points[slots != slots[first]]
        limit = int(others.min()) if len(others) else int(points[first])
        near = points <= limit
        rows, points, slots = rows[near], points[near], slots[near]
        lots = self.index.lots(slots, self.question.view.nonce)
        order = np.lexsort((lots, points))
        by_node = {found[2]: found for found in best}
        seen: set[NodeId] = set()
        for place in order.tolist():
            node = self.index.node_at(int(slots[place]))
            if len(seen) > 2 and node not in seen:
                break
            seen.add(node)
            found: _Found = (int(points[place]), int(lots[place]), node, (self._id(int(rows[place])),))
            by_node[node] = min(found, by_node.get(node, found))
        return sorted(by_node.values())[:2]

    def _id(self, row: int) -> ResourceId:
        told = self.columns.told[row]
        assert told is not None, "a row that fits is in use"
        return told[1].id

    # -- refusing ---------------------------------------------------------------------------------------------------

    def refuse(self) -> Refusal:
        """Return why nobody can, as match.refusal says it; reads all rows."""
        alive = np.flatnonzero(self.columns.truths["alive"][: self.columns.count])
        stages, free = self._stages(alive), self.columns.numbers["free"][alive]
        slots, inverse = np.unique(self.columns.numbers["slot"][alive], return_inverse=True)
        if self.question.count > 1:
            stages, free = self._together(inverse, stages, free, len(slots))
        else:
            stages, free = _furthest(inverse, stages, free, len(slots))
        memory = np.zeros(len(slots), dtype=np.int64)
        memory[inverse] = self.columns.numbers["memory_free"][alive]
        numbers, sums = np.unique(stages, return_counts=True)
        counts = dict(zip(numbers.tolist(), sums.tolist(), strict=True))
        if len(slots) < len(self.index):
            counts[q.KIND] = len(self.index) - len(slots)
        return explanation(self.question, counts, self._closest(slots, stages, free), self._most(stages, free, memory))

    def _stages(self, rows: Rows) -> Ints:
        """Return for each row the first constraint that fails, written from the last to the first."""
        columns, question, view = self.columns, self.question, self.question.view
        numbers, truths = columns.numbers, columns.truths
        stages = np.full(len(rows), len(question.texts), dtype=np.int64)
        stages[numbers["memory_free"][rows] < question.memory_bytes] = question.memory
        stages[numbers["free"][rows] < question.each] = question.free
        stages[self._price(rows) > question.budget] = question.price
        stages[numbers["capacity"][rows] < question.each] = question.size
        for number in range(len(question.parts) - 1, -1, -1):
            stages[~columns.holds(question.parts[number], rows)] = q.WHERE + number
        stages[~truths["service"][rows]] = q.SERVICE
        stages[truths["battery_barred"][rows]] = q.BATTERY
        if question.from_home:
            stages[~self._is_home(rows)] = q.START
        if self.near is not None:
            stages[~self._is_near(rows)] = q.NEAR
        stages[truths["owners_only"][rows] & (numbers["owner"][rows] != self.account)] = q.OWNER
        stages[~truths["open"][rows]] = q.OPEN
        for stage, nodes in ((q.FRESH, view.passed_over), (q.ALIVE, view.gone)):
            stages[np.isin(rows, self.index.rows_of(question.need.kind, sorted(nodes)))] = stage
        return stages

    def _together(self, inverse: Rows, stages: Ints, free: Ints, nodes: int) -> tuple[Ints, Ints]:
        """Return how far each node comes as a whole, where it must have ``count`` resources."""
        count, size = self.question.count, self.question.size
        far, most = _furthest(inverse, stages, free, nodes)
        order = np.lexsort((-stages, inverse))
        starts = np.searchsorted(inverse[order], np.arange(nodes))
        enough = np.bincount(inverse, minlength=nodes) >= count
        last = stages[order][np.minimum(starts + count - 1, len(order) - 1)]
        together = np.zeros(nodes, dtype=np.int64)
        reached = stages >= size
        np.add.at(together, inverse[reached], np.minimum(free[reached], self.question.each))
        barred = far < q.SERVICE
        return np.where(barred, far, np.where(enough, last, np.minimum(far, size))), np.where(barred, most, together)

    def _closest(self, slots: Ints, stages: Ints, free: Ints) -> list[tuple[NodeId, int, int]]:
        near = np.flatnonzero(stages >= q.NEAR)
        if len(near) > NEAR_MISSES_MAX:
            kept = len(near) - NEAR_MISSES_MAX
            last = np.partition(stages[near], kept)[kept]
            near = near[stages[near] >= last]
            least = np.sort(free[near[stages[near] == last]])[::-1][:NEAR_MISSES_MAX][-1]
            near = near[(stages[near] > last) | (free[near] >= least)]
        lots = self.index.lots(slots[near], self.question.view.nonce)
        order = np.lexsort((lots, -free[near], -stages[near]))[:NEAR_MISSES_MAX]
        return [(self.index.node_at(int(slots[at])), int(stages[at]), int(free[at])) for at in near[order].tolist()]

    def _most(self, stages: Ints, free: Ints, memory: Ints) -> tuple[int, int] | None:
        fits = np.flatnonzero(stages >= self.question.size)
        if not len(fits):
            return None
        most = free[fits].max()
        return int(most), int(memory[fits][free[fits] == most].max())


def _furthest(inverse: Rows, stages: Ints, free: Ints, nodes: int) -> tuple[Ints, Ints]:
    """Return for each node the furthest stage of its rows, and the most that is free there."""
    far = np.full(nodes, -1, dtype=np.int64)
    np.maximum.at(far, inverse, stages)
    most = np.full(nodes, -1, dtype=np.int64)
    there = stages == far[inverse]
    np.maximum.at(most, inverse[there], free[there])
    return far, most


def _ties(worst: Ints, lots: npt.NDArray[np.uint64]) -> int:
    """Return how many more than two places must be looked at because they are equal in score and lot."""
    order = np.lexsort((lots, worst))
    if len(order) <= 2:
        return 0
    second = order[1]
    return int(((worst == worst[second]) & (lots == lots[second])).sum())
