"""Machines to look at: captured ones laid out as trees (machines/*.txt), and the real one that the tests run on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from worldos.drivers.driver import Leased
from worldos.drivers.machine import Machine
from worldos.model.ids import LeaseId
from worldos.model.need import Need

MACHINES = Path(__file__).parent / "machines"


class CapturedMachine(Machine):
    """A machine laid out in a folder, with recorded answers to the few questions that are system calls."""

    def __init__(self, root: Path, calls: dict, folders: tuple[str, ...]) -> None:
        super().__init__(str(root), folders)
        self.calls = calls

    def cpus(self) -> int:
        return self.calls["cpus"]

    def system(self) -> tuple[str, str, str]:
        return tuple(self.calls["system"])

    def addresses(self) -> dict[str, tuple[str, ...]]:
        return {link: tuple(addresses) for link, addresses in self.calls["addresses"].items()}

    def space(self, folder: str) -> tuple[int, int]:
        return tuple(self.calls["space"].get(folder, (0, 0)))

    def write(self, name: str, text: str) -> None:
        """Change the machine: what a test does to see the change."""
        path = Path(self.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def lay_out(text: str, root: Path) -> dict:
    """Write the files and links of a captured machine below ``root``; return the answers to its system calls."""
    calls = {}
    for part in ("\n" + text).split("\n=== ")[1:]:
        head, _, body = part.partition("\n")
        if head.startswith("call "):
            calls[head.removeprefix("call ")] = json.loads(body)
            continue
        name, arrow, target = head.partition(" -> ")
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if arrow:
            path.symlink_to(target)
        else:
            path.write_text(body if body.endswith("\n") or not body else body + "\n")
    return calls


@pytest.fixture
def captured(tmp_path: Path) -> Callable[..., CapturedMachine]:
    """Return a function from a machine's name to the machine."""

    def make(name: str, folders: tuple[str, ...] = ()) -> CapturedMachine:
        root = tmp_path / name
        root.mkdir()
        return CapturedMachine(root, lay_out((MACHINES / f"{name}.txt").read_text(), root), folders)

    return make


@pytest.fixture
def real() -> Machine:
    """The machine that the tests run on."""
    return Machine()


@pytest.fixture
def leased() -> Callable[..., Leased]:
    """Return a function that grants some of a resource."""

    def make(local: str, kind: str, amount: int, **terms: object) -> Leased:
        return Leased(lease=LeaseId("abc-1-2"), local=local, need=Need(kind=kind, amount=amount, **terms))

    return make
