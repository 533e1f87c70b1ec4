"""``wos profile`` shows what programs learned, in a table and as JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.agent.agents import new_home, running
from tests.cli.conftest import environ, wos

PROGRAM = """
import time
from worldos import use

def nap(seconds):
    time.sleep(seconds)

with use("CPU", 1) as cpu:
    list(cpu.map(nap, [0.02] * 3))
"""


def test_what_a_program_ran_is_shown(folder: Path) -> None:
    with running(new_home(folder / "desk")) as agent:
        assert "nothing has been learned yet" in wos(agent.home, "profile").stderr
        file = folder / "program.py"
        file.write_text(PROGRAM)
        subprocess.run([sys.executable, str(file)], env=environ(agent.home), check=True, timeout=60)
        header, line = (" ".join(each.split()) for each in wos(agent.home, "profile").stdout.splitlines()[:2])
        wos(agent.home, "submit", "--wait", "--", "python3", "-c", "x = bytearray(100 << 20)")
        shown = wos(agent.home, "profile").stdout
        (row,) = json.loads(wos(agent.home, "profile", "--json").stdout)["functions"]
    assert header == "FUNCTION RUNS TAKES COMPUTES BYTES IN BYTES OUT MEMORY DISK ON"
    assert line.startswith("nap 3 2")
    assert " % " in line
    assert (row["function"], row["runs"]) == ("nap", 3)
    assert row["wall_us"] >= 20_000
    assert "COMMAND OF JOBS TASKS OF LATE TAKES MEMORY\npython3 -c x = bytearray(100 << 20) 1 " in "\n".join(
        " ".join(each.split()) for each in shown.splitlines()
    )
    assert re.search(r" 1\d\d(\.\d)? MB$", shown.rstrip()), shown
