"""Programs that use a site's work: they submit jobs, cancel and retry them, put messages, take them and are done with them.

Each insists on its words until they are answered, as the SDK does, and ends with its machine: then nobody knows whether what it
said last came to pass, and both are right. What was acknowledged is kept for the checkers, and looked for in the log at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from worldos.kernel.work.asks import Reply
from worldos.kernel.work.words import decode_answers, encode_command
from worldos.model.limits import MS, SECOND
from worldos.model.need import Need
from worldos.model.resource import Kind
from worldos.model.work import (
    Ack,
    Applied,
    Cancel,
    Extend,
    Forget,
    JobId,
    JobSpec,
    Message,
    Nack,
    Put,
    QueueMade,
    Retry,
    Span,
    Submit,
    Take,
    WorkAnswer,
    WorkCommand,
)
from worldos.model.work_wire import WorkAsk
from worldos.sim.checkers import Violation
from worldos.sim.machine import Machine
from worldos.sim.work_history import Said

if TYPE_CHECKING:
    from random import Random

    from worldos.sim.work_checkers import WorkSafety
    from worldos.sim.world import World

AGAIN_NS: Final = 500 * MS
REST_NS: Final = 200 * MS
EVERY_NS: Final = 1300 * MS  # on each machine, somebody says something
LONG_MS: Final = 25_000  # longer than a silent runner is waited for
GIVES_UP: Final = 0.1  # of those who submit or put: they ask once, and go
QUEUES: Final = (QueueMade(queue="many", deliveries_max=1000), QueueMade(queue="few", deliveries_max=3))
Heard = Callable[[WorkAnswer], None]


class Taken:
    """One consumer: a program that takes messages, one taking after the other."""

    def __init__(self, load: WorkLoad, machine: Machine, queue: str) -> None:
        self.load = load
        self.machine = machine
        self.queue = queue
        self.name = f"cons-{machine.number}-{machine.boot}-{queue}"
        self.request = 0

    def take(self) -> None:
        """Take the next messages."""
        dice = self.load.world.dice
        self.request += 1
        said = Take(
            queue=self.queue,
            consumer=self.name,
            request=self.request,
            count=1 + int(dice.random() * 3),
            visible_ms=_one_of(dice, (500, 2000, 5000)),
        )
        before = frozenset(self.load.done)
        wait_ms = _one_of(dice, (0, 0, 1000))
        self.load.insist(self.machine, said, lambda answer: self._took(answer, before), wait_ms=wait_ms)

    def _took(self, answer: WorkAnswer, before: frozenset[tuple[str, bytes]]) -> None:
        world, load = self.load.world, self.load
        messages = answer.messages if isinstance(answer, Applied) else ()
        for message, _ in messages:
            if (self.queue, message.id) in before:
                raise Violation(
                    f"{self.name} was handed {message.id.hex()}, with which somebody was done before it asked"
                )
            service_ns = int(world.dice.random() ** 3 * SECOND)
            world.later(service_ns, load.soon, self.machine, self.machine.boot, self._use, message.id)
        rest_ns = MS if messages else REST_NS
        world.later(rest_ns, load.soon, self.machine, self.machine.boot, self.take)

    def _use(self, name: bytes) -> None:
        """Be done with a message, most often."""
        share = self.load.world.dice.random()
        said: Ack | Nack | Extend
        if share < 0.85 or not self.load.busy:
            said = Ack(queue=self.queue, consumer=self.name, ids=(name,))
        elif share < 0.92:
            said = Nack(queue=self.queue, consumer=self.name, ids=(name,))
        elif share < 0.96:
            said = Extend(queue=self.queue, consumer=self.name, ids=(name,), visible_ms=1000)
        else:
            return  # it forgets it: others get it, in time
        self.load.insist(self.machine, said, lambda answer: self._is_done(said, answer))

    def _is_done(self, said: Ack | Nack | Extend, answer: WorkAnswer) -> None:
        if isinstance(said, Ack) and isinstance(answer, Applied):
            self.load.acknowledged(self.queue, [name for name in said.ids if name not in answer.missed])


class WorkLoad:
    """All programs of a world that use its work, and what they were promised."""

    def __init__(self, world: World, safety: WorkSafety) -> None:
        self.world = world
        self.busy = True
        self.jobs: set[str] = set()  # that were acknowledged
        self.put: dict[str, set[bytes]] = {each.queue: set() for each in QUEUES}
        self.done: dict[tuple[str, bytes], None] = {}  # acks that were acknowledged
        self.said = 0
        self._history = safety.history
        self._numbers = 0
        self._known: list[str] = []  # of jobs, acknowledged or not
        self._consumers: set[tuple[int, int]] = set()
        self._loaded = 0

    def begin(self) -> None:
        """Let programs begin on machines that are new in the world."""
        for machine in self.world.machines[self._loaded :]:
            self.world.later(int(self.world.dice.random() * EVERY_NS), self._turn, machine)
        self._loaded = len(self.world.machines)

    def stop(self) -> None:
        """Nothing new is begun; consumers go on."""
        self.busy = False

    def _turn(self, machine: Machine) -> None:
        dice = self.world.dice
        if machine.lost:
            return
        if machine.running:
            if (machine.number, machine.boot) not in self._consumers:
                self._consumers.add((machine.number, machine.boot))
                for made in QUEUES:
                    self._consume(machine, made)
            if self.busy:
                self._act(machine)
        self.begin()
        self.world.later(int(dice.expovariate(1.0) * EVERY_NS), self._turn, machine)

    def _consume(self, machine: Machine, made: QueueMade) -> None:
        """Let a program make a queue, if it is not there, and take from it."""

        def heard(answer: WorkAnswer) -> None:
            del answer
            Taken(self, machine, made.queue).take()

        self.insist(machine, made, heard)

    def _act(self, machine: Machine) -> None:
        dice = self.world.dice
        share = dice.random()
        if share < 0.4:
            self._submit(machine)
        elif share < 0.8:
            self._put(machine)
        elif self._known:
            job = self._known[int(dice.random() * len(self._known))]
            word = Cancel(job=job) if share < 0.87 else Retry(job=job) if share < 0.97 else Forget(job=job)
            self.insist(machine, word, _nothing)

    def _submit(self, machine: Machine) -> None:
        dice = self.world.dice
        self._numbers += 1
        job = f"job-{self._numbers}"
        spec = self._compared(self._spec(dice))
        self._known.append(job)

        def heard(answer: WorkAnswer) -> None:
            if isinstance(answer, Applied):
                self.jobs.add(job)
                if self._history.job(job) is None and JobId(job) not in self._history.work.line.book.forgotten:
                    raise Violation(f"job {job} was acknowledged, and the log does not have it")

        said = Submit(job=JobId(job), spec=spec, by=machine.id)
        self.insist(machine, said, heard, tries=1 if dice.random() < GIVES_UP else 0)

    def _spec(self, dice: Random) -> JobSpec:
        jobs = self._history.work.line.book.jobs
        others = [job for job in self._known if JobId(job) in jobs]
        after = (others[int(dice.random() * len(others))],) if others and dice.random() < 0.2 else ()
        ms = _one_of(dice, (5, 50, 50, 300, 300, 300, 2000, 2000, 6000, LONG_MS))
        tasks = 1 + int(dice.random() ** 3 * (12 if ms < LONG_MS else 2))
        array = (Span(1, tasks),) if tasks > 1 else ()
        wall_s = self._history.work.wall_ms // 1000
        memory_bytes = 1 << 30 if dice.random() < 0.2 else 0
        return JobSpec(
            argv=("task", str(ms), str(_one_of(dice, (0, 0, 100, 400)) if ms < LONG_MS else 0)),
            need=Need(kind=Kind.CPU, amount=_one_of(dice, (250, 500, 1000)), memory_bytes=memory_bytes),
            array=array,
            after=after,
            deadline_s=wall_s + 1 + int(dice.random() * 60) if wall_s and dice.random() < 0.1 else 0,
            priority=_one_of(dice, (-1, 0, 0, 1)),
            retries=_one_of(dice, (0, 1, 3)),
            twice=dice.random() < 0.2,
            preemptible=dice.random() < 0.3,
            grace_s=1,
            together=_one_of(dice, (0, 0, 0, 2)),
        )

    def _compared(self, spec: JobSpec) -> JobSpec:
        """Return a job of which the outcomes are compared, where some machines are of others; those agree, also in failing."""
        if not any(machine.owner for machine in self.world.machines):
            return spec
        copies = (0, 2, 1, 3)[self._numbers % 4]
        return replace(spec, copies=copies, argv=spec.argv if copies else (*spec.argv[:2], "0"))

    def _put(self, machine: Machine) -> None:
        dice = self.world.dice
        queue = QUEUES[int(dice.random() * len(QUEUES))].queue
        messages = []
        for _ in range(1 + int(dice.random() * 3)):
            self._numbers += 1
            messages.append(Message(self._numbers.to_bytes(8, "big"), b"x" * 20))

        def heard(answer: WorkAnswer) -> None:
            if not isinstance(answer, Applied):
                return
            for message in messages:
                if not self.has(queue, message.id):
                    raise Violation(f"message {message.id.hex()} was acknowledged, and the log does not have it")
                self.put[queue].add(message.id)

        self.insist(
            machine, Put(queue=queue, messages=tuple(messages)), heard, tries=1 if dice.random() < GIVES_UP else 0
        )

    def has(self, queue: str, name: bytes) -> bool:
        """Tell whether the log has a message: it waits, somebody is done with it, or it is a dead letter."""
        if name in self._history.acked.get(queue, ()):
            return True
        return any(
            name in kept.entries
            for kept in self._history.work.queues.kept()
            if kept.made.queue in {queue, f"{queue}.dead"}
        )

    def acknowledged(self, queue: str, names: list[bytes]) -> None:
        """Somebody heard that these are done with."""
        for name in names:
            if name not in self._history.acked.get(queue, ()):
                raise Violation(f"an ack of {name.hex()} was acknowledged, and the log does not have it")
            self.done[queue, name] = None

    # -- asking ------------------------------------------------------------------------------------------------------------

    def insist(self, machine: Machine, said: Said, heard: Heard, *, wait_ms: int = 0, tries: int = 0) -> None:
        """Have a word answered; say it again while nobody answers. ``tries``: so often at most; 0: as long as it takes."""
        door = machine.work
        if door is None or door.over:
            return
        self.said += 1
        boot = machine.boot

        def replied(reply: Reply) -> None:
            if reply.error:
                if reply.error not in {"Unreachable", "OverQuota"}:
                    raise Violation(f"{type(said).__name__} was refused: {reply.error} {reply.why}")
                if tries != 1:
                    again = lambda: self.insist(machine, said, heard, wait_ms=wait_ms, tries=max(0, tries - 1))  # noqa: E731
                    self.world.later(AGAIN_NS, self.soon, machine, boot, again)
                return
            (answer,) = decode_answers(reply.data)
            heard(answer)

        door.ask(WorkAsk(number=0, command=encode_command(WorkCommand(said=(said,))), wait_ms=wait_ms), replied)

    def soon(self, machine: Machine, boot: int, call: Callable[..., None], *arguments: object) -> None:
        """Let a program go on, if its machine still lives that life."""
        if machine.boot == boot and machine.up:
            self.world.on(machine, self._still, machine, boot, call, *arguments)

    def _still(self, machine: Machine, boot: int, call: Callable[..., None], *arguments: object) -> None:
        if machine.boot == boot and machine.running:
            call(*arguments)


def _nothing(answer: WorkAnswer) -> None:
    del answer


def _one_of(dice: Random, choices: tuple[int, ...]) -> int:
    return choices[int(dice.random() * len(choices))]
