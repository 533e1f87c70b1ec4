"""How fast is a call, and what does it cost to keep ready: World OS beside Ray, Dask, Parsl, loky and Python's pool.

Guess before measuring: a round trip over a Unix socket between two Python processes is about 45 us, so a call that does
nothing should cost two to three times that; 100 MB through shared memory is two copies, some 30 ms.
Every peer runs alone, in a process and a folder of its own, with two workers, on loopback; nothing is left running.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.peers.ask import MARK, marked  # noqa: E402

PEERS = {"worldos": "worldos", "pool": "", "loky": "loky", "ray": "ray", "dask": "distributed", "parsl": "parsl"}
COLD_STARTS, COLD_SPENT_MAX_S = 5, 6.0
LIMIT_S = {"cold": 60, "warm": 120}
ROWS = {  # answer: (what it says, how it is printed, whether more is better)
    "cold_s": ("cold start to first result, s", "{:.2f}", False),
    "round_trip_us": ("no-op round trip, us", "{:.0f}", False),
    "round_trip_p99_us": ("the same, 99th percentile, us", "{:.0f}", False),
    "calls_per_s": ("10 000 no-op calls, 2 workers, /s", "{:.0f}", True),
    "array_mb_per_s": ("100 MB array there and back, MB/s", "{:.0f}", True),
    "idle_pss_mb": ("memory (PSS) idle without driver, MB", "{:.0f}", False),
    "idle_cpu_percent": ("processor idle, %", "{:.1f}", False),
    "lost_worker_ms": ("killed worker: call running elsewhere, ms", "{:.0f}", False),
}


class NoAnswerError(Exception):
    """A peer gave no answers."""


def asked(peer: str, question: str) -> dict[str, float]:
    """Run one adapter until it has answered; then end everything it started, also when it failed."""
    mark = uuid.uuid4().hex
    with (
        tempfile.TemporaryDirectory(prefix="wosb-", ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile() as errors,
    ):
        environment = os.environ | {
            MARK: mark,
            "PYTHONPATH": str(ROOT),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # where parsl finds its worker
        }
        command = [sys.executable, "-m", "bench.peers.ask", peer, question, folder]
        start_ns = time.monotonic_ns()
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, cwd=folder) as process:
            too_late = threading.Timer(LIMIT_S[question], process.kill)
            too_late.start()
            try:
                line = next((line for line in process.stdout or [] if line.startswith(b'{"first_result_ns"')), b"")
            finally:
                too_late.cancel()
                end_all(mark)
        if not line:
            errors.seek(0)
            said = errors.read().decode().strip().splitlines()
            spent_s = (time.monotonic_ns() - start_ns) / 1e9
            raise NoAnswerError(f"{question} after {spent_s:.0f} s: {said[-1] if said else 'nothing said'}")
        answers = json.loads(line)
        answers["cold_s"] = (answers.pop("first_result_ns") - start_ns) / 1e9
        return answers


def end_all(mark: str) -> None:
    """Kill every process that carries the mark, until none is left: a peer's own keeper may start others anew."""
    while found := marked(mark):
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(found, timeout=1)


def measured(peer: str) -> dict[str, float]:
    """Return all answers of one peer; the cold start is the median of several programs, fewer where it is slow."""
    cold: list[float] = []
    while len(cold) < COLD_STARTS and sum(cold) < COLD_SPENT_MAX_S:
        cold.append(asked(peer, "cold")["cold_s"])
    return asked(peer, "warm") | {"cold_s": statistics.median(cold)}


def table(results: dict[str, dict[str, float]]) -> str:
    """Lay out the medians; in brackets, how many times worse than World OS each other peer is."""
    ours = results.get("worldos", {})
    lines = ["| | " + " | ".join(results) + " |", "|---|" + "---:|" * len(results)]
    for key, (title, shape, more_is_better) in ROWS.items():
        cells = [
            cell(answers.get(key), ours.get(key) if peer != "worldos" else None, shape, more_is_better=more_is_better)
            for peer, answers in results.items()
        ]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(value: float | None, ours: float | None, shape: str, *, more_is_better: bool) -> str:
    if value is None:
        return "failed"
    if not ours or not value:
        return shape.format(value)
    worse = ours / value if more_is_better else value / ours
    return f"{shape.format(value)} ({worse:.2g}x)"


def machine() -> dict[str, str | int | None]:
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": models[0].split(":", 1)[1].strip() if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    found = {}
    for peer, package in PEERS.items():
        try:
            found[peer] = version(package) if package else platform.python_version()
        except PackageNotFoundError:
            found[peer] = "not installed"
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "peers", nargs="*", default=list(PEERS), metavar="PEER", help=f"of {', '.join(PEERS)}; default all"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "peers.json")
    chosen = parser.parse_args()
    if unknown := set(chosen.peers) - set(PEERS):
        parser.error(f"no adapter for {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` still ends what was started
    results: dict[str, dict[str, float]] = {}
    failures = {}
    for peer in chosen.peers:
        start = time.monotonic()
        try:
            results[peer] = measured(peer)
        except NoAnswerError as failure:
            results[peer] = {}
            failures[peer] = str(failure)
        print(f"{peer}: asked for {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    record = {"machine": machine(), "versions": versions(), "medians": results, "failures": failures}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(record, indent=1) + "\n")
    print(", ".join(f"{key} {value}" for key, value in record["machine"].items()))
    print(", ".join(f"{peer} {record['versions'][peer]}" for peer in results))
    print(table(results))
    for peer, why in failures.items():
        print(f"{peer} failed: {why}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
