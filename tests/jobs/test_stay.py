"""Attempts share a resident at a berth, and each is told apart from the others."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agent.agents import RunningAgent

import worldos
from worldos.errors import BadRequest, NotThere, WorldError
from worldos.home import Home
from worldos.jobs.attempt import Run
from worldos.jobs.berth import RUNTIME_OVER, Berth, Ran
from worldos.jobs.outputs import Spool, packed
from worldos.jobs.providers import OURS
from worldos.jobs.shelf import Shelf
from worldos.jobs.stay import Stay
from worldos.jobs.teller import Word
from worldos.lanes.resident import MADE, RESIDENT
from worldos.model.need import Need
from worldos.model.work import Attempt, Finished, JobSpec, Lost, Yielded

NEED = Need(kind="CPU", amount=1000)
MODULE = """
import os, pathlib, time
def task():
    index = int(os.environ["WOS_TASK"])
    if index == 3:
        pathlib.Path("made").write_text("by 3")
    if index == 5:
        at = pathlib.Path(os.environ["WOS_CHECKPOINT"], "at")
        assert os.listdir() == ["little.py"], os.listdir()
        return 0, at.read_bytes() if at.exists() else b"5"
    if index == 7:
        pathlib.Path(os.environ["WOS_CHECKPOINT"], "at").write_text("7 so far")
        print("ready", flush=True)
        time.sleep(60)
    if index == 9:
        os.kill(os.getppid(), 9)
        time.sleep(60)
    return 0, b"%d" % index
"""


class Folder(Shelf):
    """What jobs keep, in a folder: no realm is needed here."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Home(folder), folder)

    def put(self, what: Path | bytes, name: str) -> None:
        (self._folder / name.replace("/", "_")).write_bytes(what if isinstance(what, bytes) else what.read_bytes())

    def pieces(self, name: str) -> Iterator[bytes]:
        path = self._folder / name.replace("/", "_")
        if not path.exists():
            raise NotThere(f"{name} is not there")
        return iter((path.read_bytes(),))


class Desk:
    """Attempts that wait for a berth, and what became of them."""

    def __init__(
        self, berth: Berth, folder: Path, count: int, *, goes_on: dict[int, str] | None = None, **words: Any
    ) -> None:
        (folder / "little.py").write_text(MODULE)
        parcel = Spool(folder / "parcel")
        packed([folder / "little.py"], folder, parcel)
        spec = JobSpec(argv=(RESIDENT, "little"), need=NEED, parcel=parcel.data(), **words)
        checkpoints = goes_on or {}
        self.shelf = Folder(folder)
        self.runs = [Run(Attempt("job1", index, 1), spec, checkpoints.get(index, ""), folder) for index in range(count)]
        self.waiting = deque(self.runs)
        self.ends: dict[int, Ran | Word | None] = {}
        self.begun: list[int] = []
        self.stay = Stay(berth, self.runs[0], "here", OURS, self.shelf)

    def serve(self) -> bool:
        return self.stay.serve(self.waiting.popleft(), self.more, self.began, self.over)

    def more(self, most: int) -> list[Run]:
        return [self.waiting.popleft() for _ in range(min(most, len(self.waiting)))]

    def began(self, run: Run) -> None:
        self.begun.append(run.attempt.index)

    def over(self, run: Run, ran: Ran | Word | WorldError | None) -> None:
        assert run.attempt.index not in self.ends, "an attempt ends once"
        self.ends[run.attempt.index] = run.broken(ran) if isinstance(ran, WorldError) else ran


def contents(pieces: Iterator[bytes]) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        return [(each.name, file.read()) for each in tar if (file := tar.extractfile(each))]


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
    assert [run.made for run in desk.runs if run.attempt.index != 3] == [b"0", b"1", b"2", b"4", b"5", b"6"]


def test_files_belong_to_the_attempt_that_made_them(berth: Berth, tmp_path: Path) -> None:
    desk = Desk(berth, tmp_path, 5)
    assert desk.serve()
    third = desk.runs.pop(3)
    assert contents(third.result.pieces()) == [(MADE, b"3"), ("made", b"by 3")]
    assert not third.made, "its value is among its files"
    assert [run.result.size for run in desk.runs] == [0] * 4


def test_one_that_made_way_goes_on_from_its_checkpoint(berth: Berth, tmp_path: Path) -> None:
    desk = Desk(berth, tmp_path, 8, preemptible=True)
    seventh = desk.runs[7]
    thread = soon(lambda: seventh.make_way("for another"), seventh.log)
    assert desk.serve()
    thread.join()
    word = seventh.ended(desk.ends[7], desk.shelf)  # type: ignore[arg-type]
    assert isinstance(word, Yielded)
    later = Desk(berth, tmp_path, 7, goes_on={5: word.checkpoint})
    assert later.serve()
    assert later.runs[5].made == b"7 so far"
    assert later.runs[6].made == b"6"


def test_a_checkpoint_that_cannot_be_had_is_one_attempts_alone(berth: Berth, tmp_path: Path) -> None:
    desk = Desk(berth, tmp_path, 7, goes_on={5: "gone"})
    assert desk.serve()
    assert isinstance(desk.ends.pop(5), Finished)
    assert sorted(desk.ends) == [0, 1, 2, 3, 4, 6]
    assert all(isinstance(ran, Ran) for ran in desk.ends.values())


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
        if item in {3, 4}:
            Path(f"{item}.txt").write_text(f"by {item}, beside {os.listdir()}")
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
    made = at_home.home.path / "made"
    assert pickle.loads((made / "3" / ".wos-result").read_bytes())[1][0] == 9
    assert sorted(path.name for path in made.rglob("*.txt")) == ["3.txt", "4.txt"]
    assert (made / "4" / "4.txt").read_text() == "by 4, beside ['.wos-call']"


def test_a_command_does_not_run_inside(at_home: RunningAgent) -> None:
    with pytest.raises(BadRequest, match="only functions"):
        worldos.submit(["true"], inside=True)
