"""A queue: messages in the order in which they came, each handed to one consumer at a time until one says that it is done with.

At least once: a message leaves the queue by an ack, or as a dead letter after ``deliveries_max`` takings without one. Whoever
takes it holds it for a time; then others get it, in its old place. A taking is named by its consumer and a rising number: asked
again, it hands out the same. Ids of messages that are done with are remembered for a while: a put that is said twice puts once.

Invariant: a message is waiting or held, never both; what waits is ordered by arrival, and what came back stands before what was
never taken. Times in ms of the work's clock. ``entries``, ``takes`` and ``remembered`` are state; the rest is made from them.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from typing import Final

import msgspec

from worldos.kernel.work.limits import CONSUMERS_MAX, QUEUE_MESSAGE_BYTES, REMEMBERED_MS, TAKE_BYTES_MAX
from worldos.model.work import Ack, Applied, Extend, Message, Nack, Put, QueueMade, Refused, Take, WorkAnswer

DONE: Final = Applied()
_DUE_SPARE: Final = 1024


class Entry(msgspec.Struct, array_like=True, gc=False):
    """A message in its place. ``until_ms``: 0 while it waits. ``consumer``: who holds it, or had it last."""

    order: int
    message: Message
    since_ms: int
    taken: int = 0
    until_ms: int = 0
    consumer: str = ""
    request: int = 0  # in which taking

    @property
    def size_bytes(self) -> int:
        """Return what it takes up."""
        return message_bytes(self.message)


class Taking(msgspec.Struct, array_like=True, gc=False):
    """The newest taking of a consumer."""

    request: int
    wall_ms: int


class Queue(msgspec.Struct, kw_only=True):
    """One queue. ``orders`` counts arrivals."""

    made: QueueMade
    orders: int = 0
    entries: dict[bytes, Entry] = {}
    takes: dict[str, Taking] = {}
    remembered: dict[bytes, int] = {}  # id -> when it was done with


class OneQueue:
    """A queue at work. ``dead`` is filled with what was taken too often; who owns the queue carries that on."""

    def __init__(self, kept: Queue) -> None:
        self.kept = kept
        self.size_bytes = sum(entry.size_bytes for entry in kept.entries.values())
        self.held = sum(1 for entry in kept.entries.values() if entry.until_ms)
        self.dead: list[Entry] = []
        self._back: list[tuple[int, bytes]] = []
        self._new: deque[Entry] = deque()
        for entry in sorted(kept.entries.values(), key=lambda entry: entry.order):
            if entry.until_ms:
                continue
            if entry.taken:
                self._back.append((entry.order, entry.message.id))
            else:
                self._new.append(entry)
        self._due: list[tuple[int, int, bytes]] = []
        self._sort_due()

    @property
    def waiting(self) -> int:
        """Return how many messages anybody could take."""
        return len(self.kept.entries) - self.held

    @property
    def next_due_ms(self) -> int:
        """Return when the next held message comes back, or a little before; 0: none is held."""
        return self._due[0][0] if self.held else 0

    # -- what is said --------------------------------------------------------------------------------------------------------

    def put(self, message: Message, wall_ms: int) -> bool:
        """Append a message; False if it is or was here."""
        kept = self.kept
        if message.id in kept.entries or message.id in kept.remembered:
            return False
        kept.orders += 1
        entry = Entry(kept.orders, message, wall_ms)
        kept.entries[message.id] = entry
        self._new.append(entry)
        self.size_bytes += entry.size_bytes
        return True

    def room_refusal(self, said: Put) -> Refused | None:
        """Say why these messages cannot be appended, or nothing if they can."""
        size = sum(map(message_bytes, said.messages))
        if self.size_bytes + size <= self.kept.made.bytes_max:
            return None
        known = self.kept.entries, self.kept.remembered
        size = sum(message_bytes(one) for one in said.messages if not any(one.id in ids for ids in known))
        if self.size_bytes + size <= self.kept.made.bytes_max:
            return None
        why = f"queue {said.queue} is full: {self.size_bytes} of {self.kept.made.bytes_max} bytes wait"
        return Refused(why=why, hint="take and acknowledge some first, or give it a larger bytes_max")

    def take(self, said: Take, wall_ms: int) -> WorkAnswer:
        """Hand out the oldest messages that wait."""
        last = self.kept.takes.get(said.consumer)
        if last is not None and said.request <= last.request:
            if said.request < last.request:
                return Refused(why="this taking is older than the consumer's last", hint="number takings upwards")
            return Applied(messages=self._handed(said.consumer, said.request))
        self._make_room(said.consumer)
        handed: list[tuple[Message, int]] = []
        size = 0
        while len(handed) < said.count and (entry := self._oldest()) is not None:
            size += len(entry.message.body)
            if handed and size > TAKE_BYTES_MAX:
                break
            self._pop_oldest()
            entry.taken += 1
            entry.consumer, entry.request = said.consumer, said.request
            self._hold(entry, wall_ms + said.visible_ms)
            self.held += 1
            handed.append((entry.message, entry.taken))
        self.kept.takes.pop(said.consumer, None)  # so that the dict is ordered by the last taking
        self.kept.takes[said.consumer] = Taking(said.request, wall_ms)
        return Applied(messages=tuple(handed))

    def ack(self, said: Ack, wall_ms: int) -> WorkAnswer:
        """Let messages go; one that nobody took since it came back counts as held by who had it last."""
        missed = []
        for name in said.ids:
            entry = self.kept.entries.get(name)
            if entry is None:
                continue
            if entry.consumer != said.consumer:
                missed.append(name)
                continue
            self._let_go(entry)
            self.kept.remembered[name] = wall_ms
        return Applied(missed=tuple(missed)) if missed else DONE

    def nack(self, said: Nack) -> WorkAnswer:
        """Let others have messages at once."""
        missed = []
        for name in said.ids:
            entry = self.kept.entries.get(name)
            if entry is not None and entry.consumer != said.consumer:
                missed.append(name)
            elif entry is not None and entry.until_ms:
                self._come_back(entry)
        return Applied(missed=tuple(missed)) if missed else DONE

    def extend(self, said: Extend, wall_ms: int) -> WorkAnswer:
        """Hold messages for longer."""
        missed = []
        for name in said.ids:
            entry = self.kept.entries.get(name)
            if entry is not None and entry.until_ms and entry.consumer == said.consumer:
                self._hold(entry, wall_ms + said.visible_ms)
            else:
                missed.append(name)
        return Applied(missed=tuple(missed)) if missed else DONE

    def tick(self, wall_ms: int) -> None:
        """Let time pass: what was held too long comes back, what was done with long ago is not known any more."""
        due = self._due
        while due and due[0][0] <= wall_ms:
            until_ms, _, name = heappop(due)
            entry = self.kept.entries.get(name)
            if entry is not None and entry.until_ms == until_ms:
                self._come_back(entry)
        remembered, takes = self.kept.remembered, self.kept.takes
        while remembered:
            oldest = next(iter(remembered))
            if remembered[oldest] + REMEMBERED_MS > wall_ms:
                break
            del remembered[oldest]
        while takes:
            idle = next(iter(takes))
            if takes[idle].wall_ms + REMEMBERED_MS > wall_ms:
                break
            del takes[idle]

    # -- where messages are --------------------------------------------------------------------------------------------------

    def _handed(self, consumer: str, request: int) -> tuple[tuple[Message, int], ...]:
        """Return what a taking was handed and still holds. It looks at all there is: this is asked when an answer was lost."""
        held = (entry for entry in self.kept.entries.values() if entry.until_ms and entry.request == request)
        return tuple([(entry.message, entry.taken) for entry in held if entry.consumer == consumer])

    def _oldest(self) -> Entry | None:
        while self._back:
            entry = self.kept.entries.get(self._back[0][1])
            if entry is not None and not entry.until_ms and entry.order == self._back[0][0]:
                return entry
            heappop(self._back)  # acknowledged late by who had it last
        return self._new[0] if self._new else None

    def _pop_oldest(self) -> None:
        if self._back:
            heappop(self._back)
        else:
            self._new.popleft()

    def _hold(self, entry: Entry, until_ms: int) -> None:
        entry.until_ms = until_ms
        heappush(self._due, (until_ms, entry.order, entry.message.id))
        if len(self._due) > 2 * len(self.kept.entries) + _DUE_SPARE:
            self._sort_due()

    def _sort_due(self) -> None:
        held = (entry for entry in self.kept.entries.values() if entry.until_ms)
        self._due = [(entry.until_ms, entry.order, entry.message.id) for entry in held]
        heapify(self._due)

    def _come_back(self, entry: Entry) -> None:
        if entry.taken >= self.kept.made.deliveries_max and self.kept.made.dead != self.kept.made.queue:
            self._let_go(entry)
            self.dead.append(entry)
            return
        entry.until_ms = 0
        self.held -= 1
        heappush(self._back, (entry.order, entry.message.id))

    def _let_go(self, entry: Entry) -> None:
        del self.kept.entries[entry.message.id]
        self.size_bytes -= entry.size_bytes
        if entry.until_ms:
            self.held -= 1

    def _make_room(self, consumer: str) -> None:
        takes = self.kept.takes
        if consumer not in takes and len(takes) >= CONSUMERS_MAX:
            del takes[next(iter(takes))]


def message_bytes(message: Message) -> int:
    """Return what a message takes up."""
    return len(message.body) + len(message.id) + QUEUE_MESSAGE_BYTES
