"""Rooms of real bubblewrap: made, taken, lost, gone without remains. What is tried from inside: attacks/test_escapes.py."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psutil
import pytest
from harness import Here, eventually

from worldos.errors import WorldError
from worldos.lanes import sandbox, wasm
from worldos.lanes.sandbox import Extra, Room, Rooms
from worldos.model.isolation import Isolation

pytestmark = pytest.mark.skipif(not sandbox.bubblewrap(), reason="bubblewrap is not installed")
APART = {"is_apart": True, "isolation": Isolation.SANDBOX}


@pytest.fixture(scope="module")
def here() -> Iterator[Here]:
    host = Here()
    yield host
    host.stop()


def in_loop(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test in a loop of its own."""
    asyncio.run(asyncio.wait_for(test(), 90))  # type: ignore[arg-type]


def test_what_is_shown_is_python_and_programs_and_nothing_else(tmp_path: Path) -> None:
    shown, search = sandbox.libraries()
    home = str(Path.home())
    assert not {"/", "/usr", "/home", "/root", home, os.getcwd()} & set(shown)
    assert all(path.startswith((*shown, "/usr")) or path == str(Path(sandbox.__file__).parents[2]) for path in search)
    words = sandbox.command(tmp_path, Extra(), is_root=True)
    bound = [words[at + 1] for at, word in enumerate(words) if word in {"--bind", "--dev-bind"}]
    assert bound == [*sandbox.DEVICES, str(tmp_path / "disk")], "all that can be changed"
    assert "--unshare-net" in words
    assert "--unshare-net" not in sandbox.command(tmp_path, Extra(network=True), is_root=True)


def test_a_room_is_settled_with_all_its_walls_and_goes_with_all_its_processes(tmp_path: Path) -> None:
    async def test() -> None:
        room = Room(tmp_path / "room", Extra())
        ended = asyncio.Event()
        room.ended = ended.set
        await room.settle()
        assert room.walls is not None
        assert room.walls.landlock > 0
        first = psutil.Process(room.pid)
        assert first.ppid() == room.process.pid
        assert first.uids().real == (room.uid or os.getuid())
        for kind in ("pid", "net", "ipc", "uts", "mnt", "cgroup", "user"):
            assert os.readlink(f"/proc/{room.pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}"), kind
        room.end()
        await ended.wait()
        assert room.is_over
        room.process.wait()
        assert eventually(lambda: not first.is_running())

    in_loop(test)


def test_a_room_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    async def test() -> None:
        with pytest.raises(WorldError, match=r"did not start: .*nowhere"):
            await Rooms(lambda: tmp_path / "room").take(Extra(folders=("/nowhere/to/be/found",)))
        assert not (tmp_path / "room").exists()

    in_loop(test)


def test_a_spare_is_taken_once_and_left_by_nobody(tmp_path: Path) -> None:
    async def test() -> None:
        count = iter(range(9))
        rooms = Rooms(lambda: tmp_path / str(next(count)))
        rooms.prepare()
        rooms.prepare()
        first, second = await rooms.take(Extra()), await rooms.take(Extra())
        assert first.folder != second.folder
        assert first.uid != second.uid or not first.uid
        rooms.prepare()
        await rooms.close()
        assert sorted(os.listdir(tmp_path)) == ["0", "1"]
        for room in (first, second):
            room.end()
            room.process.wait()

    in_loop(test)


@pytest.mark.skipif(not wasm.is_here(), reason="wasmtime is not installed")
def test_a_spare_for_webassembly_has_loaded_what_runs_it(tmp_path: Path) -> None:
    async def test() -> None:
        rooms = Rooms(lambda: tmp_path / os.urandom(4).hex())
        rooms.prepare(is_for_wasm=True)
        room = await rooms.take(Extra())
        maps = Path(f"/proc/{room.pid}/maps")
        assert await asyncio.to_thread(eventually, lambda: "wasmtime" in maps.read_text(), 20)
        await asyncio.to_thread(room.demolish)

    in_loop(test)


def test_a_spare_that_nobody_takes_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        rooms = Rooms(lambda: tmp_path / os.urandom(4).hex())
        (await rooms.take(Extra())).demolish()
        rooms.prepare()
        await rooms.rest()
        assert len(os.listdir(tmp_path)) == 1, "it is young"
        monkeypatch.setattr(sandbox, "SPARE_SECONDS", 0.0)
        await rooms.rest()
        assert not os.listdir(tmp_path)
        await rooms.close()

    in_loop(test)


