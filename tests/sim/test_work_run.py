"""Runs with work: every seed holds, the same story each time, and what was found once stays mended."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tests.sim.work_worlds import after, has_ended, site_of, submit, until

from worldos.kernel.work.replica import Replica
from worldos.model.limits import SECOND
from worldos.sim import crew
from worldos.sim.__main__ import main
from worldos.sim.work_run import WorkSettings, run_work_seed

SEEDS = range(200 if os.environ.get("WORK_LONG") else 2)
DIGEST = """
from hashlib import blake2b
import msgspec
from worldos.sim.work_run import WorkRun, WorkSettings
run = WorkRun(5, WorkSettings(seconds=4))
digest = blake2b(digest_size=16)
class Ear:
    def stepped(self, machine, event, effects):
        digest.update(msgspec.msgpack.encode((run.world.now_ns, machine.number, event, effects)))
    def worked(self, machine, out):
        digest.update(msgspec.msgpack.encode((run.world.now_ns, machine.number, out)))
    def answered(self, word, answer):
        digest.update(msgspec.msgpack.encode((word, answer)))
run.world.watchers.append(Ear())
run.world.work_watchers.append(Ear())
run.run()
told = f"{digest.hexdigest()} {run.world.steps} {run.work.history.index}"
"""


def test_one_seed_is_one_story_whatever_the_order_of_sets() -> None:
    here: dict[str, str] = {}
    exec(DIGEST, here)
    there = subprocess.run(
        [sys.executable, "-c", f"{DIGEST}print(told)"],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == here["told"]


@pytest.mark.parametrize("seed", SEEDS)
def test_seeds(seed: int) -> None:
    outcome = run_work_seed(seed, WorkSettings(seconds=10))
    assert not outcome.failure, "\n".join([outcome.failure, *outcome.trace])
    assert outcome.jobs
    assert outcome.attempts
    assert outcome.messages


@pytest.mark.parametrize("mended", [True, False])
def test_what_runs_at_a_machine_that_is_cut_off_is_lost_when_its_lease_is_over(
    monkeypatch: pytest.MonkeyPatch, mended: bool
) -> None:
    """Seed 148: said at once, its successor began beside it."""
    if not mended:
        monkeypatch.setattr(crew, "CUT_OFF_NS", 0)
    assert bool(run_work_seed(148, WorkSettings()).failure) is not mended


@pytest.mark.parametrize("mended", [True, False])
def test_a_clock_that_was_ahead_does_not_stop_the_time_of_the_work(
    monkeypatch: pytest.MonkeyPatch, mended: bool
) -> None:
    """Seed 22: while it did, a job whose attempt was lost rested for as long as the clock had been ahead."""
    if not mended:
        monkeypatch.setattr(Replica, "time_ms", lambda self, now_ns, site: site.wall_ms(now_ns))
    world, safety = site_of(1)
    home = world.machines[0]
    home.clock.wall_error_ns += 3600 * SECOND
    world.scan(home)
    submit(world, home, ms=5_000)
    until(world, lambda: safety.running.get("job-1.0"))
    home.clock.wall_error_ns -= 3600 * SECOND
    world.scan(home)
    assert home.work is not None
    home.work.host.kill()
    after(world, 60 * SECOND)
    assert has_ended(safety) is mended


def test_the_command_line_runs_work_and_says_how_long_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--work", "--seeds", "1", "--start", "2", "--nodes", "3", "--seconds", "2", "--jobs", "1"]) == 0
    said = capsys.readouterr().out
    assert "1 seeds from 2, 2 s of faults: 0 failed" in said
    assert "all ended after all faults: median" in said
