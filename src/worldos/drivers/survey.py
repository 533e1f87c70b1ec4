"""The survey of a machine: all drivers asked in one go, foreign ones kept from doing harm.

``survey`` is for the start and now and then; ``sample`` for the live offer, at most twice a second. Facts of the node
are those that hold for all its resources; no host name, no serial number, no hardware address is among them.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping

import msgspec

from worldos.drivers import cpu, memory
from worldos.drivers.driver import Driver, Report, Sample, guarded, log_broken
from worldos.drivers.machine import Machine, printable
from worldos.model.limits import RESOURCES_PER_NODE_MAX
from worldos.model.resource import Fact, Scanned

ARCHITECTURES = {
    "x86_64": "x86_64",
    "amd64": "x86_64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "riscv64": "riscv64",
    "i686": "x86",
    "i386": "x86",
}
LOCAL_NAME = re.compile(r"[!-.0-~]{1,64}")  # it becomes a part of the resource's id and address
VIRTUAL_FILES = ("/.dockerenv", "/run/.containerenv", "/sys/hypervisor/type")


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine has, and what holds for it as a whole."""

    resources: tuple[Scanned, ...]
    facts: dict[str, Fact]


def survey(machine: Machine, drivers: Mapping[str, Driver], report: Report = log_broken) -> Survey:
    """Ask every driver what is there; ``speed_mips`` is not among the facts (measure.py)."""
    resources: list[Scanned] = []
    for kind in sorted(drivers):
        found = guarded(kind, lambda kind=kind: _checked(drivers[kind], machine), report)  # type: ignore[misc]
        resources.extend(found or ())
    if len(resources) > RESOURCES_PER_NODE_MAX:
        report("survey", f"{len(resources)} resources found, only {RESOURCES_PER_NODE_MAX} are offered")
    facts = {**node_facts(machine), **sample(machine, drivers, report)[1]}
    return Survey(resources=tuple(resources[:RESOURCES_PER_NODE_MAX]), facts=facts)


def sample(
    machine: Machine, drivers: Mapping[str, Driver], report: Report = log_broken
) -> tuple[dict[str, Sample], dict[str, Fact]]:
    """Ask every driver what changed; return the samples by kind, and the node's facts that change.

    What is wrong with a driver is reported once, not twice a second.
    """
    report = _once(machine, report)
    samples: dict[str, Sample] = {}
    facts: dict[str, Fact] = {}
    for kind in sorted(drivers):
        answer = guarded(kind, lambda kind=kind: drivers[kind].sample(machine), report)  # type: ignore[misc]
        if isinstance(answer, Sample):
            samples[kind] = answer
            facts.update(answer.node)
    return samples, facts


def node_facts(machine: Machine) -> dict[str, Fact]:
    """Return the facts of the node that do not change while it runs."""
    system, release, processor = machine.system()
    milli = cpu.capacity_milli(machine)
    facts: dict[str, Fact] = {
        "arch": ARCHITECTURES.get(processor.lower(), printable(processor).lower() or "unknown"),
        "os": printable(system).lower(),
        "kernel": printable(release),
        "python": platform.python_version(),
        "cores": max(1, milli // cpu.MILLI),
        "memory": memory.memory_bytes(machine)[0],
        "virtual": _is_virtual(machine),
    }
    distribution = _distribution(machine)
    if distribution:
        facts["distribution"] = distribution
    return facts


def _once(machine: Machine, report: Report) -> Report:
    """Return a report that keeps quiet about what it said last."""

    def say(name: str, sentence: str) -> None:
        key = f"survey.said.{name}"
        if machine.remembered.get(key) != sentence:
            machine.remembered[key] = sentence
            report(name, sentence)

    return say


def _checked(driver: Driver, machine: Machine) -> list[Scanned]:
    """Scan, and insist that what comes back is what the rest of the node can stand on."""
    found = msgspec.convert(msgspec.to_builtins(driver.scan(machine)), list[Scanned])
    names = set()
    for scanned in found:
        if scanned.kind != driver.kind:
            raise ValueError(f"{scanned.local} is of kind {scanned.kind}, not {driver.kind}")
        if not 0 <= scanned.free <= scanned.capacity:
            raise ValueError(f"{scanned.local}: free {scanned.free} of {scanned.capacity}")
        if scanned.local in names or not LOCAL_NAME.fullmatch(scanned.local):
            raise ValueError(
                f"{scanned.local!r} is not a name of its own of 1 to 64 characters without blanks and slashes"
            )
        names.add(scanned.local)
    return found


def _is_virtual(machine: Machine) -> bool:
    """Say whether a hypervisor or a container is beneath us: nested limits make such a node less even."""
    if any(machine.exists(name) for name in VIRTUAL_FILES):
        return True
    flags = machine.text("/proc/cpuinfo", cpu.CPUINFO_BYTES).split()
    return "hypervisor" in flags


def _distribution(machine: Machine) -> str:
    """Return ``debian 12`` or the like from os-release(5)."""
    fields = {}
    for line in machine.text("/etc/os-release", 4096).splitlines():
        name, _, value = line.partition("=")
        fields[name] = value.strip().strip("\"'")
    return printable(f"{fields.get('ID', '')} {fields.get('VERSION_ID', '')}")
