"""Runs with realms: every seed in bounded time, the same story each time, and a command line that says what it took."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from worldos.sim.__main__ import main
from worldos.sim.realm_run import RealmSettings, run_realm_seed

DIGEST = """
from hashlib import blake2b
import msgspec
from worldos.sim.realm_run import RealmRun, RealmSettings
run = RealmRun(4, RealmSettings(nodes=10, seconds=6))
digest = blake2b(digest_size=16)
class Ear:
    def stepped(self, machine, event, effects):
        digest.update(msgspec.msgpack.encode((run.world.now_ns, machine.number, event, effects)))
run.world.watchers.append(Ear())
run.run()
print(digest.hexdigest(), run.world.steps)
"""


def test_one_seed_is_one_story_whatever_the_order_of_sets() -> None:
    told = [
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hashes in ("1", "2")
    ]
    assert told[0] == told[1]


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_seeds(levels: int) -> None:
    settings = RealmSettings(nodes=14, levels=levels, seconds=15)
    failed = [each for each in (run_realm_seed(seed, settings) for seed in range(2)) if each.failure]
    assert not failed, "\n".join([f"seed {failed[0].seed}: {failed[0].failure}", *failed[0].trace])


def test_the_command_line_runs_realms_and_says_how_long_things_took(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--realms", "--seeds", "1", "--start", "2", "--nodes", "8", "--seconds", "3", "--jobs", "1"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "1 seeds from 2, 8 nodes, 3 levels, 3 s of faults: 0 failed" in said
    assert "one tree after an island" in said
