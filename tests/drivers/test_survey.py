from __future__ import annotations

import time

import msgspec
import pytest

from worldos.drivers.driver import Sample, found
from worldos.drivers.machine import Machine
from worldos.drivers.survey import Survey, sample, survey
from worldos.model.resource import Kind, Scanned

SCAN_S_MAX = 0.15
SAMPLE_S_MAX = 0.002


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("laptop", {"CPU", "Memory", "Storage", "Network", "Power", "Camera", "Sound", "Display"}),
        ("board", {"CPU", "Memory", "Storage", "Network", "Camera", "Sound"}),
        ("container", {"CPU", "Memory", "Storage", "Network"}),
        ("vm", {"CPU", "Memory", "Storage", "Network"}),
    ],
)
def test_each_machine_has_what_it_has(captured, name, kinds):
    told = []
    found_there = survey(captured(name), found(), lambda *line: told.append(line))
    assert {resource.kind for resource in found_there.resources} == kinds
    assert told == []


def test_a_survey_crosses_a_process_unchanged(captured):
    surveyed = survey(captured("laptop"), found())
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(surveyed), type=Survey) == surveyed


def test_a_laptops_facts_are_those_that_a_need_asks_for(captured):
    facts = survey(captured("laptop"), found()).facts
    assert facts == {
        "arch": "x86_64",
        "os": "linux",
        "kernel": "6.8.0-45-generic",
        "python": facts["python"],
        "cores": 8,
        "memory": 16_119_292 * 1024,
        "memory_free": facts["memory_free"],
        "virtual": False,
        "distribution": "ubuntu 24.04",
        "load_percent": 5,
        "battery": True,
        "battery_percent": 81,
    }


def test_architecture_has_one_name_everywhere(captured):
    assert survey(captured("board"), found()).facts["arch"] == "arm64"


def test_a_container_and_a_virtual_machine_say_so(captured):
    assert survey(captured("container"), found()).facts["virtual"] is True
    assert survey(captured("vm"), found()).facts["virtual"] is True
    assert survey(captured("board"), found()).facts["virtual"] is False


class Odd:
    """A driver that does what it is told to do wrong."""

    kind = "Odd"

    def __init__(self, scanned):
        self.scanned = scanned

    def scan(self, machine):
        if isinstance(self.scanned, Exception):
            raise self.scanned
        return self.scanned

    def sample(self, machine):
        raise OSError("gone")

    def lane(self, machine, leased):
        raise NotImplementedError


def piece(**changes):
    return msgspec.structs.replace(
        Scanned(kind="Odd", local="a", name="a", unit="piece", capacity=1, free=1), **changes
    )


@pytest.mark.parametrize(
    "scanned",
    [
        RuntimeError("no"),
        None,
        [5],
        [piece(kind="CPU")],
        [piece(free=2)],
        [piece(free=-1)],
        [piece(capacity="many")],
        [piece(), piece()],
        [piece(local="a\nb")],
        [piece(local="")],
        [piece(local="a/b")],
        [piece(local="a b")],
        [piece(local="x" * 65)],
        [piece(facts={"x": object()})],
    ],
)
def test_a_foreign_driver_that_misbehaves_is_reported_and_left_out(captured, scanned):
    told = []
    surveyed = survey(captured("vm"), {"Odd": Odd(scanned), **found()}, lambda *line: told.append(line))
    assert not [resource for resource in surveyed.resources if resource.kind == "Odd"]
    assert Kind.CPU in {resource.kind for resource in surveyed.resources}
    assert [name for name, _ in told] == ["Odd", "Odd"], "once for the scan, once for the sample"


def test_a_driver_that_fails_twice_a_second_is_reported_once(captured):
    machine, told = captured("vm"), []
    for _ in range(5):
        sample(machine, {"Odd": Odd([])}, lambda *line: told.append(line))
    assert told == [("Odd", "OSError: gone")]


def test_a_sample_holds_what_changes_by_kind_and_for_the_node(captured):
    machine = captured("laptop", ("/home/ada",))
    survey(machine, found())
    samples, facts = sample(machine, found())
    assert samples["Memory"].free["0"] == facts["memory_free"]
    assert samples["Storage"].free["vgubuntu-root"] > 0
    assert samples["Camera"] == Sample()


def test_the_real_machine_is_surveyed_and_sampled_in_time(tmp_path):
    machine, drivers = Machine(folders=[str(tmp_path)]), found()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        survey(machine, drivers)
        times.append(time.perf_counter() - start)
    assert min(times) < SCAN_S_MAX
    times = []
    for _ in range(20):
        start = time.perf_counter()
        sample(machine, drivers)
        times.append(time.perf_counter() - start)
    assert min(times) < SAMPLE_S_MAX