def test_nonsense_from_a_room_ends_it(tmp_path: Path) -> None:
    async def test() -> None:
        room = Room(tmp_path / "room", Extra())
        await room.settle()
        ours, theirs = sandbox.socket.socketpair(sandbox.socket.AF_UNIX, sandbox.socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        asyncio.get_running_loop().remove_reader(room._sock)
        room._sock.close()
        room._sock = ours
        ended = asyncio.Event()
        room.ended = ended.set
        asyncio.get_running_loop().add_reader(ours, room._heard)
        theirs.send(sandbox.nursery.encode(sandbox.nursery.Forked(job=99, pid=1)))
        theirs.send(sandbox.nursery.encode(sandbox.nursery.Ended(pid=1, status=0)))
        await asyncio.sleep(0)
        assert not room.is_over, "what nobody asked for is not heard"
        theirs.send(b"\xc1nonsense")
        await ended.wait()
        room.process.wait()
        theirs.close()

    in_loop(test)


def test_workers_in_a_room_answer_like_any_other(here: Here) -> None:
    with here.lane(2, **APART) as lane:
        assert sorted(lane.map(lambda x: x * x, range(50))) == [x * x for x in range(50)]
        assert lane.submit(lambda: bytes(10_000_000)).result(30) == bytes(10_000_000), "by shared memory"
        assert lane.submit(lambda: __import__("os").getuid()).result(30) != os.getuid() or os.getuid()
        with here.lane(1) as plain:
            mine, others = (
                each.submit(lambda: (hash("text"), os.environ.get("PYTHONHASHSEED"))).result(30)
                for each in (lane, plain)
            )
        assert mine == others, "sets have one order on all machines"
        assert mine[1] is None, "and what is started there does as it likes"


def test_a_worker_that_ends_in_a_room_has_a_successor(here: Here) -> None:
    with here.lane(1, **APART) as lane:
        with pytest.raises(WorldError):
            lane.submit_call(lambda: os._exit(3), (), {}, retries=0).result(30)
        assert lane.submit(lambda: "again").result(30) == "again"


def test_a_room_that_is_killed_is_followed_by_another(here: Here) -> None:
    with here.lane(1, **APART) as lane:
        lease = f"lease-{here._leases}"
        first = here.call(here.host.room_pid, lease)
        os.kill(first, 9)
        assert lane.submit(lambda: "again").result(30) == "again"
        assert here.call(here.host.room_pid, lease) not in {0, first}


def test_a_lease_in_a_room_rests_is_counted_and_leaves_nothing(here: Here) -> None:
    lease, doors = here.open(workers=1, **APART)
    room = here.call(here.host.room_folder, lease)
    (use,) = [each for each in here.host.statistics() if each.lease == lease]
    assert use.pids == (doors[0].pid,)
    assert psutil.Process(doors[0].pid).ppid() == here.call(here.host.room_pid, lease)
    here.call(here.host.pause, lease)
    here.call(here.host.resume, lease)
    here.do(here.host.close_lease(lease))
    assert not room.exists()
    assert eventually(lambda: not psutil.pid_exists(doors[0].pid))


def test_a_killed_agent_leaves_no_room_and_no_folder() -> None:
    program = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import time
from harness import Here
here = Here()
lease, doors = here.open(workers=1, is_apart=True, isolation="sandbox")
print(here.call(here.host.room_pid, lease), here.call(here.host.room_folder, lease), flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid, folder = process.stdout.readline().split()
        room = psutil.Process(int(pid))
        all_of_it = [room, *room.children(), psutil.Process(room.ppid())]
        process.kill()
        assert not psutil.wait_procs(all_of_it, 5)[1]
        assert eventually(lambda: not Path(folder).parent.exists())


def test_a_copy_of_us_below_tmp_is_the_one_that_runs_in_the_room(tmp_path: Path) -> None:
    ours = Path(sandbox.__file__).parents[1]
    shutil.copytree(ours, tmp_path / "src" / "worldos", ignore=shutil.ignore_patterns("__pycache__", "static"))
    (tmp_path / "src" / "worldos" / "which.py").write_text("HERE = __file__\n")
    program = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
from harness import Here
from worldos.lanes import sandbox, wasm
here = Here()
def which():
    import worldos.which
    return worldos.which.HERE
with here.lane(1, is_apart=True, isolation="sandbox") as lane:
    print(lane.submit(which).result(30))
here.stop()
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "src"), *sys.path])}
    said = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=90
    )
    assert said.stdout.strip() == str(tmp_path / "src" / "worldos" / "which.py"), said.stderr
