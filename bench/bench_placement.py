"""Is a lease over two nodes that differ worth it: does each call go where it ends soonest?

Two nodes in network namespaces: the program's own is slow (a quota of a quarter of each core), the other is fast and behind a way
of 20 Mbit/s. The work is mixed: calls that compute (100 ms on the fast node) and bring little, calls that read 1 MB and compute
next to nothing, calls that wait (100 ms). Three ways to run it, in turns: all on the slow node, all on the fast one, one handle
over both. Asked: both is at least 1.3 x ahead of either. At the end, by what was learned in these rounds, a lease of one machine
for the calls that compute, and one for those that read: `use("CPU", 2)` against `use("CPU", 2, for_=function)`.

Back of the envelope, n calls of each sort and 2 workers a node: all here 0.4 n / 2 s of computing + 0.1 n / 2 of waiting; all
there 0.4 n s for the bytes alone; over both the fast node computes for 0.1 n / 2 s while the slow one reads, and waits with its
other worker: about 0.06 n s, so 4 x ahead of here and 6 x of there is the limit, where each node has cores of its own. What is
lost of it is what is not known yet: the first round of ``both`` begins with no profile of anything, later ones know what the
rounds before learned. On one machine the nodes also share its cores.

Needs root (namespaces, a cgroup for the quota, tc for the way). Run: uv run python bench/bench_placement.py
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

CALLS, BYTES, COMPUTE_MS, WAIT_S, ROUNDS = 24, 1_000_000, 100, 0.1, 5
RATE, SLOW_PERCENT = "20mbit", 25
ARMS = ("both", "here", "there")
CHOSEN = {"computes": 6, "reads": 12}  # calls of one sort on one machine, chosen blindly and by what was learned
CORES = 2  # of each node that are leased
CPU = Path("/sys/fs/cgroup/cpu")


def turn(loops: int) -> None:
    total = 0
    for number in range(loops):
        total += number * number


def computes(loops: int) -> str:
    turn(loops)
    return os.environ["WORLDOS_NODE"]


def reads(data: bytes) -> str:
    assert sum(data[::4096]) > 0
    return os.environ["WORLDOS_NODE"]


def waits(seconds: float) -> str:
    time.sleep(seconds)
    return os.environ["WORLDOS_NODE"]


def program(arm: str, loops: int, agent_pid: int) -> None:
    """Run the work once; print how long it took, and how much of each sort ran where."""
    from worldos import use
    from worldos.sdk.connection import connection

    home = connection().node()
    words = {"here": {"near": "me"}, "there": {"where": "name == 'fast'"}, "both": {}}[arm]
    data = os.urandom(BYTES)
    with use("CPU", 2 * CORES if arm == "both" else CORES, **words) as cpu:  # type: ignore[call-overload]
        cpu.activate()
        if arm != "there":
            throttle(agent_pid)
        list(cpu.map(abs, range(8)))
        began = time.perf_counter()
        futures = []
        for _ in range(CALLS):
            futures += [cpu.submit(computes, loops), cpu.submit(reads, data), cpu.submit(waits, WAIT_S)]
        ran = [future.result() for future in futures]
        took = time.perf_counter() - began
    shares = [sum(node != home for node in ran[sort::3]) * 100 // CALLS for sort in range(3)]
    print(json.dumps({"took_s": took, "there_percent": shares}), flush=True)


def chosen(sort: str, is_learned: str, loops: int, agent_pid: int) -> None:
    """Run calls of one sort on one leased machine; print how long it took and where that was."""
    from worldos import use
    from worldos.sdk.connection import connection

    function = {"computes": computes, "reads": reads}[sort]
    argument = {"computes": loops, "reads": os.urandom(BYTES)}[sort]
    with use("CPU", CORES, for_=function if is_learned == "learned" else None) as cpu:
        cpu.activate()
        there = connection().node() not in cpu.nodes
        if not there:
            throttle(agent_pid)
        list(cpu.map(abs, range(8)))
        began = time.perf_counter()
        list(cpu.map(function, [argument] * CHOSEN[sort]))
        print(json.dumps({"took_s": time.perf_counter() - began, "there": there}), flush=True)


def loops_of(milliseconds: float) -> int:
    """Return how many turns take so much processor time on this machine."""
    began = time.process_time()
    turn(1_000_000)
    return int(1_000_000 * milliseconds / 1000 / (time.process_time() - began))


def throttle(agent_pid: int) -> None:
    """Give the workers of each lease on this machine a part of its cores."""
    leases = [folder for root in CPU.glob(f"worldos-{agent_pid}.*") for folder in root.glob("*/")]
    assert leases, "the workers have no control groups"
    for folder in leases:
        (folder / "cpu.cfs_period_us").write_text("20000")
        (folder / "cpu.cfs_quota_us").write_text(str(20000 * CORES * SLOW_PERCENT // 100))


def main() -> int:
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.e2e.lab import Lab, why_not
    from tests.e2e.realm import Realm

    if why_not() or os.geteuid() != 0 or not CPU.is_dir():
        print("needs root, network namespaces and the cpu controller of cgroups v1 here")
        return 1
    loops = loops_of(COMPUTE_MS)
    with tempfile.TemporaryDirectory() as folder, Lab() as lab, Realm(lab, ["slow", "fast"]) as realm:
        slow = realm.machines[0]
        for machine in realm.machines:
            lab.host(machine.name).holder.do(f"tc qdisc add dev home root tbf rate {RATE} burst 64kb latency 200ms")
        took: dict[str, list[float]] = {arm: [] for arm in ARMS}
        for _ in range(ROUNDS):
            for arm in ARMS:
                run = slow.run([sys.executable, __file__, arm, str(loops), str(slow.pid)], cwd=Path(folder))
                code = run.wait(300)
                if code:
                    print(run.said())
                    return 1
                said = json.loads(run.text().strip().splitlines()[-1])
                took[arm].append(said["took_s"])
                if arm == "both":
                    shares = "computing {} %, reading {} %, waiting {} %".format(*said["there_percent"])
            print("  ".join(f"{arm} {took[arm][-1]:6.2f} s" for arm in ARMS), f"  there: {shares}", flush=True)
        print(slow.wos("profile"))
        for sort, calls in CHOSEN.items():
            for how in ("blind", "learned"):
                run = slow.run([sys.executable, __file__, sort, how, str(loops), str(slow.pid)], cwd=Path(folder))
                said = json.loads(run.text().strip().splitlines()[-1]) if run.wait(300) == 0 else {}
                at = "the fast one" if said["there"] else "the slow one"
                print(f"{calls} that {sort[:-1]}, lease {how:8} {at}: {said['took_s']:6.2f} s", flush=True)
    report(took)
    return 0


def report(took: dict[str, list[float]]) -> None:
    medians = {arm: statistics.median(times) for arm, times in took.items()}
    first, later = took["both"][0], statistics.median(took["both"][1:])
    print(f"{'':24}{'median s':>10}{'ahead by':>10}")
    for arm in ("here", "there"):
        pairs = statistics.median(one / both for one, both in zip(took[arm], took["both"], strict=True))
        print(f"all {arm:20}{medians[arm]:10.2f}{pairs:9.2f} x")
    print(f"{'both, nothing known':24}{first:10.2f}")
    print(f"{'both, learned before':24}{later:10.2f}")


if __name__ == "__main__":
    if len(sys.argv) == 5 and sys.argv[1] in CHOSEN:
        chosen(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    elif len(sys.argv) == 4 and sys.argv[1] in ARMS:
        program(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.exit(main())
