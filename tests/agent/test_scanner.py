"""Looking at the machine: a whole survey first, samples after it, and a broken driver is named."""

from __future__ import annotations

from pathlib import Path

from worldos.agent.scanner import SAMPLES_PER_SURVEY, Scanner


def test_the_first_look_is_whole_and_the_next_ones_are_quick(tmp_path: Path) -> None:
    broken: list[str] = []
    scanner = Scanner([str(tmp_path)], lambda driver, why: broken.append(f"{driver}: {why}"))
    scanner.extra = {"speed_mips": 7}
    resources, facts = scanner.look()
    again, _ = scanner.look()
    assert {item.kind for item in resources} >= {"CPU", "Memory", "Storage"}
    assert [(item.kind, item.local) for item in again] == [(item.kind, item.local) for item in resources]
    assert facts["speed_mips"] == 7
    assert isinstance(facts["battery"], bool)
    assert not broken
    assert all(0 <= item.free <= item.capacity for item in again)


def test_a_driver_that_breaks_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    broken: list[str] = []

    class Broken:
        kind = "Toaster"

        def scan(self, machine):
            raise RuntimeError("no bread")

        def sample(self, machine):
            raise RuntimeError("no bread")

        def lane(self, machine, leased):
            raise RuntimeError("no bread")

    scanner = Scanner([str(tmp_path)], lambda driver, why: broken.append(f"{driver}: {why}"))
    scanner.drivers["Toaster"] = Broken()
    resources, _ = scanner.look()
    assert any("no bread" in line for line in broken)
    assert {item.kind for item in resources} >= {"CPU", "Memory"}
    assert SAMPLES_PER_SURVEY > 1
