"""The planet run: a third is cut off and heals, and what it took is printed."""

from __future__ import annotations

import pytest

from worldos.sim.__main__ import main


def test_a_small_planet_is_cut_and_healed(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--planet", "--nodes", "40", "--levels", "3", "--cut-seconds", "60", "--slower", "20", "--start", "1"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "20 times less often" in said
    assert "merged_ms" in said
