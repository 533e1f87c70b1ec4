"""One run: a world with programs under faults, then healing, in which progress is required in bounded time.

1. Faults: programs come and go on every machine while things break. The checkers look after every step.
2. Healing: no new program, no fault. In ``HEAL_NS`` every program must have an outcome for each of its calls, every node must
   see every other with its latest offer.
3. Probing: on every machine a use that fits must be granted within ``PROBE_NS``, and its calls answered.
4. Rest: nobody uses anything; whatever was lent must have come back.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from worldos.model.limits import MS, OFFER_REFRESH_NS, SECOND
from worldos.model.need import Need
from worldos.model.raft import AppendAnswer, AppendAsk
from worldos.model.realm import RaftSaid
from worldos.model.resource import Kind
from worldos.sim.checkers import Replay, Safety, Violation, check_answers, check_calls, check_empty, check_well
from worldos.sim.faults import Faults
from worldos.sim.load import Load
from worldos.sim.programs import Plan, Program
from worldos.sim.world import World

HEAL_NS: Final = 30 * SECOND  # suspicion 8 s, a ttl of 10 s, patience 6 s; a lost offer is told again within 20 s
PROBE_NS: Final = 3 * SECOND
REST_NS: Final = 13 * SECOND  # the longest ttl and its grace, at the slowest clock
PROGRAMS_EVERY_NS: Final = 1500 * MS  # on each machine
UNTOLD: Final = {  # too many, and seldom of interest
    *("Ping", "Ack", "PingRequest", "Nack", "ClockTicked", "PathMeasured"),
    *("OfferTold", "ResourcesScanned", "KeyLogHave", "PeersTold", "Persist", "Persisted"),
}
WORD_CHARS: Final = 40

assert HEAL_NS > OFFER_REFRESH_NS

PROBE: Final = Plan(
    needs=(Need(kind=Kind.CPU, amount=500),), ttl_ns=5 * SECOND, calls=3, retries=3, service_ns=MS, rest_ns=MS
)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What is run: all but the seed."""

    nodes: int = 0  # 0: three to six, by chance
    seconds: int = 20
    harsh: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came out of one seed. ``failure`` is empty when all was well."""

    seed: int
    steps: int
    programs: int
    granted: int
    failure: str = ""
    trace: tuple[str, ...] = ()


class Run:
    """One seed, run."""

    def __init__(self, seed: int, settings: Settings) -> None:
        nodes = settings.nodes or 3 + seed % 4
        self.settings = settings
        self.world = World(seed, nodes, harsh=settings.harsh, in_bytes=seed % 8 == 0)
        self.safety = Safety(self.world)
        self.world.watchers.append(self.safety)
        self.load = Load(self.world, self.safety, PROGRAMS_EVERY_NS)
        self.replay: Replay | None = None

    @property
    def programs(self) -> list[Program]:
        """All programs that ever began."""
        return self.load.programs

    def run(self) -> None:
        """Run all phases; Violation says what did not hold."""
        world, dice = self.world, self.world.dice
        begin_ns = world.now_ns
        self.load.begin()
        faults = Faults(world, harsh=self.settings.harsh)
        world.later(int(dice.random() * self.settings.seconds * SECOND), self._record)
        world.run_until(begin_ns + self.settings.seconds * SECOND)
        self.load.stop()
        faults.stop()
        world.run_until(world.now_ns + HEAL_NS)
        check_calls(world, self.programs)
        check_answers(self.programs)
        check_well(world)
        self._probe()
        world.run_until(world.now_ns + REST_NS)
        self.safety.look_at_all()
        check_empty(world)
        if self.replay is not None:
            self.replay.check()

    def _record(self) -> None:
        running = [machine for machine in self.world.machines if machine.running]
        if self.load.busy and running:
            self.replay = Replay(running[int(self.world.dice.random() * len(running))])
            self.world.watchers.append(self.replay)

    def _probe(self) -> None:
        world = self.world
        for machine in world.alive():
            probe = self.load.start(machine, PROBE)
            world.run_until(world.now_ns + PROBE_NS)
            if not probe.granted:
                raise Violation(f"{machine.name} got nothing though all is free: {probe.refusal or 'no answer'}")
            if not probe.over or any(each.failure for each in probe.ended):
                raise Violation(f"the calls of {machine.name} have no results though all is well")


def run_seed(seed: int, settings: Settings) -> Outcome:
    """Run one seed to its end, or to the first thing that does not hold."""
    run = Run(seed, settings)
    failure = failure_of(run.run) or failure_of(lambda: check_calls(run.world, run.programs))
    world = run.world
    return Outcome(
        seed=seed,
        steps=world.steps,
        programs=len(run.programs),
        granted=sum(bool(program.granted) for program in run.programs),
        failure=failure,
        trace=() if not failure else story(world),
    )


def failure_of(run: Callable[[], None]) -> str:
    """Run, and say in a sentence what did not hold; nothing when all did."""
    try:
        run()
    except Violation as violation:
        return str(violation)
    except Exception as error:  # noqa: BLE001 - whatever a node raises under faults is a finding, with its seed
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} ({where.filename.rsplit('/', 1)[-1]}:{where.lineno})"
    return ""


def story(world: World, lines: int = 60) -> tuple[str, ...]:
    """Tell the last steps, one a line, without the pings."""
    told: list[tuple[int, str]] = [(at_ns, f"       -- {text}") for at_ns, text in world.notes]
    for at_ns, number, event, effects in world.trace:
        text = _show(world, event)
        if text:
            told.append((at_ns, f"  n{number:<2} <- {text}"))
        for effect in effects:
            text = _show(world, effect)
            if text:
                told.append((at_ns, f"  n{number:<2}    -> {text}"))
    told.sort(key=lambda each: each[0])
    return tuple(f"{at_ns / SECOND:10.4f}{text}" for at_ns, text in told[-lines:])


def _show(world: World, struct: msgspec.Struct) -> str:
    message = getattr(struct, "message", struct)
    name = type(message).__name__
    if name in UNTOLD or (type(message) is RaftSaid and _is_beat(message)):
        return ""
    names = {str(machine.id): machine.name for machine in world.machines}
    fields = msgspec.structs.asdict(message)
    fields.pop("now_ns", None)
    words = " ".join(f"{key}={_brief(value, names)}" for key, value in fields.items())
    node = getattr(struct, "node", "") if message is not struct else ""
    return f"{name} {words}" + (f"  (n: {names.get(node, '?')})" if node else "")


def _is_beat(said: RaftSaid) -> bool:
    """Tell whether a leader only shows that it is there, or is answered that."""
    message = said.message
    return type(message) is AppendAnswer or (type(message) is AppendAsk and not message.entries)


def _brief(value: object, names: Mapping[str, str]) -> str:
    lease = getattr(value, "lease", None)
    if lease is not None:
        return str(lease)
    if isinstance(value, (tuple, list)):
        return "[" + ",".join(_brief(each, names) for each in value[:4]) + "]"
    if isinstance(value, dict):
        return ",".join(f"{key}:{_brief(each, names)}" for key, each in value.items())
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, Need):
        return f"{value.amount}-{value.kind}"
    return names.get(str(value), str(value)[:WORD_CHARS])
