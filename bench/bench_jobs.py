"""How fast does an array of jobs that do nothing go through the line, from submit to the last end?

One node: each task is a process of its own (``true``) under a lease, its end on the disk before it counts; and functions inside a
process of each lease (``submit(..., inside=True)``), as durable. Beside it, from the same run: the bare limit, as many loops as
there are cores that start ``true`` and wait for it; and Parsl (one machine, two workers) with the same, a process a task
(``bash_app``), and functions in its workers (``python_app``). Parsl keeps nothing on the disk. HTCondor cannot be had here; what
is published: "one to two orders of magnitude" below 487 tasks/s, so 5 to 49/s, was what the batch systems of production grids did
in 2007 (I. Raicu et al., "Falkon", SC 2007, abstract; which ones it does not say).

Guess on the back of an envelope: a process is 1.2 ms of a core (start, exec, end), and in a lane another 0.6 ms of Python around
it; the runner takes 0.5 ms for a task, the agent 0.2 ms with some hundred ends in each write: 2.5 ms for each task on two cores,
800 a second, half of the bare limit. Inside there is no process: 0.25 ms, and the writes of the line every 30 ms: 4 000 a second.
``cpu us``: processor time a task of the agent, the runner and the workers, which a busy machine does not spoil so much.

    uv run python bench/bench_jobs.py [--tasks 10000] [--rounds 3] [--parsl PYTHON]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.agent.agents import new_home, running  # noqa: E402

import worldos  # noqa: E402
from worldos.jobs.desk import ENDED, Desk  # noqa: E402
from worldos.jobs.submit import own_desk  # noqa: E402
from worldos.jobs.words import new_job_id  # noqa: E402
from worldos.kernel.line.view import State  # noqa: E402
from worldos.model.need import Need  # noqa: E402
from worldos.model.work import JobSpec, Span  # noqa: E402

LOOK_S = 0.05
NOTHING = "/bin/true"
PARSL = """
import sys, time, tempfile, parsl
from parsl import bash_app, python_app
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider
@python_app
def call(): return None
@bash_app
def command(): return "true"
executor = HighThroughputExecutor(label="here", max_workers_per_node=2, address="127.0.0.1", loopback_address="127.0.0.1",
    provider=LocalProvider(init_blocks=1, max_blocks=1))
with parsl.load(Config(executors=[executor], run_dir=tempfile.mkdtemp(), strategy="none", usage_tracking=0)):
    for app, tasks in ((call, int(sys.argv[1])), (command, int(sys.argv[2]))):
        app().result()
        begun = time.perf_counter()
        for future in [app() for _ in range(tasks)]:
            future.result()
        print(tasks / (time.perf_counter() - begun), flush=True)
"""


def bare_rate(tasks: int) -> float:
    """Start ``true`` and wait for it, from a process for each core; return how many a second."""

    def loop(count: int) -> None:
        code = f"import os\nfor _ in range({count}): os.waitpid(os.posix_spawn({NOTHING!r}, ['true'], {{}}), 0)"
        subprocess.run([sys.executable, "-c", code], check=True)

    cores = len(os.sched_getaffinity(0))
    threads = [threading.Thread(target=loop, args=(tasks // cores,)) for _ in range(cores)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tasks / (time.perf_counter() - begun)


def line_rate(desk: Desk, tasks: int) -> float:
    """Submit an array; return how many of its tasks ended a second, from before it was submitted."""
    job = new_job_id()
    spec = JobSpec(argv=(NOTHING,), need=Need(kind="CPU", amount=1000), array=(Span(1, tasks),))
    begun = time.perf_counter()
    desk.submit(job, spec)
    while (view := desk.job(job)).state not in ENDED:
        time.sleep(LOOK_S)
    took = time.perf_counter() - begun
    assert view.state is State.DONE, view
    desk.forget(job)
    return tasks / took


def inside_rate(tasks: int) -> float:
    """Submit a function for an array; return how many of its calls ended a second, from before it was submitted."""
    begun = time.perf_counter()
    job = worldos.submit(_nothing, array=f"1-{tasks}", inside=True)
    while (view := job.view()).state not in ENDED:
        time.sleep(LOOK_S)
    took = time.perf_counter() - begun
    assert view.state is State.DONE, view
    own_desk().forget(job.id)
    return tasks / took


def _nothing(index: int) -> None:
    """Do nothing."""


def spent_us(pid: int) -> float:
    """Processor time of an agent and all that it has started, as far as that is still there."""
    agent = psutil.Process(pid)
    times = [process.cpu_times() for process in (agent, *agent.children(recursive=True))]
    return sum(each.user + each.system + each.children_user + each.children_system for each in times) * 1e6


def parsl_rates(python: str, tasks: int) -> list[float]:
    """Return how many calls, and how many processes, Parsl runs a second."""
    path = f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        [python, "-c", PARSL, str(tasks), str(max(100, tasks // 10))],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(line) for line in run.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parsl", default="", metavar="PYTHON", help="an interpreter that has it")
    options = parser.parse_args()
    bare, ours, inside, calls, commands, cpu_us = [], [], [], [], [], []
    with tempfile.TemporaryDirectory(prefix="wos-b-") as folder, running(new_home(Path(folder) / "desk")) as agent:
        desk = Desk(agent.ask)
        os.environ["WORLDOS_HOME"] = str(agent.home.path)
        line_rate(desk, 20)
        inside_rate(20)
        for _ in range(options.rounds):
            bare.append(bare_rate(max(200, options.tasks // 10)))
            before_us = spent_us(agent.process.pid)
            ours.append(line_rate(desk, options.tasks))
            between_us = spent_us(agent.process.pid)
            inside.append(inside_rate(options.tasks))
            after_us = spent_us(agent.process.pid)
            cpu_us.append([(between_us - before_us) / options.tasks, (after_us - between_us) / options.tasks])
            if options.parsl:
                one, other = parsl_rates(options.parsl, options.tasks)
                calls.append(one)
                commands.append(other)
    print(f"load {os.getloadavg()[0]:.1f}, {options.tasks} tasks, medians of {options.rounds}")
    rate, limit = statistics.median(ours), statistics.median(bare)
    print(f"  the line, a process a task, durable   {rate:8.0f}/s   {rate / limit:5.2f} of the bare limit")
    print(
        f"  the line, functions inside, durable   {statistics.median(inside):8.0f}/s   {statistics.median(inside) / limit:5.2f}"
    )
    one_us, other_us = (statistics.median(each) for each in zip(*cpu_us, strict=True))
    print(f"  cpu us of a process, of a function    {one_us:8.0f}, {other_us:.0f}")
    print(f"  start and wait, nothing else          {limit:8.0f}/s")
    if calls:
        pairs = [ours_ / theirs for ours_, theirs in zip(ours, commands, strict=True)]
        print(
            f"  Parsl, a process a task               {statistics.median(commands):8.0f}/s   {statistics.median(pairs):5.2f} x"
        )
        pairs = [ours_ / theirs for ours_, theirs in zip(inside, calls, strict=True)]
        print(
            f"  Parsl, functions in its workers       {statistics.median(calls):8.0f}/s   {statistics.median(pairs):5.2f} x"
        )


if __name__ == "__main__":
    main()
