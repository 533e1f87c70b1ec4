"""A driver: the three questions that World OS asks about one kind of resource.

What is there (``scan``), what of it is free now (``sample``), and what must stand behind a lease of it (``lane``). A
driver never runs user code and never talks to another node: what it returns are values. Drivers are found by the
entry point group ``worldos.drivers``, so that anyone ships one in a package of their own; a broken one is reported
and skipped, never fatal. Source: DESIGN.md sections 3 and 12; docs/guides/write-a-driver.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import msgspec

from worldos.drivers.installed import EntryPoint, entry_points
from worldos.drivers.machine import Machine
from worldos.model.ids import LeaseId
from worldos.model.limits import NAME_CHARS_MAX
from worldos.model.need import Need
from worldos.model.resource import Fact, Scanned

ENTRY_POINTS = "worldos.drivers"

Report = Callable[[str, str], None]
"""Takes the name of a driver and a sentence about what is wrong with it."""

log = logging.getLogger(__name__)


class Sample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What changed since the scan, by local name; absent means unchanged.

    ``free`` is what the machine itself says is left, so it already misses what running leases use. ``node`` are facts
    that hold for the node as a whole, such as ``load_percent``.
    """

    free: dict[str, int] = {}
    facts: dict[str, dict[str, Fact]] = {}
    node: dict[str, Fact] = {}


class Leased(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was granted of one scanned resource, or of several whole ones (``also``): enough to staff its lane."""

    lease: LeaseId
    local: str
    need: Need
    also: tuple[str, ...] = ()


class LaneNeeds(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the lane behind a lease is staffed.

    ``driver`` is the text ``"module:attribute"`` of a lane object (lane_object.py) that each worker builds with
    ``arguments`` and drives by the six verbs; empty text means that the workers run Python calls. ``memory_bytes``
    bounds a worker's memory, 0 when the lane object keeps its own limit. ``folder``, where not empty, is made before
    the lane starts and removed with all it holds when the lease ends, however it ends. ``door``, where not empty, is
    the socket of a process that stands already and serves every lease of its kind: no workers are started.
    """

    driver: str = ""
    arguments: dict[str, int | bool | str] = {}
    workers: int = 1
    memory_bytes: int = 0
    environ: dict[str, str] = {}
    folder: str = ""
    door: str = ""


@runtime_checkable
class Driver(Protocol):
    """One kind of resource on this machine."""

    kind: str

    def scan(self, machine: Machine) -> list[Scanned]:
        """Describe what is there; called at start and now and then, may take some milliseconds."""

    def sample(self, machine: Machine) -> Sample:
        """Say what is free now; called up to twice a second, takes microseconds."""

    def lane(self, machine: Machine, leased: Leased) -> LaneNeeds:
        """Say what must stand behind a lease; ``BadRequest`` where this kind cannot be leased."""


def log_broken(name: str, sentence: str) -> None:
    """Write what is wrong with a driver into the log."""
    log.warning("driver %s is left out: %s", name, sentence)


def found(report: Report = log_broken) -> dict[str, Driver]:
    """Load every driver that is installed, by kind, in order of its entry point's name.

    Those of World OS itself come first, so a foreign package can add a kind but not take one over.
    """
    drivers: dict[str, Driver] = {}
    for point in sorted(entry_points(ENTRY_POINTS), key=_ours_first):
        driver = guarded(point.name, point.load, report)
        if driver is None:
            continue
        problem = _problem(driver, drivers)
        if problem:
            report(point.name, problem)
        else:
            drivers[driver.kind] = driver
    return drivers


def guarded(name: str, call: Callable[[], Any], report: Report) -> Any | None:
    """Return what ``call`` returns, or ``None`` after a report: a driver is foreign code and may fail in any way."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - the one door to foreign code; its failure is data, told by name
        report(name, f"{type(error).__name__}: {error}")
        return None


def _ours_first(point: EntryPoint) -> tuple[bool, str, str]:
    return (not point.value.startswith("worldos."), point.name, point.value)


def _problem(driver: object, drivers: dict[str, Driver]) -> str:
    kind = getattr(driver, "kind", None)
    if not isinstance(kind, str) or not kind or len(kind) > NAME_CHARS_MAX:
        return "its kind is not a word"
    if not isinstance(driver, Driver):
        return "it lacks one of scan, sample, lane"
    if driver.kind in drivers:
        return f"another driver already brings {driver.kind}"
    return ""
