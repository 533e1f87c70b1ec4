"""Nothing that was acknowledged is lost by a power cut or a kill, at any moment, nor by one while the last is repaired.

WOS_CUTS=1000 is the nightly size.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CUTS = int(os.environ.get("WOS_CUTS", "0"))
CANNOT = 77
ROOT = Path(__file__).parent.parent.parent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120 + 6 * CUTS)]


def cut(*asked: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.depot.powercut", *asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode == CANNOT:
        pytest.skip(f"the power of a disk cannot be cut here: {done.stdout.strip()}")
    return done


def test_a_power_cut_takes_nothing_that_was_acknowledged() -> None:
    done = cut("--cuts", str(CUTS or 14))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_power_cut_of_a_full_disk_takes_nothing_that_was_acknowledged() -> None:
    done = cut("--cuts", str(CUTS or 6), "--disk-mib", "40", "--seed", "2")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_kill_takes_nothing_that_was_acknowledged() -> None:
    done = cut("--kill", "--cuts", str(CUTS or 8))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_depot_that_does_not_wait_for_the_disk_is_caught() -> None:
    done = cut("--unsynced", "--cuts", "3")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "is lost" in done.stdout
