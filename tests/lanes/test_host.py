"""The host of lanes: limits are real, workers are replaced, nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Here, alive, eventually

from worldos.errors import BadRequest, LeaseEnded, OverQuota, WorkerLost
from worldos.lanes.cage import Cages
from worldos.lanes.client import Door, Lane
from worldos.lanes.host import LaneHost, LaneSpec
from worldos.lanes.leftovers import temporary


def mechanisms() -> list[str]:
    """Return what can be had on this machine."""
    best = Cages("probe")
    best.close()
    return ["watch"] if best.kind == "watch" else ["watch", best.kind]


def left_of(pid: int) -> set[Path]:
    """Return the run folders and cgroups of the hosts in a process."""
    folders = temporary().glob(f"wos-lanes-{os.getuid()}-{pid}.*")
    groups = (
        Path(where) for where, _, _ in os.walk("/sys/fs/cgroup")
    )  # others come and go meanwhile: a glob would fail
    return {*folders, *(group for group in groups if group.name.startswith(f"worldos-{pid}."))}


@pytest.fixture(scope="module", params=mechanisms())
def caged(request: pytest.FixtureRequest) -> Iterator[Here]:
    """A host with each mechanism that can be had here."""
    host = Here(request.param)
    yield host
    host.stop()


def test_a_call_that_takes_more_memory_than_leased_is_stopped_with_the_reason(caged: Here) -> None:
    def hog() -> int:
        kept = []
        for _ in range(100):
            kept.append(b"x" * (10_000_000 + len(kept)))
            time.sleep(0.005)
        return len(kept)

    with caged.lane(2, memory_bytes=200_000_000) as lane, caged.lane(1, memory_bytes=200_000_000) as other:
        future = lane.submit(hog)
        bystander = other.submit(lambda: (time.sleep(0.5), "unhurt")[1])
        with pytest.raises(OverQuota, match="200 MB of memory leased; ask for more with memory="):
            future.result(60)
        assert bystander.result(15) == "unhurt"
        assert lane.submit(pow, 2, 2).result(15) == 4


def test_memory_of_what_a_call_starts_counts_too(caged: Here) -> None:
    program = "import time\nx=[]\nfor i in range(60): x.append(b'x'*10_000_000); time.sleep(0.01)"

    def start() -> int:
        return subprocess.run([sys.executable, "-c", program], check=False).returncode

    with caged.lane(1, memory_bytes=200_000_000) as lane:
        with contextlib.suppress(OverQuota):
            assert lane.submit(start).result(60) == -signal.SIGKILL
        assert lane.submit(pow, 2, 2).result(15) == 4


def test_a_fork_bomb_stays_in_its_cage(caged: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    def bomb() -> int:
        made = 0
        for _ in range(200):
            try:
                if os.fork() == 0:
                    time.sleep(60)
                    os._exit(0)
            except OSError:
                break
            made += 1
        time.sleep(0.3)
        return made

    monkeypatch.setattr("worldos.lanes.host.PIDS_MAX", 40)
    lease, doors = caged.open(workers=1)
    lane = Lane([Door(path=doors[0].path)])
    with contextlib.suppress(WorkerLost):  # it may be stopped with all it made
        assert lane.submit_call(bomb, (), {}, retries=0).result(60) <= 40
    assert eventually(lambda: caged.call(caged.host.statistics)[-1].processes <= 41)
    lane.close(LeaseEnded())
    caged.do(caged.host.close_lease(lease))


def test_a_call_that_ignores_signals_ends_with_its_lease(caged: Here, tmp_path: Path) -> None:
    def stubborn(path: str) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        child = subprocess.Popen(["setsid", "sh", "-c", "trap '' TERM INT HUP; while true; do sleep 1; done"])
        Path(path).write_text(f"{os.getpid()} {child.pid}")
        time.sleep(300)

    lease, doors = caged.open(workers=1)
    lane = Lane([Door(path=doors[0].path)])
    mark = tmp_path / "pids"
    future = lane.submit(stubborn, str(mark))
    with contextlib.suppress(TimeoutError):
        future.result(0.3)
    pids = [int(word) for word in eventually(lambda: mark.exists() and mark.read_text().split())]
    eventually(lambda: len(caged.call(caged.host.statistics)[-1].pids) and None, 0.2)
    caged.do(caged.host.close_lease(lease))
    assert eventually(lambda: not any(alive(pid) for pid in pids))
    lane.close(LeaseEnded())


def test_a_paused_lease_stands_still_and_goes_on(caged: Here) -> None:
    lease, doors = caged.open(workers=1)
    with Lane([Door(path=doors[0].path)]) as lane:
        assert lane.submit(pow, 2, 2).result(15) == 4
        caged.call(caged.host.pause, lease)
        future = lane.submit(pow, 3, 2)
        with pytest.raises(TimeoutError):
            future.result(0.2)
        caged.call(caged.host.resume, lease)
        assert future.result(15) == 9


def test_statistics_tell_what_a_lease_takes(caged: Here) -> None:
    lease, doors = caged.open(workers=2, memory_bytes=300_000_000)
    with Lane([Door(path=door.path) for door in doors]) as lane:

        def burn() -> int:
            until = time.process_time() + 0.1
            kept = bytearray(30_000_000)
            while time.process_time() < until:
                pass
            return len(kept)

        lane.submit(burn).result(30)
        use = next(u for u in caged.call(caged.host.statistics) if u.lease == lease)
    assert len(use.pids) == 2
    assert use.cpu_ns >= 80_000_000
    assert use.memory_bytes > 0
    caged.do(caged.host.close_lease(lease))


def test_the_processor_is_limited_too() -> None:
    if mechanisms() == ["watch"]:
        pytest.skip("no cgroup can be made here, so there is no quota below a core")
    here = Here()
    lease, doors = here.open(workers=1, milli_cpu=200)
    with Lane([Door(path=doors[0].path)]) as lane:

        def burn(seconds: float) -> float:
            until, began = time.monotonic() + seconds, time.process_time()
            while time.monotonic() < until:
                pass
            return time.process_time() - began

        assert lane.submit(burn, 1.0).result(30) < 0.5
    here.do(here.host.close_lease(lease))
    here.stop()


def test_too_much_written_to_the_scratch_folder_ends_the_call_with_the_reason(here: Here) -> None:
    def fill() -> None:
        for n in range(100):
            Path(f"file{n}").write_bytes(bytes(1_000_000))
            time.sleep(0.02)
        time.sleep(30)

    lease, doors = here.open(workers=1, scratch_bytes=20_000_000)
    with Lane([Door(path=doors[0].path)]) as lane, pytest.raises((OverQuota, WorkerLost), match="20 MB of disk leased"):
        lane.submit_call(fill, (), {}, retries=0).result(60)
    here.do(here.host.close_lease(lease))


def test_graphics_processors_that_are_not_leased_are_out_of_sight(here: Here) -> None:
    with here.lane(1) as lane:
        assert lane.submit(lambda: os.environ["CUDA_VISIBLE_DEVICES"]).result(15) == ""
    with here.lane(1, gpus=("0", "3")) as lane:
        assert lane.submit(lambda: os.environ["CUDA_VISIBLE_DEVICES"]).result(15) == "0,3"


def test_a_worker_has_folders_of_its_own_that_end_with_it(here: Here) -> None:
    def folders() -> tuple[str, str]:
        Path("made").write_text("x")
        with tempfile.NamedTemporaryFile(delete=False) as file:
            return str(Path.cwd()), file.name

    lease, doors = here.open(workers=1)
    with Lane([Door(path=doors[0].path)]) as lane:
        cwd, temporary = lane.submit(folders).result(15)
        assert Path(cwd).is_dir()
        assert Path(temporary).is_file()
        assert str(Path(cwd).parent) in temporary
    assert eventually(lambda: not Path(cwd).exists() and not Path(temporary).exists()), "the worker ended"
    here.do(here.host.close_lease(lease))
    assert not Path(doors[0].path).parent.exists()


def test_what_one_holder_left_is_not_seen_by_the_next(here: Here) -> None:
    _lease, doors = here.open(workers=1)

    def leave() -> int:
        sys.modules["left_behind"] = sys
        return os.getpid()

    with Lane([Door(path=doors[0].path)]) as lane:
        first = lane.submit(leave).result(15)
    with Lane([Door(path=doors[0].path)]) as lane:
        second, seen = lane.submit(lambda: (os.getpid(), "left_behind" in sys.modules)).result(15)
    assert first != second
    assert not seen


def test_random_bytes_at_a_door_hurt_nobody(here: Here) -> None:
    _lease, doors = here.open(workers=1)
    strangers = []
    for n in range(5):
        stranger = socket.socket(socket.AF_UNIX)
        stranger.connect(doors[0].path)
        if n:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                stranger.sendall(os.urandom(200_000 * n))
        strangers.append(stranger)
    with Lane([Door(path=doors[0].path)]) as lane:
        assert lane.submit(os.getpid).result(30) == doors[0].pid, "the worker has survived all of it"
    for stranger in strangers:
        stranger.close()


def test_a_door_is_only_for_its_user(here: Here) -> None:
    _lease, doors = here.open(workers=1)
    assert Path(doors[0].path).parent.stat().st_mode & 0o777 == 0o700


def test_opening_twice_and_closing_what_is_not_open(here: Here) -> None:
    lease, _doors = here.open(workers=1)
    with pytest.raises(BadRequest, match="open already"):
        here.do(here.host.open_lease(lease, LaneSpec()))
    here.do(here.host.close_lease(lease))
    here.do(here.host.close_lease(lease))
    with pytest.raises(LeaseEnded):
        here.call(here.host.pause, lease)
    with pytest.raises(BadRequest, match="workers"):
        here.open(workers=0)


def test_an_interrupted_call_ends_and_its_worker_goes_on(here: Here) -> None:
    lease, doors = here.open(workers=1)
    with Lane([Door(path=doors[0].path)]) as lane:
        pid = lane.submit(os.getpid).result(15)
        future = lane.submit(time.sleep, 30)
        with contextlib.suppress(TimeoutError):
            future.result(0.2)
        here.call(here.host.interrupt, lease, 0)
        assert isinstance(future.exception(15), KeyboardInterrupt)
        assert lane.submit(os.getpid).result(15) == pid


def test_a_nursery_that_dies_is_replaced_with_all_its_workers() -> None:
    here = Here()
    with here.lane(2) as lane:
        assert lane.submit(pow, 2, 2).result(15) == 4
        old = here.host._process
        assert old is not None
        old.kill()
        assert lane.submit(pow, 2, 3).result(30) == 8
        assert eventually(lambda: here.host._process is not old)
        assert lane.wait_for_workers(2, 5)
    here.stop()


def test_nothing_is_left_after_a_host_stops() -> None:
    before = left_of(os.getpid())
    here = Here()
    _lease, doors = here.open(workers=2, memory_bytes=500_000_000)
    nursery = here.host._process
    assert nursery is not None
    here.stop()
    assert not any(alive(pid) for pid in [nursery.pid, *(door.pid for door in doors)])
    assert left_of(os.getpid()) <= before


@pytest.mark.parametrize("mechanism", mechanisms())
def test_nothing_is_left_when_the_agent_is_killed(mechanism: str, tmp_path: Path) -> None:
    program = textwrap.dedent(f"""
        import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
        import subprocess, time
        from harness import Here
        here = Here({mechanism!r})
        lane = here.lane(1)
        def start():
            import os, subprocess
            child = subprocess.Popen(["setsid", "sh", "-c", "trap '' TERM HUP; while true; do sleep 1; done"])
            return os.getpid(), child.pid
        print(here.host._process.pid, *lane.submit(start).result(30), flush=True)
        time.sleep(60)
    """)
    agent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert agent.stdout is not None
    pids = [int(word) for word in agent.stdout.readline().split()]
    assert len(pids) == 3
    assert all(alive(pid) for pid in pids)
    agent.kill()
    agent.wait()
    agent.stdout.close()
    assert eventually(lambda: not any(alive(pid) for pid in pids)), "workers and what they started end with the agent"
    assert eventually(lambda: not left_of(agent.pid))


def test_a_worker_that_keeps_dying_at_birth_is_replaced_ever_more_slowly(here: Here) -> None:
    lease, doors = here.open(workers=1)
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        pids = next(u.pids for u in here.call(here.host.statistics) if u.lease == lease)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
    losses = next(u.losses for u in here.call(here.host.statistics) if u.lease == lease)
    assert 8 < losses < 25
    with Lane([Door(path=doors[0].path)]) as lane:
        assert lane.submit(pow, 2, 2).result(15) == 4


def test_the_spec_of_a_host_without_a_start_is_an_assertion() -> None:
    with pytest.raises(AssertionError):
        LaneHost().describe()
