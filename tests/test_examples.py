"""The examples do what they say: each runs as a program of its own, in a home of its own.

Where no agent runs an embedded one does; those about files need one that stays, as files do.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.agent.agents import new_home, running
from worldos.home import Home

EXAMPLES = Path(__file__).parent.parent / "examples"
SAYS = {
    "awaited.py": "144 [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]",
    "files.py": "red wheel barrow\nso much depends upon\n['poems', 'poems/barrow.txt']",
    "first.py": "3711 takes longest: 237 steps",
    "gang.py": "8 words in 39 of 10000000 bytes",
    "grid_search.py": "'gamma': 0.0005}, right in 93.9%",
    "memory_of_another.py": "still there: ['greeting']",
    "pandas_parquet.py": "3 cities, 3601000 people",
    "refused.py": "raised over there, caught here: division by zero",
}
NEED_AGENT = {"files.py", "pandas_parquet.py"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_each_example_is_tried() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("name", sorted(SAYS))
def test_the_example_runs_as_a_new_user_would_run_it(name: str) -> None:
    with tempfile.TemporaryDirectory(prefix="wos-x-") as folder:
        home = new_home(Path(folder) / "home") if name in NEED_AGENT else Home(Path(folder) / "home")
        with running(home) if name in NEED_AGENT else contextlib.nullcontext():
            says(name, home)


def says(name: str, home: Home) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        env=os.environ | {"WORLDOS_HOME": str(home.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert SAYS[name] in done.stdout
    assert "Traceback" not in done.stderr
