"""How long until an engine can be used, and what does World OS add to its own start?

From `use(...)` to the first result of its client, on one node and on three (agents of this machine, so three share its
processors), against the same engine started by itself on this machine as its own documentation says: `LocalCluster` with as
many processes, `ray.init()`, `initdb` and `postgres`. Each in a program of its own that begins with `import worldos`, or the
engine.

Guess on the back of an envelope: ours adds a lease (5 ms), the tender's module (60 ms once), a private network (150 ms: a
helper is started and finds the others), and a look every half second at most: 0.3 to 0.8 s. The rest is the engine's own
processor time: Dask imports itself in 0.9 s in each process, and there are three on the head (scheduler, nanny, worker) and
two on each other node: on two cores 1.4 s and 3.2 s, twice what LocalCluster pays, which has its scheduler in the program.
Ray starts nine processes on a head and five on a node, 10 and 6 s of processor time: on two cores 11 s for three nodes,
whoever starts it. PostgreSQL needs 0.6 s for initdb and 0.1 s to be ready.

    uv run python bench/bench_engines.py [--rounds 3] [--only Echo PostgreSQL Dask Ray] [--nodes 1 3]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WOS = (sys.executable, "-P", "-m", "worldos.cli.main")
TARGET_S = 10.0
PROGRAM_S = 300

OURS = {
    "Echo": "from tests.engines.tiny import engine\nwith engine.use({nodes}, {{'nodes': {nodes}}}): done()",
    "PostgreSQL": "import worldos, psycopg\n"
    "with worldos.use('PostgreSQL', keep=False) as url:\n"
    "    psycopg.connect(url).execute('select 1'); done()",
    "Dask": "import worldos\n"
    "with worldos.use('Dask', cpus={nodes}, nodes={nodes}) as client:\n"
    "    client.gather(client.map(abs, range({nodes}))); done()",
    "Ray": "import worldos\n"
    "with worldos.use('Ray', cpus={nodes}, nodes={nodes}) as ray:\n"
    "    ray.get([ray.remote(lambda: 1).remote() for _ in range({nodes})]); done()",
}
ALONE = {
    "Dask": "from distributed import Client, LocalCluster\n"
    "if __name__ == '__main__':\n"
    "    with LocalCluster(n_workers={nodes}, threads_per_worker=1, dashboard_address=None) as cluster:\n"
    "        client = Client(cluster)\n"
    "        client.gather(client.map(abs, range({nodes}))); done(); client.close()",
    "Ray": "import ray\nray.init(num_cpus={nodes}, include_dashboard=False)\n"
    "ray.get([ray.remote(lambda: 1).remote() for _ in range({nodes})]); done()",
    "PostgreSQL": "import glob, os, psycopg, subprocess, tempfile\n"
    "bins = sorted(glob.glob('/usr/lib/postgresql/*/bin'))[-1]\n"
    "user = ['setpriv', '--reuid=nobody', '--regid=nogroup', '--clear-groups'] if os.geteuid() == 0 else []\n"
    "with tempfile.TemporaryDirectory() as folder:\n"
    "    os.chmod(folder, 0o777)\n"
    "    data = folder + '/data'\n"
    "    subprocess.run([*user, bins + '/initdb', '-D', data, '-U', 'me', '-A', 'trust', '--no-sync'], stdout=-3, check=True)\n"
    "    server = subprocess.Popen([*user, bins + '/postgres', '-D', data, '-k', folder, '-h', ''], stderr=subprocess.PIPE)\n"
    "    while b'ready to accept' not in server.stderr.readline(): pass\n"
    "    psycopg.connect(host=folder, user='me', dbname='postgres').execute('select 1'); done()\n"
    "    server.terminate(); server.wait()",
}
DONE = "import time; began = time.monotonic()\ndef done(): print('took', time.monotonic() - began, flush=True)\n"


@contextmanager
def realm(nodes: int) -> Iterator[Path]:
    """Let so many agents run on loopback, joined; yield the home of the first."""
    with tempfile.TemporaryDirectory(prefix="wos-b-") as folder:
        homes = [Path(folder) / f"n{index}" for index in range(nodes)]
        try:
            for index, home in enumerate(homes):
                listen = ("--listen", "127.0.0.1:0", "--name", home.name)
                if index == 0:
                    wos(home, "up", *listen)
                    continue
                inviting = subprocess.Popen(
                    [*WOS, "invite", "--yes", "--plain"], env=environ(homes[0]), stdout=subprocess.PIPE, text=True
                )
                assert inviting.stdout is not None
                ticket = next(line.strip() for line in inviting.stdout if len(line) > 40)
                wos(home, "join", ticket, "--yes", *listen)
                inviting.wait(30)
            until_seen(homes[0], nodes)
            yield homes[0]
        finally:
            for home in homes:
                subprocess.run([*WOS, "down"], env=environ(home), capture_output=True, check=False)


def until_seen(home: Path, nodes: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        rows = json.loads(wos(home, "nodes", "--json"))
        if sum(row["status"] == "alive" and row["cpu_free"] > 0 for row in rows) == nodes:
            return
        assert time.monotonic() < deadline, rows
        time.sleep(0.2)


def wos(home: Path, *words: str) -> str:
    return subprocess.run(
        [*WOS, *words], env=environ(home), capture_output=True, text=True, check=True, timeout=60
    ).stdout


def environ(home: Path) -> dict[str, str]:
    return {**os.environ, "WORLDOS_HOME": str(home)}


def took_s(home: Path, script: str) -> float:
    """Run a program; return how long it said that it took."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DONE + script],
        env=environ(home), cwd=ROOT, capture_output=True, text=True, check=False, timeout=PROGRAM_S,
    )  # fmt: skip
    if run.returncode:
        raise SystemExit(f"{script}\n{run.stderr[-2000:]}")
    return float(next(line.split()[1] for line in run.stdout.splitlines() if line.startswith("took ")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(OURS), choices=list(OURS))
    parser.add_argument("--nodes", nargs="*", type=int, default=[1, 3])
    args = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors; medians of {args.rounds} pairs, in seconds")
    print(f"{'':12}{'nodes':>6}{'ours':>8}{'alone':>8}{'ratio':>7}{'added':>8}   target {TARGET_S:g} s on three")
    for nodes in args.nodes:
        with realm(nodes) as home:
            for name in args.only:
                if name == "PostgreSQL" and nodes > 1:
                    continue
                ours, alone = [], []
                for _ in range(args.rounds):
                    ours.append(took_s(home, OURS[name].format(nodes=nodes)))
                    if name in ALONE:
                        alone.append(took_s(home, ALONE[name].format(nodes=nodes)))
                report(name, nodes, ours, alone)


def report(name: str, nodes: int, ours: list[float], alone: list[float]) -> None:
    mine = statistics.median(ours)
    line = f"{name:12}{nodes:>6}{mine:>8.2f}"
    if alone:
        theirs = statistics.median(alone)
        line += f"{theirs:>8.2f}{mine / theirs:>7.2f}{mine - theirs:>8.2f}"
    else:
        line += f"{'-':>8}{'-':>7}{mine:>8.2f}"
    print(line, "  MISSED" if nodes == 3 and mine > TARGET_S else "", flush=True)


if __name__ == "__main__":
    main()
