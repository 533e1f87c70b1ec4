"""mypy, strict, on a user's program: the types that are promised, and an error wherever ``# E:`` says so, nowhere else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "user_program.py"
ROOT = PROGRAM.parent.parent.parent
ERROR = re.compile(r"^.*user_program\.py:(\d+): error: (.*?)(?:  \[[a-z-]+\])?$")


@pytest.mark.slow
def test_a_users_program_has_the_types_that_are_promised(tmp_path: Path) -> None:
    expected = {
        number: line.partition("# E: ")[2]
        for number, line in enumerate(PROGRAM.read_text().splitlines(), 1)
        if "# E: " in line
    }
    assert expected
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--cache-dir", os.devnull, str(PROGRAM)],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    found = {int(match[1]): match[2] for line in checked.stdout.splitlines() if (match := ERROR.match(line))}
    assert sorted(found) == sorted(expected), checked.stdout + checked.stderr
    for number, said in expected.items():
        assert said in found[number]
