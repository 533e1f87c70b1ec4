"""How does a machine feel to its owner while a guest uses all of it, and how soon does the guest stop when a key is pressed?

The owner is a process at normal priority that wakes every 5 ms and does 1 ms of work, as something that draws or plays does; one
that does 30 ms of work every 100 ms, as what opens a page; and one at a terminal, whose key comes back from another process (the
time of the round trip). Latency is from when it should have woken to when the work is done. The guest keeps every processor busy,
with twice as many workers as there are processors: as a plain lease (what any other program is), as a gentle one
(lanes/gentle.py), and as one that rests (frozen). Beside it stand bare loops under SCHED_IDLE, in sessions of their own: what the
kernel's own policy does without us.

On a machine with other work latency says little of guests. So, as root, the kernel's own record of switches (tracefs) tells
who had the processor for which the owner waited: a guest, or somebody else. With ``--before-others`` all of this goes first on
the machine (a control group of great weight, version 1): others stand still meanwhile, so keep it short. A key that stops guests
is a real byte read from a real pseudo terminal; the guest's last sign of life is a clock that it writes.

Guess on the back of an envelope: alone 1.0 ms, and the timer's 0.06. Beside 4 plain busy workers on 2 processors the owner is one
of three on its processor: it sleeps most of the time, so the scheduler lets it in soon, but its 1 ms is cut by a tick of the
kernel (4 ms at 250 Hz) now and then: it waits 0.2 to 0.4 ms a wake-up on average. Gentle ones are put aside at each wake: 15 us.
A key is seen at the next look, 0 to 20 ms later, and freezing takes 0.1 ms a process: 10 ms, 25 at most.

    uv run python bench/bench_comfort.py [--seconds 4] [--rounds 3] [--keys 20] [--before-others]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import mmap
import os
import pty
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.kernel.test_lend_rules import ask, host  # noqa: E402

from bench.waits import Waited, Waits, recorded  # noqa: E402
from worldos.agent import clock, comfort  # noqa: E402
from worldos.agent.lanes import Lanes  # noqa: E402
from worldos.agent.scanner import Scanner  # noqa: E402
from worldos.lanes.client import Lane  # noqa: E402
from worldos.lanes.host import LaneHost, LaneSpec  # noqa: E402
from worldos.lanes.link import Door  # noqa: E402

OWNERS = ((0.005, 0.001), (0.1, 0.03), (0.01, 0.0))  # how often, and how much work; none: who types
TARGET_PAUSE_MS = 100
SHARES_MOST = 262_144  # of a group of version 1; the usual is 1024

OWNER = """
import json, sys, time
seconds, tick, work = map(float, sys.argv[1:])
def busy(s):
    end = time.thread_time() + s
    while time.thread_time() < end: pass
due = time.perf_counter() + tick
end, took = due + seconds, []
while due < end:
    wait = due - time.perf_counter()
    if wait > 0: time.sleep(wait)
    busy(work)
    took.append((time.perf_counter() - due) * 1e3)
    due = max(due + tick, time.perf_counter())
