"""Takes that wait at the leader until there is a message for them: by queue, who came first first."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from worldos.model.limits import NEVER_NS


class HeldTakes(msgspec.Struct, kw_only=True):
    """Who waits for which queue: number of the ask, how many messages it would take, and until when it waits.

    ``flying``: those that went on and are not applied yet, which have a claim to what is there. Nothing is due before ``due_ns``.
    """

    waiting: dict[str, list[tuple[int, int, int]]] = {}
    queue_of: dict[int, str] = {}
    flying: dict[int, tuple[str, int]] = {}
    due_ns: int = NEVER_NS

    def hold(self, queue: str, number: int, count: int, until_ns: int) -> None:
        """Let an ask wait."""
        self.waiting.setdefault(queue, []).append((number, count, until_ns))
        self.queue_of[number] = queue
        self.due_ns = min(self.due_ns, until_ns)

    def drop(self, number: int) -> None:
        """This one is answered, or nobody waits for it any more."""
        self.flying.pop(number, None)
        queue = self.queue_of.pop(number, None)
        if queue is None:
            return
        left = [each for each in self.waiting[queue] if each[0] != number]
        self._keep(queue, left)

    def released(self, ready: Callable[[str], int]) -> list[int]:
        """Take out and return those that have something to take now; ``ready`` says how many messages a queue has."""
        gone: list[int] = []
        for queue in list(self.waiting):
            there = ready(queue) - sum(count for name, count in self.flying.values() if name == queue)
            line = self.waiting[queue]
            at = 0
            while there > 0 and at < len(line):
                number, count, _ = line[at]
                there -= count
                self.flying[number] = (queue, count)
                gone.append(number)
                at += 1
            if at:
                self._keep(queue, line[at:])
        for number in gone:
            self.queue_of.pop(number, None)
        return gone

    def over(self, now_ns: int) -> list[int]:
        """Take out and return those that have waited long enough."""
        gone = [each[0] for line in self.waiting.values() for each in line if each[2] <= now_ns]
        for number in gone:
            self.drop(number)
        self.due_ns = min((each[2] for line in self.waiting.values() for each in line), default=NEVER_NS)
        return gone

    def _keep(self, queue: str, line: list[tuple[int, int, int]]) -> None:
        if line:
            self.waiting[queue] = line
        else:
            del self.waiting[queue]
