"""Sites that keep work, for tests: true clocks, nothing broken, every step looked at; and how one word is asked and answered."""

from __future__ import annotations

from collections.abc import Callable

from worldos.kernel.work.asks import Reply
from worldos.kernel.work.words import decode_answers, encode_command
from worldos.model.limits import MS, SECOND
from worldos.model.need import Need
from worldos.model.work import Applied, JobId, JobSpec, Span, Submit, WorkAnswer, WorkCommand
from worldos.model.work_wire import WorkAsk
from worldos.sim.machine import Machine
from worldos.sim.realm_checkers import RealmSafety
from worldos.sim.work_checkers import WorkSafety
from worldos.sim.work_history import Said
from worldos.sim.world import World


def site_of(*cores: int, seed: int = 2) -> tuple[World, WorkSafety]:
    """Machines with so many cores each, whose council and work stand."""
    world = World(seed, len(cores), drift=False, with_realms=True, with_work=True)
    realms = RealmSafety(world)
    world.watchers.append(realms)
    safety = WorkSafety(world, realms, strict=True)
    for machine, count in zip(world.machines, cores, strict=True):
        machine.size = (count * 1000, 4 << 30)
        world.scan(machine)
    after(world, 9 * SECOND)  # by then all of three sit in the council
    return world, safety


def after(world: World, delay_ns: int) -> None:
    world.run_until(world.now_ns + delay_ns)


def until(world: World, holds: Callable[[], object], within_ns: int = 60 * SECOND) -> None:
    end_ns = world.now_ns + within_ns
    while not holds():
        assert world.now_ns < end_ns, "it does not come about"
        after(world, 50 * MS)


def ask(world: World, machine: Machine, *said: Said, wait_ms: int = 0) -> list[Reply]:
    """Ask; return where the reply will be."""
    replies: list[Reply] = []
    assert machine.work is not None
    command = encode_command(WorkCommand(said=said))
    machine.work.ask(WorkAsk(number=0, command=command, wait_ms=wait_ms), replies.append)
    return replies


def said(world: World, machine: Machine, *words: Said) -> tuple[WorkAnswer, ...]:
    """Ask, and let time pass until it is answered."""
    replies = ask(world, machine, *words)
    until(world, lambda: replies)
    assert not replies[0].error, replies
    return decode_answers(replies[0].data)


def submit(
    world: World,
    machine: Machine,
    job: str = "job-1",
    *,
    tasks: int = 1,
    ms: int = 100,
    milli: int = 1000,
    fails: int = 0,
    **more: object,
) -> None:
    """Put a job into the line."""
    spec = JobSpec(
        argv=("task", str(ms), str(fails)),
        need=Need(kind="CPU", amount=milli),
        array=(Span(1, tasks),) if tasks > 1 else (),
        **more,  # type: ignore[arg-type]
    )
    assert said(world, machine, Submit(job=JobId(job), spec=spec, by=machine.id)) == (Applied(),)


def has_ended(safety: WorkSafety, job: str = "job-1") -> bool:
    """Tell whether the line has the end of a job."""
    known = safety.history.job(job)
    return known is not None and bool(known.ended)
