"""What a simulated attempt does is in its command and its name."""

from __future__ import annotations

from worldos.model.limits import MS
from worldos.model.need import Need
from worldos.model.work import Attempt, JobSpec, Yielded
from worldos.sim.attempt import Run, code_of, name_of, service_ns


def spec(ms: int = 50, permille: int = 0) -> JobSpec:
    return JobSpec(argv=("task", str(ms), str(permille)), need=Need(kind="CPU", amount=1000))


def test_a_command_says_how_long_it_takes_and_how_often_it_fails() -> None:
    attempts = [Attempt("job-1", index, 1) for index in range(1000)]
    assert service_ns(spec(50)) == 50 * MS
    assert not any(code_of(each, spec()) for each in attempts)
    assert all(code_of(each, spec(permille=1000)) for each in attempts)
    assert 200 < sum(code_of(each, spec(permille=300)) for each in attempts) < 400
    assert name_of(attempts[7]) == "job-1.7.1"


def test_what_was_stopped_before_it_began_yields_or_says_nothing() -> None:
    run = Run(Attempt("job-1", 0, 1), spec())
    run.asked = "something more urgent"
    assert run.unbegun() == Yielded(attempt=run.attempt, why="something more urgent")
    run.dropped = True
    assert run.unbegun() is None
