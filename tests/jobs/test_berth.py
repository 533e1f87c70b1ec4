"""At a berth commands run one after another, each as if it were alone."""

from __future__ import annotations

import io
import itertools
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from worldos.errors import OverQuota, WorkerLost, WorldError
from worldos.jobs.berth import RUNTIME_OVER, Berth, Errand, Ran
from worldos.jobs.logs import Log
from worldos.jobs.outputs import Spool, unpack_into

ROOMS = itertools.count(1)


class Trial:
    """One errand with all that comes of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.log = Log(folder / "log")
        self.result = Spool(folder / "result")
        self.checkpoint = Spool(folder / "checkpoint")

    def run(self, berth: Berth, script: str, parcels: tuple[Iterator[bytes], ...] = (), **words: Any) -> Ran:
        errand = Errand(argv=("sh", "-c", script), **words)
        berth.clear()
        return berth.run(errand, parcels, self.log, self.result, self.checkpoint)

    def files(self) -> dict[str, str]:
        if not self.result.data():
            return {}
        at = self._folder / f"out{next(ROOMS)}"
        return {name: (at / name).read_text() for name in unpack_into(at, iter((self.result.data(),)))}


@pytest.fixture
def berth(workers: Any) -> Iterator[Berth]:
    made = Berth(workers.door())
    yield made
    made.close()


def tar_of(**files: str) -> Iterator[bytes]:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    yield memory.getvalue()


def test_one_after_another_each_in_a_room_of_its_own(berth: Berth, tmp_path: Path) -> None:
    pids = set()
    for number in range(3):
        trial = Trial(tmp_path)
        ran = trial.run(berth, f"ls -A . $TMPDIR; echo {number} > made; touch $TMPDIR/x; echo $PPID; exit {number}")
        assert ran.code == number
        lines = trial.log.read(0, 1000)[1].decode().split()
        assert "made" not in lines
        assert "x" not in lines
        assert trial.files() == {"made": f"{number}\n"}
        assert ran.took.wall_us > 0
        assert ran.took.memory_bytes > 100_000
        pids.add(lines[-1])
    assert len(pids) == 1, "one worker runs them all"


def test_a_command_that_makes_nothing_sends_nothing(berth: Berth, tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    assert trial.run(berth, "true").code == 0
    assert trial.result.data() == b""
    assert trial.checkpoint.data() == b""


def test_files_go_along(berth: Berth, tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    ran = trial.run(berth, "cat in.txt; cat $WOS_CHECKPOINT/at", (tar_of(**{"in.txt": "in "}), tar_of(at="7")))
    assert ran.code == 0
    assert trial.log.read(0, 100)[1] == b"in 7"
    assert trial.files() == {}, "what came along unchanged does not come back"


def test_a_checkpoint_may_come_without_files(berth: Berth, tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    assert trial.run(berth, "cat $WOS_CHECKPOINT/at", (iter(()), tar_of(at="7"))).code == 0
    assert trial.log.tail() == b"7"


def test_a_stop_gives_time_to_leave_a_checkpoint(berth: Berth, tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    script = "trap 'echo 5 > $WOS_CHECKPOINT/step; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    stopper = threading.Thread(target=lambda: wait_and(trial.log, lambda: berth.stop("make way", 5.0)))
    stopper.start()
    ran = trial.run(berth, script)
    stopper.join()
    assert (ran.code, ran.stopped) == (0, "make way")
    unpack_into(tmp_path / "left", iter((trial.checkpoint.data(),)))
    assert (tmp_path / "left" / "step").read_text() == "5\n"
    assert Trial(tmp_path).run(berth, "exit 3").code == 3, "the berth is free for the next"


def test_who_does_not_heed_a_stop_is_killed_after_its_grace(berth: Berth, tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    stopper = threading.Thread(target=lambda: wait_and(trial.log, lambda: berth.stop("cancelled", 0.1)))
    stopper.start()
    ran = trial.run(berth, "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    stopper.join()
    assert (ran.code, ran.stopped) == (137, "cancelled")


def test_a_stop_that_comes_before_the_command_counts(berth: Berth, tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    berth.clear()
    berth.stop("cancelled", 0.5)
    errand = Errand(argv=("sleep", "30"))
    ran = berth.run(errand, (), trial.log, trial.result, trial.checkpoint)
    assert ran.stopped == "cancelled"
    assert ran.code == 143


def test_its_time_may_be_over(berth: Berth, tmp_path: Path) -> None:
    begun_s = time.monotonic()
    ran = Trial(tmp_path).run(berth, "sleep 30", runtime_s=0.2, grace_s=1.0)
    assert ran.stopped == RUNTIME_OVER
    assert time.monotonic() - begun_s < 10


def test_what_a_command_leaves_running_ends_with_it(berth: Berth, tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    assert trial.run(berth, "sleep 1000 & echo $!").code == 0
    pid = trial.log.read(0, 100)[1].decode().strip()
    deadline_s = time.monotonic() + 15
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_the_interpreter_of_the_worker_has_a_name(berth: Berth, tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    berth.clear()
    errand = Errand(argv=("{python}", "-c", "import worldos; print(worldos.__name__)"))
    assert berth.run(errand, (), trial.log, trial.result, trial.checkpoint).code == 0
    assert trial.log.tail() == b"worldos\n"


def test_an_unknown_command_is_said_and_the_berth_stays(berth: Berth, tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    berth.clear()
    ran = berth.run(Errand(argv=("no-such-command",)), (), trial.log, trial.result, trial.checkpoint)
    assert ran.code == 127
    assert "no such command" in ran.why
    assert Trial(tmp_path).run(berth, "true").code == 0


def test_a_command_that_kills_its_worker_is_told_apart(berth: Berth, tmp_path: Path) -> None:
    with pytest.raises(WorkerLost):
        Trial(tmp_path).run(berth, "kill -9 $PPID; sleep 10")


def test_too_much_memory_is_said(workers: Any, tmp_path: Path) -> None:
    berth = Berth(workers.door(memory_bytes=100 << 20))
    try:
        why = Trial(tmp_path).run(berth, "python3 -c 'x = bytearray(400 << 20); print(len(x))'").why
    except OverQuota as error:
        why = str(error)
    berth.close()
    assert "memory" in why


def test_garbage_in_a_parcel_ends_this_worker_alone(berth: Berth, tmp_path: Path) -> None:
    with pytest.raises(WorldError):
        Trial(tmp_path).run(berth, "true", (iter((b"no tar" * 1000,)),))


def wait_for(log: Log, text: bytes) -> None:
    deadline_s = time.monotonic() + 30
    while text not in log.read(0, 1000)[1]:
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def wait_and(log: Log, then: Callable[[], None]) -> None:
    wait_for(log, b"ready")
    then()
