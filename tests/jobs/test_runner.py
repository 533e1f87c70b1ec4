"""The runner of a real agent: it survives its own death, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests.agent.agents import RunningAgent, new_home, running, until

from worldos.errors import NodeGone, WorkerLost, WorldError
from worldos.jobs.attempt import Run
from worldos.jobs.desk import ENDED, Desk
from worldos.jobs.limits import CUT_OFF_S, SILENT_S
from worldos.jobs.runner import Runner
from worldos.jobs.shelf import Shelf
from worldos.jobs.words import new_job_id
from worldos.kernel.line.view import State
from worldos.model.ids import LeaseId, NodeId
from worldos.model.need import LeaseTerms, Need
from worldos.model.runner import LogAsk
from worldos.model.work import Attempt, JobId, JobSpec, Span
from worldos.model.work_wire import Task, TasksGiven, TasksStop
from worldos.sdk.connection import Connection

NEED = Need(kind="CPU", amount=500)


def put(desk: Desk, script: str, last: int = 0, **words: object) -> JobId:
    job = new_job_id()
    array = (Span(0, last),) if last else ()
    desk.submit(job, JobSpec(argv=("sh", "-c", script), need=NEED, array=array, **words))  # type: ignore[arg-type]
    return job


def runner_of(agent: RunningAgent) -> psutil.Process | None:
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "worldos.jobs.runner" in line and str(agent.home.path) in line:
            return process
    return None


def end_of(desk: Desk, job: str) -> State:
    until(lambda: desk.job(job).state in ENDED, f"{job} ends", 60)
    return desk.job(job).state


def test_a_killed_runner_is_followed_by_another_and_each_task_ends_once(agent: RunningAgent, desk: Desk) -> None:
    job = put(desk, "sleep 0.3; echo $WOS_ATTEMPT > made", last=5, twice=True)
    until(lambda: desk.job(job).counts.running > 0, "it runs", 30)
    runner = until(lambda: runner_of(agent), "the runner is there")
    runner.kill()
    assert end_of(desk, job) == State.DONE
    assert desk.job(job).counts.done == 6
    again = runner_of(agent)
    assert again is not None
    assert again.pid != runner.pid


def test_all_of_it_ends_with_the_agent(tmp_path: Path) -> None:
    home = new_home(Path(f"/tmp/wos-r-{os.getpid()}"))
    with running(home) as agent:
        desk = Desk(agent.ask)
        job = put(desk, "echo $$; sleep 1000")
        until(lambda: desk.task(job, 0).begun_ms and desk.log(job, 0, 0).data, "it says which process it is", 30)
        pid = int(desk.log(job, 0, 0).data)
        runner = runner_of(agent)
        assert runner is not None
        assert psutil.pid_exists(pid)
    until(lambda: not runner.is_running() and not psutil.pid_exists(pid), "runner and task are gone")
    subprocess.run(["rm", "-r", str(home.path)], check=True)


def test_a_runner_without_an_agent_says_why_it_does_not_stand(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "worldos.jobs.runner", str(tmp_path), "n", "a"],
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert run.stdout.startswith("failed ") or run.returncode == 0  # its input has ended at once


def test_a_task_is_cancelled_while_it_runs(agent: RunningAgent, desk: Desk) -> None:
    job = put(desk, "echo $$; trap '' TERM; while :; do sleep 0.1; done", grace_s=1)
    until(lambda: desk.task(job, 0).begun_ms and desk.log(job, 0, 0).data, "it runs", 30)
    pid = int(desk.log(job, 0, 0).data)
    desk.cancel(job)
    until(lambda: not psutil.pid_exists(pid), "its process ends after the grace", 20)
    assert desk.job(job).state == State.DROPPED


@pytest.mark.parametrize("twice", [False, True])
def test_who_hears_of_no_line_stops_what_may_not_run_beside_its_successor(
    agent: RunningAgent, tmp_path: Path, *, twice: bool
) -> None:
    connection = Connection(agent.home.socket_file)
    runner = Runner(connection, connection.node(), Shelf(agent.home, tmp_path), tmp_path)
    try:
        spec = JobSpec(argv=("sh", "-c", "echo on; sleep 1000"), need=NEED, twice=twice, grace_s=1)
        attempt = Attempt("nosuchjob1", 0, 1)
        runner.given(TasksGiven(job=JobId(attempt.job), spec=spec, tasks=(Task(0, 1),)))
        ask = LogAsk(request=1, attempt=attempt, offset=0)
        until(lambda: runner.piece(ask).data == b"on\n", "it runs", 30)
        runner._mind_silence()
        assert not runner.piece(ask).ended, "the line was heard a moment ago"
        until(lambda: not runner._teller._words, "what it had to say is said")
        runner._heard_s = runner._teller.heard_s = time.monotonic() - 2 * SILENT_S
        runner._mind_silence()
        if twice:
            assert not runner.piece(ask).ended
            runner.stop(TasksStop(attempts=(attempt,)))
        until(lambda: runner.piece(ask).ended, "it is stopped", 20)
    finally:
        runner.close()
        connection.close()


@pytest.mark.parametrize(
    ("error", "twice", "waits"), [(NodeGone, False, True), (NodeGone, True, False), (WorkerLost, False, False)]
)
def test_what_runs_at_a_node_that_is_cut_off_is_lost_when_its_lease_there_is_over(
    agent: RunningAgent,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[WorldError],
    *,
    twice: bool,
    waits: bool,
) -> None:
    connection = Connection(agent.home.socket_file)
    runner = Runner(connection, connection.node(), Shelf(agent.home, tmp_path), tmp_path)
    try:
        run = Run(Attempt("nosuchjob1", 0, 1), JobSpec(argv=("true",), need=NEED, twice=twice), "", tmp_path)
        runner._runs[run.attempt] = run
        there = LeaseTerms(lease=LeaseId("l"), node=NodeId("there"), boot=1, need=NEED, resources=(), ttl_ns=1)
        runner._at_end(there, run, error("it is gone"))
        if waits:
            runner.give_up()
            assert runner._cut_off, "it is held, so the line gives it to nobody"
            assert run.attempt in runner._runs
            now_s = time.monotonic()
            monkeypatch.setattr(time, "monotonic", lambda: now_s + CUT_OFF_S)
            runner.give_up()
            monkeypatch.undo()
        until(lambda: run.attempt not in runner._runs, "the line has heard of it", 20)
        assert not runner._cut_off
    finally:
        runner.close()
        connection.close()
