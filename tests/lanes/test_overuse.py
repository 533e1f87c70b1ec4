"""The kernel's count of what it stopped for memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from worldos.lanes import overuse


def test_nothing_was_stopped_in_the_cgroup_of_this_test() -> None:
    assert overuse.stopped_for_memory() >= 0


@pytest.mark.parametrize(
    ("text", "count"), [("oom_kill_disable 0\noom_kill 3\n", 3), ("oom_kill many\n", 0), ("", 0), ("low 1\n", 0)]
)
def test_the_counter_is_found_among_others(tmp_path: Path, text: str, count: int) -> None:
    (tmp_path / "memory.events").write_text(text)
    assert overuse._counted(tmp_path / "memory.events") == count
    assert overuse._counted(tmp_path / "none") == 0


def test_without_a_file_system_of_counts_nothing_can_be_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overuse, "CGROUPS", tmp_path)
    assert overuse.can_count()
    monkeypatch.setattr(overuse, "CGROUPS", tmp_path / "none")
    assert not overuse.can_count()
    assert overuse.stopped_for_memory() == 0
