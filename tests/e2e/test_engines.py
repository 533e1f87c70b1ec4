"""Engines over three machines: the real ones, by their own clients, against the same work on one machine; nothing is left."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.e2e.lab import Run, until
from tests.e2e.realm import Realm, no_leases, realm_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

PROGRAM = Path(__file__).with_name("engines_program.py")
LONG = bool(os.environ.get("WORK_LONG"))
UP_S = 60.0


@pytest.fixture(scope="module")
def realm() -> Iterator[Realm]:
    with realm_of(["a", "b", "c"]) as built:
        yield built


@pytest.fixture(autouse=True)
def _nothing_is_left(realm: Realm) -> Iterator[None]:
    yield
    no_leases(realm.machines, 15)
    until(lambda: not engines_in(realm), 10, "the processes of engines are gone")
    until(lambda: not left_by(realm), 10, "the folders of engines are gone")


def engines_in(realm: Realm) -> list[str]:
    """Processes of engines anywhere on this machine that have to do with this lab."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        words = " ".join(process.info["cmdline"] or [])
        home = (process.info["environ"] or {}).get("WORLDOS_HOME", "")
        if home.startswith(str(realm.lab.folder)) and any(
            name in words for name in ("dask", "ray/", "postgres", "private_net")
        ):
            found.append(words)
    return found


def left_by(realm: Realm) -> list[str]:
    """Return what engines left in the scratch of a machine."""
    folders = [root for machine in realm.machines for root, _, _ in os.walk(machine.scratch)]
    return [folder for folder in folders if folder.endswith("/work") and os.path.exists(folder) and os.listdir(folder)]


def begin(realm: Realm, what: str, **words: Any) -> Run:
    return realm.machines[0].run([sys.executable, "-P", PROGRAM, what, json.dumps(words)])


def told(run: Run, what: str, within_s: float = UP_S) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run.expect(rf"^{what} (.*)$", within_s)[1])
    return found


def test_a_dask_dataframe_over_three_nodes_is_what_one_machine_makes_of_it_also_when_one_is_lost(realm: Realm) -> None:
    run = begin(realm, "dask", cpus=3, nodes=3, hold=True)
    assert told(run, "up")["dashboard"].startswith("http://127.0.0.1:")
    assert told(run, "nodes")["nodes"] == sorted(machine.node for machine in realm.machines)
    result = told(run, "result")
    assert result["there"] == result["here"]
    assert len(engines_in(realm)) > 6
    lost = realm.machines[2]
    lost.kill()
    replaced = told(run, "replaced")  # another lease has joined the engine and its network
    assert lost.node not in replaced["nodes"]
    assert len(replaced["nodes"]) == 3
    assert replaced["there"] == result["here"]
    lost.wos("up")
    run.signal(signal.SIGKILL)  # and nothing is left
    run.wait(5)


def test_a_database_goes_on_where_it_was_left_and_elsewhere_where_its_machine_died(realm: Realm) -> None:
    _, lost, other = realm.machines
    words = {"name": f"visits_{os.urandom(3).hex()}", "archive_every": "1s"}
    first = begin(realm, "postgresql", where=f"name == '{lost.name}'", **words)
    assert told(first, "up")["visits"] == 1
    assert first.wait(30) == 0, first.said()
    assert f"{words['name']}.dump" in other.wos("ls", "databases")
    killed = begin(realm, "postgresql", where=f"name == '{lost.name}'", hold=True, **words)
    assert told(killed, "up")["visits"] == 2
    until(lambda: f"{words['name']}.wal" in other.wos("ls", "databases"), 20, "its log is kept")
    told(killed, "visit")
    committed = visits(killed)
    until(lambda: visits(killed) >= committed + 10, 10, "it is visited twice a second")  # 5 s are beats enough
    lost.kill()
    killed.signal(signal.SIGKILL)
    killed.wait(5)
    lost.wos("up")
    last = begin(realm, "postgresql", where=f"name == '{other.name}'", **words)
    assert committed < told(last, "up")["visits"] <= visits(killed) + 2
    assert last.wait(30) == 0, last.said()
    assert f"{words['name']}.wal" not in other.wos("ls", "databases")


def visits(run: Run) -> int:
    """Return how many visits a program has told of."""
    return max(json.loads(said)["visits"] for said in re.findall(r"^visit (.*)$", run.text(), re.MULTILINE))


@pytest.mark.skipif(not LONG, reason="half a minute of two processors: with WORK_LONG=1")
def test_ray_over_three_nodes_is_what_one_machine_makes_of_it(realm: Realm) -> None:
    run = begin(realm, "ray", cpus=3, nodes=3)
    told(run, "up", 120)
    assert told(run, "nodes")["nodes"] == sorted(machine.node for machine in realm.machines)
    result = told(run, "result")
    assert result["there"] == result["here"]
    assert run.wait(30) == 0, run.said()