took.sort()
print(json.dumps([took[len(took) // 2], took[len(took) * 99 // 100], took[-1]]))
"""
TYPIST = """
import json, os, pty, sys, time, tty
seconds = float(sys.argv[1])
ours, theirs = pty.openpty()
tty.setraw(theirs)
if not os.fork():
    while True: os.write(theirs, os.read(theirs, 1))
end, took = time.perf_counter() + seconds, []
while time.perf_counter() < end:
    time.sleep(0.01)
    begun = time.perf_counter()
    os.write(ours, b"x")
    os.read(ours, 1)
    took.append((time.perf_counter() - begun) * 1e3)
took.sort()
print(json.dumps([took[len(took) // 2], took[len(took) * 99 // 100], took[-1]]), flush=True)
os.killpg(0, 9)
"""
IDLE_LOOP = "import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile True: pass"


def sum_of(waited: list[Waited | None]) -> Waited | None:
    """Return all rounds as one."""
    seen = [each for each in waited if each and each.guest_us]
    if not seen:
        return None
    guest_us = [us for each in seen for us in each.guest_us]
    return Waited(guest_us, [us for each in seen for us in each.other_us])


def told(waited: Waited) -> str:
    """Say for whom the owner waited, a wake-up."""
    guest = sorted(waited.guest_us)
    high = guest[len(guest) * 99 // 100]
    means = [statistics.fmean(each) for each in waited]
    return f"waited {means[0]:.0f} us for the guest (p99 {high:.0f}), {means[1]:.0f} for others"


def burn(path: str) -> None:
    """Use a processor for ever, and write the time into a file."""
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 8) as shared:
        while True:
            shared[:8] = struct.pack("<q", time.monotonic_ns())


class Seen(NamedTuple):
    """An owner's median, 99th percentile and worst latency, ms; and what it waited at a wake-up, us, for whom."""

    latency: list[float]
    waited: Waited | None


def owners(seconds: float, waits: Waits | None, guests: Callable[[], set[int]]) -> list[Seen]:
    """Measure each owner."""
    found = []
    for tick_s, work_s in OWNERS:
        words = [OWNER, str(seconds), str(tick_s), str(work_s)] if work_s else [TYPIST, str(seconds)]
        if waits:
            waits.begin()
        with subprocess.Popen([sys.executable, "-c", *words], stdout=subprocess.PIPE, start_new_session=True) as owner:
            said, _ = owner.communicate()
        found.append(Seen(json.loads(said), waits.end(owner.pid, guests()) if waits else None))
    return found


def hold_back(lanes: LaneHost, is_idle: str) -> None:
    """Let the group of gentle leases be idle for the scheduler, or not, where there is one."""
    assert lanes._cages is not None
    for folder in lanes._cages.folders:
        with contextlib.suppress(OSError):
            if folder.endswith(".gentle"):
                (Path(folder) / "cpu.idle").write_text(is_idle)


async def beside(seconds: float, waits: Waits | None, folder: Path, *, gentle: bool, paused: bool) -> list[Seen]:
    """Measure the owners beside a guest that has all processors."""
    lanes = LaneHost()
    await lanes.start()
    workers = 2 * len(os.sched_getaffinity(0))
    hold_back(lanes, "0")  # until they have begun: beside other work a gentle guest may wait for long
    doors = await lanes.open_lease("guest", LaneSpec(workers=workers, gentle=gentle))
    burning = []
    for number, door in enumerate(doors):
        file = folder / f"{number}"
        file.write_bytes(bytes(8))
        lane = await asyncio.to_thread(Lane, [Door(path=door.path)])
        lane.submit(burn, str(file))
        burning.append(lane)
    while not all(struct.unpack("<q", (folder / str(n)).read_bytes())[0] for n in range(workers)):  # noqa: ASYNC110 - another process changes it
        await asyncio.sleep(0.05)
    hold_back(lanes, "1")
    if paused:
        lanes.pause("guest")
    try:
        return await asyncio.to_thread(owners, seconds, waits, lambda: {door.pid for door in doors})
    finally:
        for lane in burning:
            lane.close("measured")
        await lanes.close_lease("guest")
        await lanes.stop()


def beside_idle_loops(seconds: float, waits: Waits | None) -> list[Seen]:
    """Measure the owners beside loops that only the scheduler's own policy holds back."""
    words = [sys.executable, "-c", IDLE_LOOP]
    loops = [subprocess.Popen(words, start_new_session=True) for _ in range(2 * len(os.sched_getaffinity(0)))]
    try:
        time.sleep(0.3)
        return owners(seconds, waits, lambda: {loop.pid for loop in loops})
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


async def pauses_ms(keys: int, folder: Path) -> list[float]:
    """Press keys; return how long after each the guest gave its last sign of life."""
    comfort.QUIET_NS = 300_000_000
    node = host()
    assert ask(node, clock.now_ns(), 1000) == ""
    (lease,) = node.leases.leases.values()
    lease.terms = msgspec.structs.replace(lease.terms, isolation="")
    (folder / "root/dev").mkdir(parents=True)
    (folder / "root/dev/pts").symlink_to("/dev/pts")
    scanner = Scanner([str(folder)], print)
    lanes = Lanes(scanner, print)
    await lanes.start()
    scanner.machine.root = str(folder / "root")
    watch = comfort.Watch(node, lanes, scanner, lambda _: None)
    lanes.open(lease.terms, gentle=False)  # so that other work on this machine does not stop it before the key does
    (door,) = await lanes.paths_of(lease.terms.lease)
    file = folder / "life"
    file.write_bytes(bytes(8))
    lane = await asyncio.to_thread(Lane, [Door(path=door)])
    lane.submit(burn, str(file))
    looking = asyncio.get_running_loop().create_task(watch.look_forever())
    ours, theirs = pty.openpty()
    took = []

    def last_ns() -> int:
        return int(struct.unpack("<q", file.read_bytes())[0])

    for _ in range(keys):
        while time.monotonic_ns() - last_ns() > 30_000_000:  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.01)
        old = time.time() - 60
        os.utime(os.ttyname(theirs), (old, old))
        await asyncio.sleep(0.06)
        pressed_ns = time.monotonic_ns()
        os.write(ours, b"\n")
        os.read(theirs, 1)
        while time.monotonic_ns() - last_ns() < 100_000_000:  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.01)
        took.append(max(0, last_ns() - pressed_ns) / 1e6)
        await asyncio.sleep(0.3)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    lane.close("measured")
    await lanes.close()
    return took


@contextlib.contextmanager
def before_others() -> Iterator[None]:
    """Let this process and all that it starts go first."""
    group = Path("/sys/fs/cgroup/cpu") / f"bench-{os.getpid()}"
    group.mkdir()
    (group / "cpu.shares").write_text(str(SHARES_MOST))
    (group / "cgroup.procs").write_text("0")
    try:
        yield
    finally:
        (group.parent / "cgroup.procs").write_text("0")
        for pid in (group / "cgroup.procs").read_text().split():
            (group.parent / "cgroup.procs").write_text(pid)
        group.rmdir()


def main() -> None:
    """Measure and print, all in one run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keys", type=int, default=20)
    parser.add_argument("--before-others", action="store_true")
    said = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="wos-bench-"))
    ways: dict[str, Callable[[Waits | None], list[Seen]]] = {
        "alone": lambda waits: owners(said.seconds, waits, set),
        "plain guest": lambda waits: asyncio.run(beside(said.seconds, waits, folder, gentle=False, paused=False)),
        "SCHED_IDLE alone": lambda waits: beside_idle_loops(said.seconds, waits),
        "gentle guest": lambda waits: asyncio.run(beside(said.seconds, waits, folder, gentle=True, paused=False)),
        "guest that rests": lambda waits: asyncio.run(beside(said.seconds, waits, folder, gentle=True, paused=True)),
    }
    found: dict[str, list[list[Seen]]] = {name: [] for name in ways}
    try:
        with recorded() as waits, before_others() if said.before_others else contextlib.nullcontext():
            for _ in range(said.rounds):
                for name, measure in ways.items():
                    found[name].append(measure(waits))
        for owner, (tick_s, work_s) in enumerate(OWNERS):
            what = (
                f"every {tick_s * 1e3:.0f} ms, {work_s * 1e3:.0f} ms of work"
                if work_s
                else "a key to another process and back"
            )
            print(f"the owner: {what}; medians of {said.rounds} rounds, load {os.getloadavg()[0]:.0f}")
            alone = [statistics.median(run[owner].latency[at] for run in found["alone"]) for at in range(3)]
            for name, runs in found.items():
                median, high, worst = (statistics.median(run[owner].latency[at] for run in runs) for at in range(3))
                ratios = f"{median / alone[0]:4.2f} x and {high / alone[1]:4.2f} x alone"
                line = f"  {name:17} median {median:6.2f} ms   p99 {high:6.2f} ms ({ratios})   worst {worst:6.1f} ms"
                waited = [run[owner].waited for run in runs]
                print(line + "".join(f"; {told(each)}" for each in [sum_of(waited)] if each))
        took = sorted(asyncio.run(pauses_ms(said.keys, folder)))
        print(
            f"a key stops the guest: median {took[len(took) // 2]:.1f} ms, worst {took[-1]:.1f} ms of {len(took)}",
            end="",
        )
        print(f" (limit {comfort.LOOK_S * 1e3:.0f} ms of looking, target {TARGET_PAUSE_MS} ms)")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
