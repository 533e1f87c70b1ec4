"""The host of a simulated runner: it starts one when the first task comes, and again when one was killed.

What ``agent/runner_host`` is on a real machine: until a runner listens, what was given waits here, and the host says
that it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worldos.model.limits import MS, SECOND
from worldos.model.work import Attempt
from worldos.model.work_wire import HELD_MAX, TasksGiven, TasksHeld, TasksStop
from worldos.sim.runner import Runner

if TYPE_CHECKING:
    from worldos.sim.work_door import WorkDoor

START_MIN_NS: Final = 200 * MS
START_MAX_NS: Final = 2 * SECOND
AGAIN_NS: Final = 400 * MS
IDLE_NS: Final = 8 * SECOND  # a runner that has had nothing for so long is ended; real ones wait longer
WAITING_MAX: Final = 4096


class RunnerHost:
    """The runner of one machine, if there is one now."""

    def __init__(self, door: WorkDoor) -> None:
        self.door = door
        self.runner: Runner | None = None
        self._words: list[TasksGiven | TasksStop] = []
        self._given: dict[Attempt, None] = {}
        self._starting = False
        self._lives = 0
        self._idle_ns = 0  # since when the runner has nothing; 0: it has something

    def give(self, message: TasksGiven) -> None:
        """Attempts are for this node."""
        self._idle_ns = 0
        if self.runner is not None:
            self.runner.given(message)
            return
        fresh = [Attempt(message.job, task.index, task.number) for task in message.tasks]
        if all(attempt in self._given for attempt in fresh) or len(self._words) >= WAITING_MAX:
            return
        self._given.update(dict.fromkeys(fresh))
        self._words.append(message)
        self._start(0)

    def stop(self, message: TasksStop) -> None:
        """Attempts are to end."""
        if self.runner is not None:
            self.runner.stop(message)
            return
        for attempt in message.attempts:
            self._given.pop(attempt, None)
        self._words = [*self._words, message][-WAITING_MAX:]

    def asked(self) -> None:
        """Who leads hears nothing of this node."""
        held = self.waiting()
        if held is not None:
            self.door.holds(held)

    def waiting(self) -> TasksHeld | None:
        """Return what waits here for a runner; None where one listens."""
        return TasksHeld(attempts=tuple(self._given)[:HELD_MAX]) if self.runner is None else None

    def held(self, message: TasksHeld) -> None:
        """The runner says what it has; one that has had nothing for a while is ended."""
        self.door.holds(message)
        if message.attempts or message.leased:
            self._idle_ns = 0
        elif not self._idle_ns:
            self._idle_ns = self.door.now_ns
        elif self.door.now_ns - self._idle_ns >= IDLE_NS and self.runner is not None:
            self.runner.close(alive=True)
            self.runner = None

    def kill(self) -> None:
        """Kill the runner: with its connection its leases end; another is started."""
        if self.runner is not None:
            self.runner.close(alive=True)
            self.runner = None
            self._start(AGAIN_NS)

    def close(self) -> None:
        """End with the machine."""
        if self.runner is not None:
            self.runner.close(alive=False)

    def _start(self, wait_ns: int) -> None:
        if self._starting:
            return
        self._starting = True
        world = self.door.world
        takes_ns = START_MIN_NS + int(world.dice.random() ** 3 * (START_MAX_NS - START_MIN_NS))
        world.later(wait_ns + takes_ns, world.on, self.door.machine, self._listens)

    def _listens(self) -> None:
        """The runner stands: it hears all that waited for it."""
        self._starting = False
        if self.door.over:
            return
        self._lives += 1
        self.runner = Runner(self.door, self._lives)
        words, self._words = self._words, []
        self._given.clear()
        for word in words:
            if isinstance(word, TasksGiven):
                self.runner.given(word)
            else:
                self.runner.stop(word)
        self.runner.begin()
