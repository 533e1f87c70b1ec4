"""What does a node cost when it does nothing?

Back of the envelope: one CPython with asyncio, msgspec, TLS and libsodium is about 45 MB of which the C libraries share
little; the nursery adds a second small Python of about 15 MB, two thirds of it its own. Probing one peer four times a second,
a beat of the council seven times, and the answers to both are some 45 wake-ups a second of 50 us each: 0.23 % of a core. (Seen
are 300 us each: little of the code is in a cache when a node wakes.)

Prints memory (PSS, the fair share of shared pages, of the agent and all its children) and processor (CPU time of the same
processes over wall time) of a node in a site of three, beside what FINDINGS saw of Ray and Dask on this class of machine.

Run: uv run python bench/bench_idle.py [SECONDS]
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import psutil

from worldos.agent import home as homes
from worldos.cli.stage import Stage

SECONDS = 20.0
PEERS = {"Ray 2.60 (quoted)": (495, 3.6), "Dask 2026.8 (quoted)": (107, 7.9), "Parsl (quoted)": (187, 1.2)}
TARGET_MB, TARGET_PERCENT = 80, 1.0


def family(pid: int) -> list[psutil.Process]:
    agent = psutil.Process(pid)
    return [agent, *agent.children(recursive=True)]


def pss_mb(processes: list[psutil.Process]) -> float:
    total_kb = 0
    for process in processes:
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        total_kb += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total_kb * 1024 / 1e6


def cpu_s(processes: list[psutil.Process]) -> float:
    return sum(p.cpu_times().user + p.cpu_times().system for p in processes)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    with Stage() as stage:
        stage.join_all()
        time.sleep(15)  # offers and probes settle, and spare links from the joining are dropped
        pid = homes.running_pid(stage.actors[1].home)
        assert pid is not None
        processes = family(pid)
        before, began = cpu_s(processes), time.perf_counter()
        time.sleep(seconds)
        percent = (cpu_s(processes) - before) / (time.perf_counter() - began) * 100
        memory = pss_mb(processes)
        split = {" ".join(p.cmdline())[:60]: round(pss_mb([p]), 1) for p in processes}
    print(f"a node of three, idle for {seconds:.0f} s, {len(processes)} processes")
    print(f"{'':24}{'memory PSS':>12}{'processor':>12}")
    print(f"{'World OS':24}{memory:>9.1f} MB{percent:>10.2f} %")
    for name, (peer_mb, peer_percent) in PEERS.items():
        ratio = f"{memory / peer_mb:.2f} x, {percent / peer_percent:.2f} x"
        print(f"{name:24}{peer_mb:>9} MB{peer_percent:>10} %   us: {ratio}")
    print(f"{'target':24}{TARGET_MB:>9} MB{TARGET_PERCENT:>10} %")
    for command, megabytes in split.items():
        print(f"  {megabytes:>6.1f} MB  {command}")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "idle.json").write_text(json.dumps({"pss_mb": memory, "cpu_percent": percent}))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.environ.pop("WORLDOS_HOME", None)
    main()
