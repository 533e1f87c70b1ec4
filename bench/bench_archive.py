"""What does it cost a database that its log is kept every few seconds, and how much is lost when it is killed?

Back of the envelope: an insert of a row and its commit is some 200 bytes of log; at 2 000 a second that is 0.4 MB/s, written
twice (by the server and by pg_receivewal) and sealed twice (in a front, then in a part). So it should take less than 1 % of a
core, and the peer, the same server without an archive, should be as quick within the noise. A base backup reads 23 MB once.
What is lost is a beat and the time to keep it: one sync of a register on each store.

    uv run python bench/bench_archive.py [--seconds 10] [--pairs 3]

Prints inserts a second with and without in pairs, beside the ratio; how long a beat takes; what a killed use lost, and how long
the next one took until its first answer, beside the start from a dump. One agent on loopback, so one store.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.agent.agents import new_home, running

PROGRAM = """
import json, sys, time
import psycopg, worldos
from worldos.engines.archive import Archive

words, seconds = json.loads(sys.argv[1]), float(sys.argv[2])
beats = []
beat = Archive.beat
def timed(self):
    begun, cpu = time.perf_counter(), time.thread_time()
    beat(self)
    beats.append((time.perf_counter() - begun, time.thread_time() - cpu))
Archive.beat = timed
begun = time.perf_counter()
with worldos.use("PostgreSQL", name="bench", **words) as url:
    with psycopg.connect(url, autocommit=True) as database:
        database.execute("create table if not exists t (n serial, at float8, text text)")
        there = database.execute("select count(*), coalesce(max(at), 0) from t").fetchone()
        up_s = time.perf_counter() - begun
        print(json.dumps({"up_s": up_s, "rows": there[0], "last": there[1]}), flush=True)
        if words.get("archive_every"):
            while not beats and seconds:  # the base backup is not what an insert costs
                time.sleep(0.05)
        begun, rows = time.perf_counter(), 0
        while (now := time.perf_counter() - begun) < seconds:
            database.execute("insert into t (at, text) values (%s, %s)", (time.time(), "x" * 40))
            rows += 1
        print(json.dumps({"rate": rows / now if seconds else 0, "beats": beats[1:], "ended": time.time()}), flush=True)
        if words.get("archive_every") and len(sys.argv) > 3:
            while True:
                database.execute("insert into t (at, text) values (%s, %s)", (time.time(), "x" * 40))
                time.sleep(0.01)
"""


def begin(home: Path, seconds: float, *more: str, **words: object) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", PROGRAM, json.dumps(words), str(seconds), *more]
    return subprocess.Popen(argv, env={**os.environ, "WORLDOS_HOME": str(home)}, stdout=subprocess.PIPE, text=True)


def line(program: subprocess.Popen[str]) -> dict:
    assert program.stdout is not None
    return json.loads(program.stdout.readline())


def whole(home: Path, seconds: float, **words: object) -> tuple[dict, dict]:
    with begin(home, seconds, **words) as program:
        return line(program), line(program)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--pairs", type=int, default=3)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wos-g-") as folder, running(new_home(Path(folder) / "d")) as agent:
        home = agent.home.path
        ratios, beats, rates = [], [], []
        for _ in range(words.pairs):
            _, without = whole(home, words.seconds, archive_every=0, dump_every=0)
            _, kept = whole(home, words.seconds, archive_every="1s", dump_every=0)
            rates.append((kept["rate"], without["rate"]))
            ratios.append(kept["rate"] / without["rate"])
            beats += kept["beats"]
        print(f"load {os.getloadavg()[0]:.0f}")
        print("inserts/s, kept each second | not kept:", *(f"{a:.0f} | {b:.0f}" for a, b in rates), sep="\n  ")
        print(f"ratio {statistics.median(ratios):.2f} (median of {len(ratios)} pairs)")
        if beats:
            took_s, cpu_s = (statistics.median(each) for each in zip(*beats, strict=True))
        print(f"a beat with news {took_s * 1e3:.0f} ms, {cpu_s * 1e3:.0f} ms of a processor (median of {len(beats)})")
        from_dump, _ = whole(home, 0, archive_every="1s", dump_every=0)
        killed = begin(home, words.seconds, "on", archive_every="1s", dump_every=0)
        line(killed)
        ended = line(killed)["ended"]
        try:
            killed.wait(words.seconds / 2)
        except subprocess.TimeoutExpired:
            killed.send_signal(signal.SIGKILL)
        killed.wait()
        at_s = ended + words.seconds / 2
        after, _ = whole(home, 0, archive_every="1s", dump_every=0)
        print(
            f"up from the archive {after['up_s']:.1f} s, from a dump {from_dump['up_s']:.1f} s ({after['rows']} rows)"
        )
        print(f"killed: the last {at_s - after['last']:.1f} s were lost (a beat is 1 s)")


if __name__ == "__main__":
    main()
