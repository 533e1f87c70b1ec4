from __future__ import annotations

import sys
import textwrap

import pytest

from worldos.drivers.driver import found
from worldos.model.resource import Kind


def a_package(folder, module, code, *points):
    """Write a package as pip would leave it: a module and its metadata with entry points."""
    (folder / f"{module}.py").write_text(textwrap.dedent(code))
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    lines = "\n".join(points)
    (info / "entry_points.txt").write_text(f"[worldos.drivers]\n{lines}\n")


GOOD = """
    class D:
        kind = "Kettle"
        def scan(self, machine): return []
        def sample(self, machine): ...
        def lane(self, machine, leased): ...
    driver = D()
    class Cpu(D):
        kind = "CPU"
    cpu = Cpu()
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("kettle", "broken"):
        sys.modules.pop(name, None)


def test_all_kinds_of_world_os_are_found():
    drivers = found()
    assert set(Kind) <= set(drivers)
    assert all(drivers[kind].kind == kind for kind in drivers)


def test_a_driver_of_another_package_is_found(site):
    a_package(site, "kettle", GOOD, "kettle = kettle:driver")
    assert found()["Kettle"].scan(None) == []


def test_a_broken_driver_is_reported_and_the_others_work(site):
    a_package(site, "broken", "raise RuntimeError('no such bus')", "broken = broken:driver", "gone = nowhere:driver")
    told = []
    drivers = found(lambda name, sentence: told.append((name, sentence)))
    assert set(Kind) <= set(drivers)
    assert [name for name, _ in told] == ["broken", "gone"]
    assert "no such bus" in told[0][1]


def test_a_foreign_driver_cannot_take_over_a_kind(site):
    a_package(site, "kettle", GOOD, "aaa = kettle:cpu")
    told = []
    assert type(found(lambda *line: told.append(line))["CPU"]).__module__ == "worldos.drivers.cpu"
    assert told == [("aaa", "another driver already brings CPU")]


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("driver = 5", "kind"),
        ("class D:\n    kind = ''\ndriver = D()", "kind"),
        ("class D:\n    kind = 'X' * 100\ndriver = D()", "kind"),
        ("class D:\n    kind = 'Kettle'\ndriver = D()", "scan"),
    ],
)
def test_what_is_no_driver_is_left_out(site, code, what):
    (site / "broken.py").write_text(code)
    a_package(site, "broken", code, "broken = broken:driver")
    told = []
    assert "Kettle" not in found(lambda *line: told.append(line))
    assert len(told) == 1
    assert what in told[0][1]
