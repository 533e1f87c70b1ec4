"""Attempts share a resident at a berth, and each is told apart from the others."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agent.agents import RunningAgent

import worldos
from worldos.errors import BadRequest, WorldError
from worldos.jobs.attempt import Run
from worldos.jobs.berth import RUNTIME_OVER, Berth, Ran
from worldos.jobs.providers import OURS
from worldos.jobs.stay import Stay
from worldos.jobs.teller import Word
from worldos.lanes import parcel
from worldos.lanes.resident import RESIDENT
from worldos.model.need import Need
from worldos.model.work import Attempt, JobSpec, Lost, Yielded

NEED = Need(kind="CPU", amount=1000)
MODULE = """
import os, time
def task():
    index = int(os.environ["WOS_TASK"])
    if index == 7:
        print("ready", flush=True)
        time.sleep(60)
    if index == 9:
        os.kill(os.getppid(), 9)
        time.sleep(60)
    return 0, b"%d" % index
"""


class Desk:
    """Attempts that wait for a berth, and what became of them."""

    def __init__(self, berth: Berth, folder: Path, count: int, **words: Any) -> None:
        (folder / "little.py").write_text(MODULE)
        spec = JobSpec(argv=(RESIDENT, "little"), need=NEED, env={"PYTHONPATH": str(folder)}, **words)
        self.runs = [Run(Attempt("job1", index, 1), spec, "", folder) for index in range(count)]
        self.waiting = deque(self.runs)
        self.ends: dict[int, Ran | Word | None] = {}
        self.begun: list[int] = []
        self.stay = Stay(berth, self.runs[0], "here", OURS, (parcel_of(folder / "little.py"),))

    def serve(self) -> bool:
        return self.stay.serve(self.waiting.popleft(), self.more, self.began, self.over)

    def more(self, most: int) -> list[Run]:
        return [self.waiting.popleft() for _ in range(min(most, len(self.waiting)))]

    def began(self, run: Run) -> None:
        self.begun.append(run.attempt.index)

    def over(self, run: Run, ran: Ran | Word | WorldError | None) -> None:
        assert run.attempt.index not in self.ends, "an attempt ends once"
        self.ends[run.attempt.index] = run.broken(ran) if isinstance(ran, WorldError) else ran


def parcel_of(path: Path) -> Iterator[bytes]:

    pieces: list[bytes] = []
    parcel.pack([(path.name, path)], pieces.append)
    return iter(pieces)


@pytest.fixture
def berth(workers: Any) -> Iterator[Berth]:
    made = Berth(workers.door())
    yield made
    made.close()


def soon(act: Callable[[], None], log: Any) -> threading.Thread:
    def wait() -> None:
        until_s = time.monotonic() + 10
        while b"ready" not in log.tail() and time.monotonic() < until_s:
            time.sleep(0.005)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_each_attempt_ends_with_what_it_made(berth: Berth, tmp_path: Path) -> None:
    desk = Desk(berth, tmp_path, 7)
    assert desk.serve()
    assert sorted(desk.ends) == list(range(7))
    assert all(isinstance(ran, Ran) and ran.code == 0 for ran in desk.ends.values())
    assert [run.made for run in desk.runs] == [b"%d" % index for index in range(7)]


@pytest.mark.parametrize("grace_s", [30, 0])
def test_one_is_stopped_and_the_others_go_on(berth: Berth, tmp_path: Path, grace_s: int) -> None:
    desk = Desk(berth, tmp_path, 9, preemptible=True, grace_s=grace_s)
    seventh, last = desk.runs[7:9]

    def stop() -> None:
        last.make_way("for another")
        seventh.make_way("for another")

    thread = soon(stop, seventh.log)
    assert desk.serve()
    thread.join()
    assert sorted(desk.ends) == list(range(9))
    ran = desk.ends[7]
    assert isinstance(ran, Ran)
    assert ran.stopped == "make way"
    assert isinstance(desk.ends[8], Yielded)


def test_its_time_may_be_over(berth: Berth, tmp_path: Path) -> None:
    desk = Desk(berth, tmp_path, 9, runtime_s=1, grace_s=1)
    assert desk.serve()
    ran = desk.ends[7]
    assert isinstance(ran, Ran)
    assert ran.stopped == RUNTIME_OVER
    assert 7 in desk.begun, "of those that take a moment the line is told"
    assert isinstance(desk.ends[8], Ran)


def test_a_lost_worker_loses_all_that_it_was_given(berth: Berth, tmp_path: Path) -> None:
    desk = Desk(berth, tmp_path, 12)
    desk.runs[7].drop()
    assert not desk.serve()
    ends = [desk.ends[index] for index in sorted(desk.ends)]
    assert desk.ends[7] is None
    assert any(isinstance(end, Lost) for end in ends)
    assert all(isinstance(end, Ran | Lost) for index, end in desk.ends.items() if index != 7)
    assert len(desk.ends) + len(desk.waiting) == 12


def test_functions_share_a_process_from_end_to_end(at_home: RunningAgent) -> None:
    def square(item: int) -> tuple[int, int]:
        if item == 5:
            raise KeyError("five")
        return item * item, os.getpid()

    job = worldos.submit(square, array=range(40), inside=True)
    job.wait(60)
    assert job.view().counts.failed == 1
    found = []
    with pytest.raises(KeyError, match="five"):
        found.extend(job)
    assert [value for value, _ in found] == [0, 1, 4, 9, 16]
    assert len({pid for _, pid in found}) <= 2
    job.save(at_home.home.path / "made")
    assert pickle.loads((at_home.home.path / "made" / "3" / ".wos-result").read_bytes())[1][0] == 9


def test_a_command_does_not_run_inside(at_home: RunningAgent) -> None:
    with pytest.raises(BadRequest, match="only functions"):
        worldos.submit(["true"], inside=True)
