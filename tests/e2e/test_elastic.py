"""A lease that grows over another machine gives its cores back when that machine's own program needs them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.e2e.lab import until
from tests.e2e.realm import Machine, realm_of
from tests.patience import patient_s

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

GROWS = """
import json, sys, time
from pathlib import Path
from worldos import use

stop, most = Path(sys.argv[1]), int(sys.argv[2])
with use("CPU", (1, most), near="me") as cpu:
    done = 0
    while not stop.exists():
        done += len(list(cpu.map(time.sleep, [0.02] * 400)))
        print(json.dumps([cpu.statistics().amount, len(cpu.nodes)]), flush=True)
    print(json.dumps({"done": done, "reruns": cpu.statistics().reruns}), flush=True)
"""
TAKES = """
import sys, time
from worldos import use

began = time.monotonic()
with use("CPU", int(sys.argv[1]), where=f"node == '{sys.argv[2]}'") as cpu:
    print(time.monotonic() - began, list(cpu.map(abs, [-1, -2])), cpu.nodes, flush=True)
"""


def lent_to(machine: Machine, holder: Machine) -> int:
    return sum(lease["amount"] for lease in machine.granted() if lease["holder"] == holder.node)


def test_what_grew_over_another_machine_goes_back_to_its_owner_and_every_call_is_done(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.py" for name in ("grows", "takes")}
    files["grows"].write_text(GROWS)
    files["takes"].write_text(TAKES)
    stop = tmp_path / "stop"
    with realm_of(["desk", "attic"]) as realm:
        desk, attic = realm.machines
        cores = {name: row["cpu_free"] // 1000 for name, row in desk.nodes().items()}
        elastic = desk.run([sys.executable, files["grows"], stop, str(cores["desk"] + 2)])
        until(lambda: lent_to(attic, desk) == 2000, 30, "it grows over the other machine")
        firm = attic.run([sys.executable, files["takes"], str(cores["attic"]), attic.node])
        assert firm.wait(30) == 0, firm.said()
        waited_s, results = firm.text().split(" ", 1)
        assert float(waited_s) < patient_s(5)
        assert results.startswith("[1, 2]")
        assert attic.node in results
        until(lambda: lent_to(attic, desk) == 2000, 30, "it grows again when that is over")
        stop.touch()
        assert elastic.wait(60) == 0, elastic.said()
        end = json.loads(elastic.text().splitlines()[-1])
        assert end["done"] % 400 == 0
        assert end["reruns"] == 0, "no call was torn away"
