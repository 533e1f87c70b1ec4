"""Code in a sandbox that takes all it can get: processes, memory, disk, the agent's time. The machine and others go on."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import cloudpickle
import pytest
from tests.attacks.escaping import APART, NEEDS_A_SANDBOX, Lanes, tried

from worldos.errors import OverQuota, WorkerLost, WorldError
from worldos.lanes import sweep
from worldos.lanes.client import Door
from worldos.lanes.command import run_command

pytestmark = NEEDS_A_SANDBOX
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # what runs inside cannot see this file

MB = 1_000_000


def test_a_fork_bomb_hits_a_bound_and_goes_with_its_lease(lanes: Lanes) -> None:
    def bomb() -> int:
        import signal  # noqa: PLC0415
        import time  # noqa: PLC0415

        children = []
        try:
            while len(children) < 2000:
                child = os.fork()
                if not child:
                    time.sleep(60)
                    os._exit(0)
                children.append(child)
        except OSError:
            pass
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)
        return len(children)

    try:
        assert 10 < lanes.inside.submit_call(bomb, (), {}, retries=0).result(60) <= 512
    except WorldError:  # without cgroups what children share with their parent counts for each of them
        assert "watch" in lanes.host.host.describe()


def test_memory_beyond_the_lease_ends_the_worker_and_nothing_else(lanes: Lanes) -> None:
    with lanes.host.lane(1, **APART, memory_bytes=100 * MB) as lane:
        with pytest.raises((OverQuota, MemoryError)):
            lane.submit_call(lambda: len(bytearray(b"x" * 300 * MB)), (), {}, retries=0).result(30)
        assert lane.submit(lambda: 1).result(60) == 1


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm"])
def test_file_systems_in_memory_are_small(lanes: Lanes, folder: str) -> None:
    def fill(folder: str) -> int:
        size = 0
        try:
            with open(f"{folder}/much", "wb") as file:
                while size < 2_000_000_000:
                    size += file.write(bytes(10_000_000))
        except OSError:
            pass
        os.unlink(f"{folder}/much")
        return size

    assert tried(lanes.inside, fill, folder) < 300 * MB


def fill_with_one() -> None:
    with open("much", "wb") as file:
        while True:
            file.write(os.urandom(1_000_000))


def fill_with_many() -> None:
    number = 0
    while True:
        number += 1
        with open(f"{number}", "wb") as file:
            file.write(bytes(300_000))


def fill_without_names() -> None:
    files = []
    while True:
        files.append(open("much", "wb"))  # noqa: SIM115 - open, and without a name
        files[-1].write(os.urandom(1_000_000))
        os.unlink("much")


def fill_with_depth() -> None:
    import time  # noqa: PLC0415

    for _ in range(400):
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
    time.sleep(30)


@pytest.mark.parametrize("fill", [fill_with_one, fill_with_many, fill_without_names, fill_with_depth])
def test_a_disk_that_is_filled_is_emptied_again_and_the_holder_is_told(lanes: Lanes, fill: Callable[[], None]) -> None:
    with lanes.host.lane(1, **APART, scratch_bytes=20 * MB) as lane:
        with pytest.raises((WorldError, OSError)) as caught:
            lane.submit_call(fill, (), {}, retries=0).result(30)
        assert isinstance(caught.value, WorkerLost | OverQuota | OSError)
        assert lane.submit(lambda: os.listdir(".")).result(60) in ([], ["much"])
        room = lanes.host.call(lanes.host.host.room_folder, f"lease-{lanes.host._leases}")
        left = sweep.measure(room)
        assert left.size_bytes <= 20.1 * MB
        assert not left.is_endless


def test_what_a_sandbox_says_costs_the_agent_no_more_than_a_turn(lanes: Lanes) -> None:
    """Workers that die as fast as they can: each is replaced ever more slowly, and others are served meanwhile."""
    with lanes.host.lane(1, **APART) as lane:
        for _ in range(3):
            with pytest.raises(WorldError):
                lane.submit_call(lambda: os._exit(1), (), {}, retries=0).result(60)
        begun = time.monotonic()
        assert lanes.outside.submit(lambda: 1).result(15) == 1
        assert time.monotonic() - begun < 5


def test_a_command_that_takes_too_much_memory_is_told_why(lanes: Lanes, capfd: pytest.CaptureFixture[str]) -> None:
    _lease, doors = lanes.host.open(workers=1, **APART, memory_bytes=100 * MB)
    words = ["python3", "-c", "bytearray(b'x' * 300_000_000)"]
    code = run_command(Door(path=doors[0].path), words)
    if "watch" not in lanes.host.host.describe():
        assert code == 137
        assert "memory" in capfd.readouterr().err
