"""The queues of a site, by name. Dead letters go from one to the other; all together keep within one bound.

A queue that was made for dead letters keeps them: it is its own queue of dead letters. Nothing here raises.
"""

from __future__ import annotations

from typing import Final, assert_never

import msgspec

from worldos.kernel.queues.queue import DONE, OneQueue, Queue, message_bytes
from worldos.kernel.work.limits import (
    ALL_CONSUMERS_MAX,
    QUEUE_BYTES_MAX,
    QUEUE_NAME_CHARS_MAX,
    QUEUES_MAX,
    REMEMBERED_MAX,
)
from worldos.model.work import (
    Ack,
    Extend,
    Message,
    Nack,
    Put,
    QueueCommand,
    QueueDropped,
    QueueMade,
    Refused,
    Take,
    WorkAnswer,
)

DEAD: Final = ".dead"
_SWEEP_MS: Final = 1000
DELIVERIES_NEVER: Final = 1000  # of a queue of dead letters: it passes nothing on


class QueueView(msgspec.Struct, frozen=True, kw_only=True):
    """A queue as people see it. ``oldest_ms``: when the oldest message came; 0: none is there."""

    queue: str
    waiting: int
    held: int
    size_bytes: int
    bytes_max: int
    deliveries_max: int
    dead: str
    dead_waiting: int
    put: int  # messages that ever came
    oldest_ms: int
    consumers: int


