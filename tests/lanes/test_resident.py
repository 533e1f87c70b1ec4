"""A resident does task after task in one process, and says of each how it ended."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from harness import Here
from test_worker import Wire

from worldos.lanes import parcel, wire
from worldos.lanes.resident import AHEAD, MADE, RESIDENT
from worldos.lanes.wire import Ended, FrameKind, How


class Home:
    """A stay at a worker: tasks are named, ends are heard."""

    def __init__(self, talk: Wire, folder: Path) -> None:
        self.talk = talk
        self._folder = folder
        self.out = self.seen = b""
        self.by_task: dict[int, list[str]] = {}
        self.files = b""

    def begin(self, function: Callable[..., Any], count: int = 100) -> None:
        asked = self._folder / ".wos-call"
        asked.write_bytes(cloudpickle.dumps((function, (), {}, list(range(count)))))
        self.talk.say(FrameKind.ROOM, None)
        parcel.pack([(".wos-call", asked)], lambda data: self.talk.say(FrameKind.INPUT, None, data))
        self.talk.say(FrameKind.INPUT, None)
        self.talk.say(FrameKind.EXEC, wire.Exec(argv=[RESIDENT, "worldos.jobs.call"]))

    def tasks(self, *indices: int) -> None:
        self.talk.say(FrameKind.TASKS, [(index, 1) for index in indices])

    def ends(self, count: int) -> list[Ended]:
        """Hear of so many ends; keep what was put out and made meanwhile."""
        found: list[Ended] = []
        while len(found) < count:
            frame = self.talk.hear()
            if frame.kind == FrameKind.ENDED:
                found += frame.meta
                if self.out:
                    self.by_task[frame.meta[0].index] = sorted(self.out.decode().split())
                    self.seen, self.out = self.seen + self.out, b""
            elif frame.kind == FrameKind.OUTPUT:
                self.files += frame.data
            else:
                self.out += frame.data
        return found


@pytest.fixture
def home(here: Here, tmp_path: Path) -> Iterator[Home]:
    _lease, doors = here.open(workers=1)
    talk = Wire(doors[0])
    talk.greet()
    yield Home(talk, tmp_path)
    talk.sock.close()


def value(ended: Ended) -> Any:
    return pickle.loads(ended.made)[1]


def test_many_tasks_share_one_process_and_end_in_order(home: Home) -> None:
    home.begin(lambda index: (index, os.getpid(), os.environ["WOS_TASK"]))
    home.tasks(*range(3 * AHEAD))
    ends = home.ends(3 * AHEAD)
    assert [ended.index for ended in ends] == list(range(3 * AHEAD))
    assert {ended.code for ended in ends} == {0}
    assert len({value(ended)[1] for ended in ends}) == 1
    assert [value(ended)[2] for ended in ends[:3]] == ["0", "1", "2"]


def test_what_a_task_raises_is_its_own(home: Home) -> None:
    home.begin(lambda index: 1 // index)
    home.tasks(0, 1)
    first, second = home.ends(2)
    assert (first.code, second.code, value(second)) == (1, 0, 1)
    assert isinstance(value(first), ZeroDivisionError)
    assert b"ZeroDivisionError" in home.seen


def test_what_is_put_out_comes_before_the_end_of_its_task(home: Home) -> None:
    def puts_out(index: int) -> None:
        if index % 2:
            print(f"[{index}]")
            subprocess.run(["echo", f"({index})"], check=True)

    home.begin(puts_out)
    home.tasks(*range(12))
    home.ends(12)
    assert home.by_task == {index: [f"({index})", f"[{index}]"] for index in range(1, 12, 2)}


def test_a_large_result_comes_as_a_file(home: Home, tmp_path: Path) -> None:
    home.begin(lambda index: b"x" * 5000)
    home.tasks(7)
    (ended,) = home.ends(1)
    assert ended.made == b""
    pieces = iter((home.files, b""))
    assert parcel.unpack(tmp_path / ".", lambda: next(pieces)) == [MADE]
    assert pickle.loads((tmp_path / MADE).read_bytes()) == ("returned", b"x" * 5000)


def test_files_come_with_the_value_of_who_made_them(home: Home, tmp_path: Path) -> None:
    def makes(index: int) -> list[str]:
        if index % 2:
            Path("out").mkdir()
            Path("out", f"{index}.txt").write_text(f"by {index}")
        return sorted(os.listdir())

    home.begin(makes)
    home.tasks(*range(4))
    ends = home.ends(4)
    assert [value(ended) for ended in ends if ended.made] == [[".wos-call"]] * 2
    pieces = iter((home.files, b""))  # one tar after the other
    assert sorted(parcel.unpack(tmp_path / ".", lambda: next(pieces))) == [MADE, "out/1.txt"]
    assert home.files.count(b"by 3") == 1


def test_a_stopped_task_leaves_a_checkpoint_and_goes_on_from_it(home: Home, tmp_path: Path) -> None:
    def counts(index: int) -> str:
        at = Path(os.environ["WOS_CHECKPOINT"], "n")
        came = at.read_text() if at.exists() else "nothing"
        at.write_text(f"{index} was here")
        if index == 1 and came == "nothing":
            print("ready", flush=True)
            time.sleep(60)
        return came

    home.begin(counts)
    home.tasks(0, 1, 2)
    (ended,) = home.ends(1)
    while b"ready" not in home.out:
        home.out += home.talk.hear().data
    home.talk.say(FrameKind.STOP, (1, int(signal.SIGTERM)))
    stopped, other = home.ends(2)
    assert (value(ended), stopped.code, value(other)) == ("nothing", 128 + signal.SIGTERM, "nothing")
    assert b"1 was here" in home.files
    home.tasks(3)
    home.talk.say(FrameKind.INPUT, None, home.files)
    home.talk.say(FrameKind.INPUT, None)
    home.talk.say(FrameKind.TASKS, [(1, 2), (4, 1)])
    assert [value(each) for each in home.ends(3)] == ["nothing", "1 was here", "nothing"]


def test_a_task_that_ends_its_process_ends_alone(home: Home) -> None:
    def ends(index: int) -> int:
        if index == 1:
            os._exit(3)
        if index == 2:
            os.kill(os.getpid(), signal.SIGSEGV)
        return index

    home.begin(ends)
    home.tasks(*range(5))
    ended = home.ends(5)
    assert [(each.index, each.code) for each in ended] == [(0, 0), (1, 3), (2, 128 + signal.SIGSEGV), (3, 0), (4, 0)]
    assert "ended the process" in ended[1].why


def test_a_stop_is_for_one_task_alone(home: Home) -> None:
    def waits(index: int) -> int:
        if index in {0, 3}:
            print("ready", flush=True)
            time.sleep(60)
        return index

    home.begin(waits)
    home.tasks(*range(AHEAD + 4))
    while b"ready" not in home.out:
        home.out += home.talk.hear().data
    home.talk.say(FrameKind.STOP, (AHEAD + 2, int(signal.SIGTERM)))  # has not begun, and is not at hand
    (unbegun,) = home.ends(1)
    assert (unbegun.how, unbegun.index) == (How.UNBEGUN, AHEAD + 2)
    home.talk.say(FrameKind.STOP, (3, int(signal.SIGTERM)))  # at hand
    home.talk.say(FrameKind.STOP, (0, int(signal.SIGTERM)))
    ends = {each.index: each for each in home.ends(AHEAD + 3)}
    assert sorted(ends) == [*range(AHEAD + 2), AHEAD + 3]
    assert {index for index, each in ends.items() if each.code} == {0, 3}
    assert ends[0].code == ends[3].code == 128 + signal.SIGTERM
    assert {index for index, each in ends.items() if each.how == How.UNBEGUN} == {3}, (
        "it waited again, and was not begun"
    )


def test_another_room_ends_a_stay(home: Home) -> None:
    home.begin(lambda index: os.getpid())
    home.tasks(0)
    (first,) = home.ends(1)
    home.talk.say(FrameKind.ROOM, None)
    home.talk.say(
        FrameKind.EXEC, wire.Exec(argv=["sh", "-c", f"ls -A; kill -0 {value(first)} 2>/dev/null || echo gone"])
    )
    while (frame := home.talk.hear()).kind != FrameKind.EXITED:
        home.out += frame.data if frame.kind == FrameKind.STDOUT else b""
    assert home.out == b"gone\n"


@pytest.mark.parametrize(
    "nonsense",
    [
        wire.frame(FrameKind.STOP, (0, int(signal.SIGSTOP))),
        wire.frame(FrameKind.TASKS, [(index, 1) for index in range(5000)]),
        wire.frame(FrameKind.ROOM, None),
        wire.frame(FrameKind.FORGET, [1]),
        wire.frame(FrameKind.INPUT, None) + wire.frame(FrameKind.STDIN, None),
    ],
)
def test_nonsense_ends_it(home: Home, nonsense: bytes) -> None:
    def waits(index: int) -> None:
        time.sleep(60)

    home.begin(waits)
    home.tasks(0)
    home.talk.sock.sendall(nonsense)
    while (frame := home.talk.hear()).kind != FrameKind.EXITED:
        pass
    assert frame.meta[0] == 126
