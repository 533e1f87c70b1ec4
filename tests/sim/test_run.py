"""Seeds: a set for every check-in, and the command line that runs more and says how to replay one."""

from __future__ import annotations

import pytest

from worldos.kernel.held import HeldLeases
from worldos.sim.__main__ import main
from worldos.sim.run import Settings, run_seed

SEEDS = range(10)  # `make test` runs hundreds by the command line, on all processors


@pytest.mark.slow
@pytest.mark.parametrize("harsh", [False, True], ids=["calm", "harsh"])
def test_seeds(harsh: bool) -> None:
    failed = [each for each in (run_seed(seed, Settings(harsh=harsh)) for seed in SEEDS) if each.failure]
    assert not failed, "\n".join([f"seed {failed[0].seed}: {failed[0].failure}", *failed[0].trace])


def test_a_run_has_programs_faults_and_grants() -> None:
    outcome = run_seed(1, Settings(seconds=10))
    assert outcome.failure == ""
    assert outcome.steps > 2000
    assert outcome.programs > 10
    assert outcome.granted > 5


def test_the_command_line_counts_and_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "2", "--start", "3", "--seconds", "3", "--nodes", "2", "--jobs", "1"]) == 0
    assert "2 seeds from 3: 0 failed" in capsys.readouterr().out


def test_a_seed_that_fails_says_how_to_replay_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HeldLeases, "_release", lambda self, gone: [])
    assert main(["--seeds", "1", "--start", "6", "--seconds", "5", "--harsh", "--jobs", "1"]) == 1
    said = capsys.readouterr().out
    assert "seed 6 FAILED" in said
    assert "python -m worldos.sim --seeds 1 --start 6 --nodes 0 --seconds 5 --harsh" in said
    assert "LeaseRenew" in said
