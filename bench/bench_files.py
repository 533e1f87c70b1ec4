"""What does it cost to keep a file on five stores and to read it back, and what when some of them sleep?

Five nodes of one account, real agents and depots on this machine, joined by tickets, mutual TLS between them; a program on the
first puts and gets, with a code of 2-of-5. A put counts when k + 1 = 3 stores have synced it and the name is kept (the other two
shares follow). Against Tahoe-LAFS 1.20: an introducer, five stores and a gateway, the same code, immutable files by its web API,
without a directory; it syncs nothing. ``--tahoe PATH`` names its command (``uv venv DIR && uv pip install -p DIR
tahoe-lafs==1.20.0``).

Guess on the back of an envelope, for two quiet cores: a byte is cut, sealed, coded, and its 2.5 share bytes hashed in 2 ns;
each share byte goes through a socket to an agent, TLS, a socket, TLS, a socket and to the disk: 4 ns of processor, half of them
Python's hands, and 4 of 5 shares are far: 2.5 * 0.8 * 4 = 8 ns. 10 ns over two cores: 200 MB/s put; get reads 1 byte a byte, half
of it here: 4 ns: 400 MB/s. A small put is an entry appended to three depots, two syncs and two hops away: 2 ms. A sleeping store
costs one hedge: 30 ms.

    uv run python bench/bench_files.py [--tahoe PATH] [--mb 100] [--rounds 3] [--small 400] [--only ours|tahoe] [--no-sleep]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.tahoe_grid import Grid  # noqa: E402
from worldos.cli.stage import Stage  # noqa: E402
from worldos.files.files import Files  # noqa: E402

STORES, K, HAPPY = 5, 2, 3
NAMES = ("desk", "attic", "laptop", "cellar", "shed")
SMALL_BYTES, IN_FLIGHT = 4096, 8
LIMIT_BYTES, BLOCK_BYTES = 256 << 20, 4 << 20
READY_S = 60.0
PUT_TARGET, GET_TARGET, LIMIT_TARGET = 8, 30, 0.4
Found = dict[str, list[float]]


def timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def disk_mb_s(folder: Path) -> float:
    """Write and sync at the end, as large shares are kept."""
    block = os.urandom(BLOCK_BYTES)
    with (folder / "limit").open("wb", buffering=0) as file:

        def write() -> None:
            for _ in range(LIMIT_BYTES // BLOCK_BYTES):
                file.write(block)
            os.fdatasync(file.fileno())

        took = timed(write)
    (folder / "limit").unlink()
    return LIMIT_BYTES / took / 1e6


def socket_mb_s() -> float:
    """Two processes, a Unix socket, buffers used again."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        block = memoryview(bytes(BLOCK_BYTES))
        for _ in range(LIMIT_BYTES // BLOCK_BYTES):
            theirs.sendall(block)
        os._exit(0)
    theirs.close()
    buffer = bytearray(1 << 20)

    def read() -> None:
        while ours.recv_into(buffer):
            pass

    took = timed(read)
    os.wait()
    ours.close()
    return LIMIT_BYTES / took / 1e6


class System(Protocol):
    """What is asked of both."""

    def put(self, data: bytes | Path, name: str) -> str: ...
    def get(self, key: str) -> int: ...
    def sleep(self, count: int) -> None: ...
    def wake(self) -> None: ...
    def close(self) -> None: ...


class Ours:
    """Five nodes and a program on the first."""

    def __init__(self) -> None:
        self.stage = Stage(NAMES, alone=False)
        self.stage.__enter__()
        try:
            self.stage.join_all()
            self.files = Files.open(self.stage.actors[0].home)
            self.until_all_lend()
        except BaseException:
            self.stage.close()
            raise

    def until_all_lend(self) -> None:
        end = time.monotonic() + READY_S
        while sum(row.linked or row.here for row in self.files.storage().stores) < STORES:
            if time.monotonic() > end:
                raise RuntimeError(f"not {STORES} stores within {READY_S:.0f} s: {self.files.storage().stores}")
            time.sleep(0.2)

    def put(self, data: bytes | Path, name: str) -> str:
        return self.files.put(data, name).name

    def get(self, key: str) -> int:
        return sum(len(part) for part in self.files.parts(self.files.ref(key)))

    def sleep(self, count: int) -> None:
        for actor in self.stage.actors[1 : 1 + count]:
            actor.sleep()

    def wake(self) -> None:
        for actor in self.stage.actors:
            actor.wake()

    def close(self) -> None:
        self.wake()
        with contextlib.suppress(Exception):
            self.files.close()
        self.stage.close()


class Tahoe:
    """Its grid, with the same words."""

    def __init__(self, tahoe: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="wos-tahoe-"))
        self.grid = Grid(tahoe, self.folder, STORES, K, HAPPY)

    def put(self, data: bytes | Path, name: str) -> str:
        return self.grid.put(data)

    def get(self, key: str) -> int:
        return self.grid.get(key)

    def sleep(self, count: int) -> None:
        self.grid.sleep(count)

    def wake(self) -> None:
        self.grid.wake()

    def close(self) -> None:
        self.grid.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Sizes:
    """A file of noise, new bytes each time: neither side may know it already."""

    def __init__(self, folder: Path, mb: int) -> None:
        self.path, self.size = folder / "noise", mb * 1_000_000
        self.count = 0
        self._lock = threading.Lock()

    def fresh(self) -> Path:
        self.path.write_bytes(os.urandom(self.size))
        return self.path

    def name(self) -> str:
        with self._lock:
            self.count += 1
            return f"bench/{self.count}"