class Queues:
    """All queues of a site."""

    def __init__(self) -> None:
        self._queues: dict[str, OneQueue] = {}
        self._size_bytes = 0
        self._remembered = 0
        self._consumers = 0

    def tick(self, before_ms: int, wall_ms: int) -> None:
        """Let time pass for all queues, once a second; each command lets it pass for its own."""
        if before_ms // _SWEEP_MS == wall_ms // _SWEEP_MS:
            return
        for queue in list(self._queues.values()):
            self._tick(queue, wall_ms)

    def apply(self, command: QueueCommand, wall_ms: int) -> WorkAnswer:
        """Do what a command says, or say why not."""
        if isinstance(command, QueueMade):
            return self._made(command)
        queue = self._queues.get(command.queue)
        if queue is None:
            if isinstance(command, QueueDropped):
                return DONE
            return Refused(why=f"there is no queue {command.queue}", hint="make it first")
        self._tick(queue, wall_ms)
        if isinstance(command, QueueDropped):
            self._drop(queue)
            return DONE
        before, known = queue.size_bytes, len(queue.kept.remembered)
        answer = self._said(queue, command, wall_ms)
        self._account(queue, before, known, wall_ms)
        return answer

    def kept(self) -> list[Queue]:
        """Return what a snapshot must have."""
        return [queue.kept for queue in self._queues.values()]

    @classmethod
    def again(cls, kept: list[Queue]) -> Queues:
        """Return the queues of which a snapshot was made; ValueError if they cannot be any."""
        queues = cls()
        for one in kept:
            if one.made.queue in queues._queues or not _is_sound(one):
                raise ValueError(one.made.queue)
            queue = queues._queues[one.made.queue] = OneQueue(one)
            queues._size_bytes += queue.size_bytes
            queues._remembered += len(one.remembered)
            queues._consumers += len(one.takes)
        return queues

    # -- reads ---------------------------------------------------------------------------------------------------------------

    def ready(self, name: str, wall_ms: int) -> int:
        """Return how many messages a taking would get at this moment; what comes back by itself now counts as one."""
        queue = self._queues.get(name)
        if queue is None:
            return 0
        return queue.waiting + (0 < queue.next_due_ms <= wall_ms)

    def next_due_ms(self, name: str) -> int:
        """Return when the next held message may come back; 0: none is held."""
        queue = self._queues.get(name)
        return queue.next_due_ms if queue else 0

    def view(self, name: str) -> QueueView | None:
        """Return one queue as people see it."""
        queue = self._queues.get(name)
        if queue is None:
            return None
        kept, made = queue.kept, queue.kept.made
        dead = self._queues.get(made.dead) if made.dead != name else None
        oldest = next(iter(kept.entries.values()), None)
        return QueueView(
            queue=name,
            waiting=queue.waiting,
            held=queue.held,
            size_bytes=queue.size_bytes,
            bytes_max=made.bytes_max,
            deliveries_max=made.deliveries_max,
            dead=made.dead,
            dead_waiting=len(dead.kept.entries) if dead else 0,
            put=kept.orders,
            oldest_ms=oldest.since_ms if oldest else 0,
            consumers=len(kept.takes),
        )

    def views(self) -> tuple[QueueView, ...]:
        """Return all queues, by name."""
        found = (self.view(name) for name in sorted(self._queues))
        return tuple(view for view in found if view is not None)

    # -- what is said --------------------------------------------------------------------------------------------------------

    def _said(self, queue: OneQueue, command: Put | Take | Ack | Nack | Extend, wall_ms: int) -> WorkAnswer:
        match command:
            case Put():
                return self._put(queue, command, wall_ms)
            case Take():
                return self._take(queue, command, wall_ms)
            case Ack():
                return queue.ack(command, wall_ms)
            case Nack():
                return queue.nack(command)
            case Extend():
                return queue.extend(command, wall_ms)
            case _:
                assert_never(command)

    def _made(self, said: QueueMade) -> WorkAnswer:
        name = said.queue
        if not name or not name.isprintable() or name != name.strip() or len(name) > QUEUE_NAME_CHARS_MAX:
            hint = f"1 to {QUEUE_NAME_CHARS_MAX} printable characters"
            return Refused(why="a queue cannot have this name", hint=hint)
        made = said if said.dead else msgspec.structs.replace(said, dead=_dead_of(name))
        queue = self._queues.get(name)
        if queue is not None:
            queue.kept.made = made
            return DONE
        if len(self._queues) >= QUEUES_MAX:
            return Refused(why=f"there are {QUEUES_MAX} queues", hint="drop one with: wos queue drop NAME")
        self._queues[name] = OneQueue(Queue(made=made))
        return DONE

    def _drop(self, queue: OneQueue) -> None:
        del self._queues[queue.kept.made.queue]
        self._size_bytes -= queue.size_bytes
        self._remembered -= len(queue.kept.remembered)
        self._consumers -= len(queue.kept.takes)

    def _take(self, queue: OneQueue, said: Take, wall_ms: int) -> WorkAnswer:
        if self._consumers >= ALL_CONSUMERS_MAX and said.consumer not in queue.kept.takes:
            why = f"{ALL_CONSUMERS_MAX} consumers take from the queues of this site"
            return Refused(why=why, hint="use one consumer for each program, not one for each taking")
        before = len(queue.kept.takes)
        answer = queue.take(said, wall_ms)
        self._consumers += len(queue.kept.takes) - before
        return answer

    def _put(self, queue: OneQueue, said: Put, wall_ms: int) -> WorkAnswer:
        refusal = queue.room_refusal(said)
        if refusal is not None:
            return refusal
        size = sum(map(message_bytes, said.messages))
        if self._size_bytes + size > QUEUE_BYTES_MAX:
            why = f"the queues are full: {self._size_bytes} of {QUEUE_BYTES_MAX} bytes wait in all of them"
            return Refused(why=why, hint="take and acknowledge some first, or put large bodies into files")
        for message in said.messages:
            queue.put(message, wall_ms)
        return DONE

    def _tick(self, queue: OneQueue, wall_ms: int) -> None:
        before, known, consumers = queue.size_bytes, len(queue.kept.remembered), len(queue.kept.takes)
        queue.tick(wall_ms)
        self._consumers += len(queue.kept.takes) - consumers
        self._account(queue, before, known, wall_ms)

    # -- between queues ------------------------------------------------------------------------------------------------------

    def _account(self, queue: OneQueue, before: int, known: int, wall_ms: int) -> None:
        """Take in what a queue has more or less than before, and carry its dead letters on."""
        dead, queue.dead = queue.dead, []
        for entry in dead:
            queue.kept.remembered[entry.message.id] = wall_ms
        self._size_bytes += queue.size_bytes - before
        self._remembered += len(queue.kept.remembered) - known
        while self._remembered > REMEMBERED_MAX and queue.kept.remembered:
            del queue.kept.remembered[next(iter(queue.kept.remembered))]
            self._remembered -= 1
        if dead:
            self._bury([entry.message for entry in dead], queue.kept.made.dead, wall_ms)

    def _bury(self, messages: list[Message], name: str, wall_ms: int) -> None:
        """Put dead letters where they belong, also above its bound and above that of the number of queues."""
        grave = self._queues.get(name)
        if grave is None:
            made = QueueMade(queue=name, deliveries_max=DELIVERIES_NEVER, dead=name)
            grave = self._queues[name] = OneQueue(Queue(made=made))
        before = grave.size_bytes
        for message in messages:
            grave.put(message, wall_ms)
        self._size_bytes += grave.size_bytes - before


def _dead_of(name: str) -> str:
    return name if name.endswith(DEAD) else name + DEAD


def _is_sound(kept: Queue) -> bool:
    """Tell whether a queue from a snapshot can be one."""
    orders = [entry.order for entry in kept.entries.values()]
    named = all(name == entry.message.id for name, entry in kept.entries.items())
    return named and orders == sorted(set(orders)) and (not orders or 0 < orders[0] <= orders[-1] <= kept.orders)
