"""A cache for things of all sizes: what is asked for often, costs much to fetch and takes little room stays.

New things enter a small window in the order of their use. What falls out of the window may stay only if it is asked for
more often than what it would push out: that is TinyLFU, with a sketch of counters that ages, so that one long read of
everything once leaves the cache as it was. Among what stays, the first to go has the least ``uses * cost / size`` above a clock
that rises with each departure: that is GDSF. Sizes and costs are whole numbers of the caller's units; nothing is read or
dropped here, the caller is told what to drop.

Source: G. Einziger, R. Friedman, B. Manes, "TinyLFU", ACM ToS 2017; L. Cherkasova, "Improving WWW proxies performance with
Greedy-Dual-Size-Frequency caching policy", HP Labs 1998.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from heapq import heapify, heappop, heappush
from typing import Final

import msgspec

from worldos.store.limits import CACHE_ENTRIES_MAX, SKETCH_WIDTH_MAX

ROWS: Final = 4
COUNT_MAX: Final = 15  # of one counter: four bits tell the hot from the rest
WINDOW_PARTS: Final = 100  # one part of these is the window
SAMPLES_PER_COUNTER: Final = 10  # after so many uses for each counter all are halved
SCALE: Final = 1 << 20  # of priorities, so that whole numbers tell them apart
STALE_FACTOR: Final = 4  # the heap is built anew when it has so many times more rows than there are entries


class Sketch:
    """How often each key was used lately: never too few, seldom too many, halved now and then."""

    def __init__(self, width: int) -> None:
        self._width = 1 << max(4, (min(width, SKETCH_WIDTH_MAX) - 1).bit_length())
        self._rows = [bytearray(self._width) for _ in range(ROWS)]
        self._uses = 0

    def use(self, key: bytes) -> None:
        """Count one use."""
        places = self._places(key)
        least = min(row[place] for row, place in zip(self._rows, places, strict=True))
        if least < COUNT_MAX:
            for row, place in zip(self._rows, places, strict=True):
                if row[place] == least:
                    row[place] += 1
        self._uses += 1
        if self._uses >= SAMPLES_PER_COUNTER * self._width:
            self._age()

    def count(self, key: bytes) -> int:
        """Return how often the key was used lately, at most COUNT_MAX."""
        return min(row[place] for row, place in zip(self._rows, self._places(key), strict=True))

    def _places(self, key: bytes) -> list[int]:
        digest = blake2b(key, digest_size=4 * ROWS).digest()
        mask = self._width - 1
        return [int.from_bytes(digest[at : at + 4], "little") & mask for at in range(0, 4 * ROWS, 4)]

    def _age(self) -> None:
        self._uses //= 2
        halves = bytes(count >> 1 for count in range(256))
        self._rows = [row.translate(halves) for row in self._rows]


class Entry(msgspec.Struct, kw_only=True):
    """One thing in the cache."""

    size: int
    cost: int
    uses: int = 1
    row: tuple[int, int, bytes] = (0, 0, b"")  # its row in the heap: priority, number, key


class Cache:
    """What is kept, within ``capacity`` of the caller's size units."""

    def __init__(self, capacity: int, *, typical: int) -> None:
        """``typical`` is the usual size of a thing: the sketch has counters for ten times as many as fit."""
        self.capacity = capacity
        self._sketch = Sketch(10 * max(1, capacity // max(1, typical)))
        self._window: OrderedDict[bytes, Entry] = OrderedDict()
        self._main: dict[bytes, Entry] = {}
        self._heap: list[tuple[int, int, bytes]] = []  # a row that is not its entry's own is stale
        self._clock = self._rows = 0
        self._window_size = self._main_size = 0

    @property
    def size(self) -> int:
        """Return how much is kept."""
        return self._window_size + self._main_size

    def __len__(self) -> int:
        return len(self._window) + len(self._main)

    def __contains__(self, key: bytes) -> bool:
        return key in self._window or key in self._main

    def use(self, key: bytes) -> bool:
        """Count a use of ``key``; tell whether it is kept."""
        self._sketch.use(key)
        if key in self._window:
            self._window.move_to_end(key)
            self._window[key].uses += 1
            return True
        if entry := self._main.get(key):
            entry.uses += 1
            self._place(key, entry)
            return True
        return False

    def offer(self, key: bytes, size: int, cost: int = 1) -> list[bytes]:
        """Take in what was fetched just now, if it is worth its room; return the keys to drop, itself perhaps among them."""
        if key in self:
            return []
        if size > self.capacity or size < 0:
            return [key]
        self._window[key] = Entry(size=size, cost=max(1, cost))
        self._window_size += size
        dropped: list[bytes] = []
        window_capacity = self.capacity // WINDOW_PARTS
        while self._window and (self._window_size > window_capacity or len(self._window) > CACHE_ENTRIES_MAX):
            candidate, entry = self._window.popitem(last=False)
            self._window_size -= entry.size
            dropped += self._admit(candidate, entry)
        return dropped

    def resize(self, capacity: int) -> list[bytes]:
        """Give the cache another capacity, as the disk fills or empties; return the keys to drop."""
        self.capacity = max(0, capacity)
        dropped: list[bytes] = []
        while self._main and self.size > self.capacity:
            dropped.append(self._evict())
        while self._window and self.size > self.capacity:
            key, entry = self._window.popitem(last=False)
            self._window_size -= entry.size
            dropped.append(key)
        return dropped

    def forget(self, key: bytes) -> None:
        """Take note that this is gone, whoever dropped it."""
        if entry := self._window.pop(key, None):
            self._window_size -= entry.size
        elif entry := self._main.pop(key, None):
            self._main_size -= entry.size

    def _admit(self, key: bytes, entry: Entry) -> list[bytes]:
        """Move what fell out of the window to the main part, over those that are asked for less; or drop it."""
        room = self.capacity - self.capacity // WINDOW_PARTS
        wanted = self._sketch.count(key)
        victims: list[tuple[bytes, Entry]] = []
        freed = 0
        while self._main_size - freed + entry.size > room or len(self._main) - len(victims) >= CACHE_ENTRIES_MAX:
            victim = self._least()
            if victim is None or self._sketch.count(victim[0]) >= wanted:
                if victim is not None:
                    victims.append(victim)
                for _, kept in victims:
                    heappush(self._heap, kept.row)
                return [key]
            victims.append(victim)
            freed += victim[1].size
        for name, gone in victims:
            self._clock = max(self._clock, gone.row[0])
            del self._main[name]
        self._main_size += entry.size - freed
        self._main[key] = entry
        self._place(key, entry)
        return [name for name, _ in victims]

    def _place(self, key: bytes, entry: Entry) -> None:
        self._rows += 1
        entry.row = (self._clock + entry.uses * entry.cost * SCALE // max(1, entry.size), self._rows, key)
        heappush(self._heap, entry.row)
        if len(self._heap) > STALE_FACTOR * len(self._main) + STALE_FACTOR:
            self._heap = [kept.row for kept in self._main.values()]
            heapify(self._heap)

    def _least(self) -> tuple[bytes, Entry] | None:
        """Take the entry of least priority off the heap; it stays in the main part."""
        while self._heap:
            row = heappop(self._heap)
            entry = self._main.get(row[2])
            if entry is not None and entry.row == row:
                return row[2], entry
        return None

    def _evict(self) -> bytes:
        least = self._least()
        assert least is not None, "every entry of the main part stands in the heap"
        key, entry = least
        self._clock = max(self._clock, entry.row[0])
        del self._main[key]
        self._main_size -= entry.size
        return key
