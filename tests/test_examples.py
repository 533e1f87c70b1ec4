"""The examples do what they say: each runs as a program of its own, with an embedded agent, in a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SAYS = {
    "awaited.py": "144 [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]",
    "first.py": "3711 takes longest: 237 steps",
    "gang.py": "8 words in 39 of 10000000 bytes",
    "grid_search.py": "'gamma': 0.0005}, right in 93.9%",
    "memory_of_another.py": "still there: ['greeting']",
    "refused.py": "raised over there, caught here: division by zero",
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_each_example_is_tried() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("name", sorted(SAYS))
def test_the_example_runs_as_a_new_user_would_run_it(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        env=os.environ | {"WORLDOS_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert SAYS[name] in done.stdout
    assert "Traceback" not in done.stderr