def large(system: System, sizes: Sizes, found: Found, size: int) -> None:
    key = ""

    def put() -> None:
        nonlocal key
        key = system.put(source, sizes.name())

    source = sizes.fresh()
    found["put MB/s"].append(size / timed(put) / 1e6)
    for what in ("get MB/s", "get again MB/s"):  # again: ours may have kept it near
        begun = time.perf_counter()
        assert system.get(key) == size
        found[what].append(size / (time.perf_counter() - begun) / 1e6)


def small(system: System, sizes: Sizes, found: Found, count: int) -> None:
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        keys: list[str] = []
        data = [os.urandom(SMALL_BYTES) for _ in range(count)]
        took = timed(lambda: keys.extend(pool.map(lambda one: system.put(one, sizes.name()), data)))
        found[f"puts of 4 KiB, {IN_FLIGHT} in flight, /s"].append(count / took)
        took = timed(lambda: list(pool.map(system.get, keys)))
        found[f"gets of 4 KiB, {IN_FLIGHT} in flight, /s"].append(count / took)
    alone = [timed(lambda one=one: system.put(one, sizes.name())) for one in data[:20]]
    found["one put of 4 KiB, ms"].append(statistics.median(alone) * 1e3)


def asleep(system: System, sizes: Sizes, found: Found, size: int) -> None:
    """The first get and the first put after one, then two stores fell asleep, against the same with all awake."""
    mb = size // 1_000_000
    times: Found = defaultdict(list)
    for count in (0, 0, 1, 2):
        keys = [
            system.put(sizes.fresh(), sizes.name()) for _ in range(2)
        ]  # two, for what was read once may be near then
        source = sizes.fresh()
        time.sleep(1)
        system.sleep(count)
        times[f"get {count}"].append(timed(lambda keys=keys: system.get(keys[0])))
        times[f"put {count}"].append(timed(lambda source=source: system.put(source, sizes.name())))
        times[f"get {count}"].append(timed(lambda keys=keys: system.get(keys[1])))
        system.wake()
        time.sleep(2)
    for count in (1, 2):
        for what in ("get", "put"):
            awake, slept = statistics.median(times[f"{what} 0"]), times[f"{what} {count}"][0]
            found[f"{count} asleep: first {what} of {mb} MB longer by, ms"].append((slept - awake) * 1e3)


def measure(system: System, sizes: Sizes, found: Found, choices: argparse.Namespace, *, last: bool) -> None:
    large(system, sizes, found, sizes.size)
    small(system, sizes, found, choices.small)
    if last and not choices.no_sleep:
        asleep(system, sizes, found, sizes.size)


def find_tahoe(named: str) -> str | None:
    return shutil.which(named or "tahoe") or shutil.which(str(ROOT / ".venv-peers" / "bin" / "tahoe"))


def show(found: dict[str, Found], limits: dict[str, float], mb: int) -> None:
    print(f"\n{STORES} stores, {K}-of-{STORES}, {mb} MB and 4 KiB, medians; limits of this run: ", end="")
    print(", ".join(f"{name} {value:,.0f} MB/s" for name, value in limits.items()))
    disk, sock = limits["disk"], limits["socket"]
    floors = {"put MB/s": min(disk, sock) * K / STORES, "get MB/s": sock}
    targets = {"put MB/s": f">= {PUT_TARGET} x", "get MB/s": f">= {GET_TARGET} x"}
    print(f"{'':40}{'ours':>10}{'Tahoe':>10}{'ratio':>8}{'of limit':>10}   to reach")
    names = list(dict.fromkeys(name for one in found.values() for name in one))
    for name in names:
        ours, theirs = (statistics.median(found.get(key, {}).get(name) or [0.0]) for key in ("ours", "tahoe"))
        ratio = f"{ours / theirs:8.2f}" if ours and theirs else " " * 8
        of_limit = f"{ours / floors[name]:10.0%}" if name in floors else " " * 10
        print(f"{name:40}{ours:10,.1f}{theirs:10,.1f}{ratio}{of_limit}   {targets.get(name, '')}")


def main() -> None:
    parser = argparse.ArgumentParser(description="What does it cost to keep a file on five stores?")
    parser.add_argument("--tahoe", default="", help="its command")
    parser.add_argument("--mb", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", type=int, default=400, help="how many objects of 4 KiB")
    parser.add_argument("--only", choices=("ours", "tahoe"))
    parser.add_argument("--no-sleep", action="store_true", help="leave out the sleeping stores (minutes, with Tahoe)")
    choices = parser.parse_args()
    tahoe = find_tahoe(choices.tahoe)
    if tahoe is None and choices.only != "ours":
        print("tahoe is not here (name its command: --tahoe): ours alone")
    with tempfile.TemporaryDirectory(prefix="wos-bench-") as folder, contextlib.ExitStack() as stack:
        limits = {"disk": disk_mb_s(Path(folder)), "socket": socket_mb_s()}
        systems: dict[str, System] = {}
        if choices.only != "tahoe":
            systems["ours"] = ours = Ours()
            stack.callback(ours.close)
        if choices.only != "ours" and tahoe is not None:
            systems["tahoe"] = theirs = Tahoe(tahoe)
            stack.callback(theirs.close)
        sizes = Sizes(Path(folder), choices.mb)
        found: dict[str, Found] = {name: defaultdict(list) for name in systems}
        for number in range(choices.rounds):
            for name, system in systems.items():
                measure(system, sizes, found[name], choices, last=number == choices.rounds - 1)
        show(found, limits, choices.mb)


if __name__ == "__main__":
    main()
