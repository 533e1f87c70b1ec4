"""Looking at the machine: a whole survey first, samples after it, and a broken driver is named."""

from __future__ import annotations

from pathlib import Path

from worldos.agent.scanner import STEPS_PER_SURVEY, Scanner


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
    assert STEPS_PER_SURVEY > 1


def test_a_survey_comes_after_so_much_time_however_often_was_looked(tmp_path: Path) -> None:
    for steps in (1, 2):
        scanner = Scanner([str(tmp_path)], lambda *_: None)
        surveys: list[int] = []
        scanner.look(steps)
        driver = scanner.drivers["Memory"]
        scanner.drivers = {"Memory": Counting(driver, surveys)}
        for _ in range(2 * STEPS_PER_SURVEY // steps):
            scanner.look(steps)
        assert len(surveys) == 2


class Counting:
    """A driver that counts how often it is asked for all there is."""

    kind = "Memory"

    def __init__(self, driver, asked):
        self.driver, self.asked = driver, asked

    def scan(self, machine):
        self.asked.append(1)
        return self.driver.scan(machine)

    def sample(self, machine):
        return self.driver.sample(machine)

    def lane(self, machine, leased):
        return self.driver.lane(machine, leased)
