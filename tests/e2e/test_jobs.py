"""Jobs over real machines: an array runs to its end though nodes are killed all the time and its submitter is gone.

JOBS_TASKS and JOBS_SEED make it longer, or another one; WORK_LONG=1 runs the thousand tasks of the issue.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.lab import LabError, until
from tests.e2e.realm import Machine, realm_of

LONG = os.environ.get("WORK_LONG") == "1"
TASKS = int(os.environ.get("JOBS_TASKS", "1000" if LONG else "50"))
KILLS = 20 if LONG else 2  # of machines, while it runs
SEED = int(os.environ.get("JOBS_SEED", "0"))
RUN_S = 600.0 if LONG else 120.0
UP_S = 40.0
STEP = 'sleep 0.1; echo "$((WOS_TASK * WOS_TASK)) $WOS_ATTEMPT" > made; echo "task $WOS_TASK"'

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200 + RUN_S)]


def test_every_task_ends_once_though_nodes_die_all_the_time(tmp_path: Path) -> None:
    with realm_of(["a", "b", "c", "d"]) as realm:
        *others, submitter = realm.machines
        job = submitter.wos("submit", "--array", f"1-{TASKS}", "--", "sh", "-c", STEP).split()[0]
        submitter.kill()  # acknowledged: from here on it is the others' business
        killed = kill_until(others, job)
        view = look(others, job)
        assert view["state"] == "done", view["why"]
        assert view["counts"] == {"waiting": 0, "running": 0, "done": TASKS, "failed": 0, "dropped": 0}
        assert killed >= 2, "this was to happen under fire"
        check_results(others[0], view, tmp_path / "out", job)
        again = sum(task["number"] > 1 for task in view["tasks"])
        print(f"{TASKS} tasks, {killed} kills, {again} tasks had more than one attempt")
        submitter.up()
        until(lambda: submitter.ask("jobs", job)["state"] == "done", UP_S, "who submitted it finds it done")


def kill_until(machines: list[Machine], job: str) -> int:
    """Kill a machine, start it again, and so on until the job has ended; return how many were killed."""
    dice = random.Random(SEED)
    until_s = time.monotonic() + RUN_S
    killed = 0
    while True:
        pause_until(time.monotonic() + dice.uniform(0.5, 2.0))
        if ended(machines, job):
            return killed
        victim = dice.choice(machines)
        assert time.monotonic() < until_s, f"{job} does not end: {look(machines, job)}"
        if killed == KILLS:
            continue
        victim.kill()
        killed += 1
        pause_until(time.monotonic() + dice.uniform(0.2, 1.0))
        victim.up()


def pause_until(until_s: float) -> None:
    """Let the world go on: what is waited for is time itself, the moment of the next kill."""
    while time.monotonic() < until_s:
        time.sleep(0.02)


def ended(machines: list[Machine], job: str) -> bool:
    try:
        counts = look(machines, job)["counts"]
    except LabError:
        return False  # no majority just now
    return counts["waiting"] + counts["running"] == 0


def look(machines: list[Machine], job: str) -> dict[str, Any]:
    """Ask the first machine that answers."""
    why: LabError | None = None
    for machine in machines:
        try:
            found: dict[str, Any] = machine.ask("jobs", job)
        except LabError as error:
            why = error
        else:
            return found
    assert why is not None
    raise why


def check_results(machine: Machine, view: dict[str, Any], folder: Path, job: str) -> None:
    """Every task made what it should, and what is kept is of the attempt that the line counts."""
    counted = {task["index"]: task["number"] for task in view["tasks"]}
    assert sorted(counted) == list(range(1, TASKS + 1))
    machine.wos("result", job, str(folder), within_s=60)
    made = {int(path.parent.name): path.read_text().split() for path in folder.glob("*/made")}
    assert made == {index: [str(index * index), str(number)] for index, number in counted.items()}


def test_a_log_is_followed_from_another_machine_and_a_task_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    with realm_of(["a", "b"]) as realm:
        a, b = realm.machines
        script = (
            'n=$(cat "$WOS_CHECKPOINT/n" 2>/dev/null || echo 0); echo "from $n on";'
            "trap 'echo $n > \"$WOS_CHECKPOINT/n\"; exit 0' TERM;"
            "while [ $n -lt 40 ]; do n=$((n+1)); echo step $n; sleep 0.1; done; echo done > made"
        )
        words = ("--cpu", str(cores(a)), "--preemptible", "--where", f"name == '{b.name}'")
        job = a.wos("submit", *words, "--", "sh", "-c", script).split()[0]
        following = a.start("logs", "-f", job)
        following.expect(r"^step 3$", 20)
        urgent = a.wos("submit", *words[:2], *words[3:], "--priority", "50", "--", "sh", "-c", "echo first").split()[0]
        until(lambda: a.ask("jobs", urgent)["state"] == "done", 40, "the urgent job gets the place")
        until(lambda: a.ask("jobs", job)["state"] == "done", 60, "the other goes on and ends")
        task = a.ask("jobs", job)["tasks"][0]
        assert task["number"] == 2, "stopped once"
        begun = [line for line in a.wos("logs", job).splitlines() if line.startswith("from ")]
        assert int(begun[0].split()[1]) >= 3, "it went on from where it was"
        assert following.wait(20) == 0
        a.wos("result", job, str(tmp_path / "out"))
        assert (tmp_path / "out" / "made").read_text() == "done\n"


def cores(machine: Machine) -> int:
    return int(machine.nodes()[machine.name]["cpu_capacity"]) // 1000
