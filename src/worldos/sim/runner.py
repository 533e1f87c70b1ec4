"""A runner without processes: it brings the attempts of one machine to leases, and tells the line what became of them.

A model of ``jobs/runner`` with its teller, by the bounds of ``jobs/limits``: what is given is held, and said so every other
second; each attempt runs behind a lease (crew.py) as a call of a simulated worker; words are said until they are answered; what
may not run beside its successor is stopped once the line was silent for ``SILENT_NS``. It knows no files: a result is its
attempt's name, inline. All of it ends with its machine, or alone when it is killed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from worldos.kernel.events import ClientGone, Event
from worldos.kernel.work.asks import Reply
from worldos.kernel.work.words import decode_answers, encode_command
from worldos.model.ids import ClientId, NodeId
from worldos.model.limits import MS, SECOND
from worldos.model.local import LeaseAdded, LeaseDoubted, LeaseLost, LeaseWanted, ToClient, UseGranted, UseRefused
from worldos.model.need import Need
from worldos.model.work import (
    Attempt,
    Began,
    Finished,
    Lost,
    Outcome,
    WorkAnswer,
    WorkCommand,
    Yielded,
)
from worldos.model.work_wire import HELD_MAX, TasksGiven, TasksHeld, TasksStop, WorkAsk
from worldos.sim.attempt import Run, code_of, made_of, name_of, service_ns
from worldos.sim.crew import Crew

if TYPE_CHECKING:
    from worldos.sim.work_door import WorkDoor

# As in jobs/limits: that room is above this one.
HOLDS_EVERY_NS: Final = 2 * SECOND
HOLDS_APART_NS: Final = 250 * MS
PULSE_EVERY_NS: Final = 2 * SECOND
PULSE_WAIT_NS: Final = 4 * SECOND
SILENT_NS: Final = 12 * SECOND
SAY_APART_NS: Final = 30 * MS
SAY_MANY: Final = 256
SAY_AGAIN_MIN_NS: Final = 100 * MS
SAY_AGAIN_MAX_NS: Final = 2 * SECOND
SOCKET_NS: Final = 50_000  # from a program to its agent

Word = Began | Finished | Yielded | Lost


class Runner:
    """All attempts of one machine."""

    def __init__(self, door: WorkDoor, life: int) -> None:
        self.door = door
        self.world = door.world
        self.machine = door.machine
        self.client = ClientId(f"runner-{self.machine.number}-{self.machine.boot}-{life}")
        self.over = False
        self._runs: dict[Attempt, Run] = {}
        self._crews: dict[tuple[Need, tuple[str, ...]], Crew] = {}
        self._words: deque[tuple[Word, Run]] = deque()
        self._saying = False
        self._say_ns = 0  # before that nothing more is said
        self._heard_ns = self.now_ns  # when the line answered last
        self._changed = False
        self._uses = 0
        self.world.clients[self.client] = (self.machine, self)

    def begin(self) -> None:
        """Say what is held, from now on."""
        self._hold()
        self.after(PULSE_EVERY_NS, self._pulse)

    @property
    def now_ns(self) -> int:
        """Return what the machine's clock shows."""
        return self.world.clock_of(self.machine)

    def after(self, delay_ns: int, call: Callable[..., None], *arguments: object) -> None:
        """Do something later by the machine's clock, if this runner lives then."""
        at_ns = self.machine.clock.moment_of(self.now_ns + delay_ns)
        self.world.call_at(max(self.world.now_ns, at_ns), self.world.on, self.machine, self._still, call, *arguments)

    def _still(self, call: Callable[..., None], *arguments: object) -> None:
        if not self.over:
            call(*arguments)

    def feed(self, make: Callable[[int], Event]) -> None:
        """Say something to the agent, over a socket: it comes when the node has carried out what it is at."""
        self.world.later(SOCKET_NS, self.door.soon, self._feed, make)

    def _feed(self, make: Callable[[int], Event]) -> None:
        self.world.feed(self.machine, make(self.now_ns))

    def next_use(self) -> str:
        """Return the name of the next use."""
        self._uses += 1
        return f"{self.client}.{self._uses}"

    # -- what the agent says ---------------------------------------------------------------------------------------------------

    def given(self, tasks: TasksGiven) -> None:
        """Take attempts in; those that are here already are told again, and that is all."""
        fresh: dict[tuple[str, ...], list[Run]] = {}
        for task in tasks.tasks:
            attempt = Attempt(tasks.job, task.index, task.number)
            if attempt not in self._runs:
                self._runs[attempt] = run = Run(attempt, tasks.spec, tasks.apart.get(task.index, ()))
                fresh.setdefault(run.apart, []).append(run)
        for runs in fresh.values():
            self.crew(runs[0]).add(runs)
        self.changed()

    def stop(self, tasks: TasksStop) -> None:
        """Stop attempts: to make way, or because nobody waits for them."""
        for attempt in tasks.attempts:
            run = self._runs.get(attempt)
            if run is None:
                continue
            if tasks.preempt and not run.dropped:
                run.asked = tasks.why
            elif not tasks.preempt:
                run.dropped = True
            self._end(run)

    def _end(self, run: Run) -> None:
        if self.crew(run).withdraw(run):
            self.say(run, run.unbegun())
        elif run.berth is not None:
            run.berth.stop(run)

    def told(self, message: ToClient) -> None:
        """Take in what the agent says of leases."""
        if isinstance(message, UseGranted | UseRefused | LeaseAdded | LeaseLost | LeaseDoubted | LeaseWanted):
            for crew in list(self._crews.values()):
                crew.told(message)

    def killed(self) -> None:
        """The machine is gone, and this with it."""

    def crew(self, run: Run) -> Crew:
        """Return the crew for the need of an attempt, which some machines may not do."""
        need, apart = key = run.spec.need, run.apart
        crew = self._crews.get(key)
        if crew is None:
            crew = self._crews[key] = Crew(self, need, apart)
        return crew

    def tidy(self) -> None:
        """Drop crews of which nothing is left."""
        for key in [key for key, crew in self._crews.items() if crew.empty]:
            del self._crews[key]
        self.changed()

    # -- what became of an attempt ---------------------------------------------------------------------------------------------

    def began(self, run: Run, at: NodeId) -> None:
        """It runs."""
        run.node = at
        self._words.append((Began(attempt=run.attempt, at=at, owner=self.world.by_id[at].owner), run))
        self._speak()

    def finished(self, run: Run) -> None:
        """It came to its own end."""
        if run.dropped:
            self.say(run, None)
            return
        name = name_of(run.attempt)
        outcome = Outcome(
            code=code_of(run.attempt, run.spec),
            result=name.encode(),
            wall_us=service_ns(run.spec) // 1000,
            made=made_of(run, self.world.by_id[run.node].owner),
        )
        self.say(run, Finished(attempt=run.attempt, outcome=outcome))

    def say(self, run: Run, word: Word | None) -> None:
        """Say what became of an attempt; None: nothing, it is just over."""
        if word is None:
            self._forget(run)
        elif not run.said:
            run.said = True
            self._words.append((word, run))
            self._speak()

    def _forget(self, run: Run) -> None:
        self._runs.pop(run.attempt, None)
        self.changed()

    # -- the line --------------------------------------------------------------------------------------------------------------

    def _speak(self) -> None:
        """Say the next words, unless some are on their way; those of a moment go together."""
        if self._saying or not self._words:
            return
        self._saying = True
        self.after(max(0, self._say_ns - self.now_ns), self._say_batch)

    def _say_batch(self) -> None:
        batch = [self._words.popleft() for _ in range(min(SAY_MANY, len(self._words)))]
        ended = {run.attempt for word, run in batch if not isinstance(word, Began)}
        batch = [(word, run) for word, run in batch if not (isinstance(word, Began) and run.attempt in ended)]
        self._say_ns = self.now_ns + SAY_APART_NS
        data = encode_command(WorkCommand(said=tuple(word for word, _ in batch)))
        self._insist(data, batch, SAY_AGAIN_MIN_NS)

    def _insist(self, data: bytes, batch: list[tuple[Word, Run]], wait_ns: int) -> None:
        """Say it until it is answered."""

        def heard(reply: Reply) -> None:
            if self.over:
                return
            if reply.error:
                assert reply.error != "BadRequest", reply.why
                self.after(wait_ns, self._insist, data, batch, min(SAY_AGAIN_MAX_NS, 2 * wait_ns))
                return
            self._heard_ns = self.now_ns
            for (word, run), answer in zip(batch, decode_answers(reply.data), strict=True):
                self._answered(word, run, answer)
            self._saying = False
            self._speak()

        self.door.ask(WorkAsk(number=0, command=data), heard)

    def _answered(self, word: Word, run: Run, answer: WorkAnswer) -> None:
        if not isinstance(word, Began):
            for watcher in self.world.work_watchers:
                watcher.answered(word, answer)
            self._forget(run)

    def changed(self) -> None:
        """What is held here is other than it was: say so soon."""
        if not self._changed:
            self._changed = True
            self.after(HOLDS_APART_NS, self._hold_changed)

    def _hold_changed(self) -> None:
        if self._changed:
            self._say_held()

    def _hold(self) -> None:
        self._say_held()
        self.after(HOLDS_EVERY_NS, self._hold)

    def _say_held(self) -> None:
        self._changed = False
        leased: Counter[str] = Counter()
        for crew in self._crews.values():
            leased.update(crew.leased)
        self.door.host.held(TasksHeld(attempts=tuple(self._runs)[:HELD_MAX], leased=dict(leased)))

    def _pulse(self) -> None:
        """See that the line is heard of while something runs here."""
        attempt = next(iter(self._runs), None)
        if attempt is None:
            self._heard_ns = self.now_ns
        elif self.now_ns >= self._heard_ns + PULSE_EVERY_NS:
            self._look(attempt)
            return
        self.after(PULSE_EVERY_NS, self._pulse)

    def _look(self, attempt: Attempt) -> None:
        waits = [True]

        def heard(reply: Reply) -> None:
            if waits and not self.over:
                waits.clear()
                if reply.error:
                    self._mind_silence()
                else:
                    self._heard_ns = self.now_ns
                self.after(PULSE_EVERY_NS, self._pulse)

        def late() -> None:
            if waits:
                waits.clear()
                self._mind_silence()
                self.after(PULSE_EVERY_NS, self._pulse)

        self.door.ask(WorkAsk(number=0, look=f"job {attempt.job}", count=0), heard)
        self.after(PULSE_WAIT_NS, late)

    def _mind_silence(self) -> None:
        """Stop what may not run beside its successor, once the line was silent for long enough to have named one."""
        if self.now_ns >= self._heard_ns + SILENT_NS:
            for run in [run for run in self._runs.values() if not run.spec.twice and not run.dropped]:
                run.dropped = True
                self._end(run)

    def close(self, *, alive: bool) -> None:
        """End; ``alive``: the machine goes on, and sees that this process is gone."""
        self.over = True
        self.world.clients.pop(self.client, None)
        if alive:
            self.feed(lambda now_ns: ClientGone(now_ns=now_ns, client=self.client))
