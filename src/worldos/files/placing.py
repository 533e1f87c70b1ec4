"""Where shares go: leases for room in stores, asked of the kernel's matcher like everything else that is leased.

A gang of equal needs for Store, each apart, is spread by the matcher over places and owners (kernel/spread.py). The leases
are held by this session and serve all its puts; the agent renews them, and puts another in the place of one that is lost.
Where there are fewer stores with room than the code has shares, fewer are leased; where none can be leased at all, the
stores that are linked are named, and their depots say themselves whether they have room: a write is never refused for want
of devices. Invariant: whatever is granted is given back, once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from worldos.errors import NoCapacity, WorldError
from worldos.files.limits import LEASE_BYTES_MIN
from worldos.files.stores import Store, Stores
from worldos.model.ids import LeaseId
from worldos.model.limits import LEASE_TTL_DEFAULT_NS
from worldos.model.local import LeaseAdded, LeaseDoubted, LeaseLost, Use, UseGranted, UseRefused
from worldos.model.need import LeaseTerms, Need
from worldos.model.resource import Kind
from worldos.sdk.connection import Connection, UseMessage

GRANT_TIMEOUT_S = 6.0


class Room:
    """Leases for so many bytes in each of some stores, from one use."""

    def __init__(self, connection: Connection, count: int, amount_bytes: int) -> None:
        self.amount_bytes = amount_bytes
        self.leases: dict[LeaseId, LeaseTerms] = {}
        self.asked_for = count
        self.ended = False
        self._lock = threading.Lock()
        self._answers: SimpleQueue[UseRefused | WorldError | None] = SimpleQueue()
        self._connection = connection
        self._use = connection.next_use(self)
        need = Need(kind=Kind.STORE, amount=amount_bytes, apart=count > 1)
        connection.send(Use(use=self._use, needs=(need,) * count, ttl_ns=LEASE_TTL_DEFAULT_NS))
        try:
            answer = self._answers.get(timeout=GRANT_TIMEOUT_S)
        except Empty:
            answer = NoCapacity(f"no answer in {GRANT_TIMEOUT_S:.0f} s whether there is room")
        if isinstance(answer, UseRefused):
            answer = NoCapacity(answer.reason, hint=answer.hint)
        if answer is not None:
            self.close()
            raise answer

    def nodes(self) -> list[str]:
        """Return the nodes that lend the room now, each once, in the order of the leases."""
        with self._lock:
            return list(dict.fromkeys(str(terms.node) for terms in self.leases.values()))

    def close(self) -> None:
        """Give it back."""
        with self._lock:
            if self.ended:
                return
            self.ended = True
            leases = list(self.leases)
        self._connection.release(self._use, leases)

    def heard(self, message: UseMessage) -> None:
        """Take in what the agent says of this use (connection.Hearer)."""
        match message:
            case UseGranted():
                with self._lock:
                    self.leases.update((terms.lease, terms) for terms in message.leases)
                self._answers.put(None)
            case UseRefused():
                self._answers.put(message)
            case LeaseAdded():
                with self._lock:
                    self.leases[message.terms.lease] = message.terms
            case LeaseLost():
                with self._lock:
                    self.leases.pop(message.lease, None)
            case LeaseDoubted():
                pass  # whether a store answers is seen where it is asked
            case _:
                pass  # a store has no workers, so no doors

    def cut(self, why: WorldError) -> None:
        """Take in that the agent is gone."""
        self.ended = True
        self._answers.put(why)


class Placing:
    """The room that this session holds. ``places`` says where the next shares go."""

    def __init__(self, connection: Callable[[], Connection], stores: Stores) -> None:
        self._connection = connection
        self._stores = stores
        self._room: Room | None = None
        self._left_bytes = 0
        self._lock = threading.Lock()

    def places(self, count: int, share_bytes: int) -> list[Store]:
        """Return up to ``count`` distinct stores with room for ``share_bytes`` more in each; none if none is known at all."""
        with self._lock:
            linked = self._linked()
            wanted = min(count, max(1, len(linked)))
            room = self._room
            if room is None or room.ended or len(room.nodes()) < wanted or self._left_bytes < share_bytes:
                room = self._lease(wanted, max(LEASE_BYTES_MIN, 2 * share_bytes))
            self._left_bytes -= share_bytes
            nodes = room.nodes() if room is not None else []
        chosen = [store for node in nodes if (store := self._stores.on(node)) is not None and store.at.path]
        rest = [store for store in linked if store not in chosen]
        return (chosen + rest)[:count]

    def close(self) -> None:
        """Give all room back."""
        with self._lock:
            room, self._room = self._room, None
        if room is not None:
            room.close()

    def _lease(self, wanted: int, amount_bytes: int) -> Room | None:
        if self._room is not None:
            self._room.close()
            self._room = None
        for count in range(wanted, 0, -1):
            try:
                self._room = Room(self._connection(), count, amount_bytes)
            except NoCapacity:
                continue
            self._left_bytes = amount_bytes
            self._stores.refresh(at_once=True)  # the way to a store of others is that of its lease
            return self._room
        return None

    def _linked(self) -> list[Store]:
        return [store for store in self._stores.reachable() if not store.refused_room]
