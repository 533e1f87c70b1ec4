"""CPU: one resource for all processors that this process may use, in thousandths of one.

Capacity honours affinity and the control group's quota. What is free is decided by leases, not by load, so a sample
brings only facts: ``load_percent`` of the whole machine since the sample before. Speed is measured apart
(measure.py), for it costs tens of milliseconds and the agent keeps it.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldos.drivers import cgroup
from worldos.drivers.driver import LaneNeeds, Leased, Sample
from worldos.drivers.machine import Machine, printable
from worldos.model.resource import Fact, Kind, Scanned

LOCAL = "0"
MILLI = 1000
CPUINFO_BYTES = 8 * 1024  # the first processors only: reading all of a large machine takes long

# What programs choose by; the kernel's word on the left, ours on the right. Arm calls NEON "asimd" since version 8.
INSTRUCTION_SETS = {
    "sse4_2": "sse4_2",
    "aes": "aes",
    "sha_ni": "sha",
    "fma": "fma",
    "avx": "avx",
    "avx2": "avx2",
    "avx512f": "avx512",
    "avx512_vnni": "avx512_vnni",
    "avx_vnni": "avx_vnni",
    "amx_tile": "amx",
    "asimd": "neon",
    "neon": "neon",
    "sha2": "sha",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "sve": "sve",
    "sve2": "sve2",
}
WIDE_SETS = ("avx2", "avx512", "neon", "sve")  # also facts, so that where="avx2" works

# Arm names its cores by number. Source: arch/arm64/include/asm/cputype.h.
ARM_CORES = {
    "0xd03": "Cortex-A53",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1",
    "0xd0d": "Cortex-A77",
    "0xd40": "Neoverse-V1",
    "0xd41": "Cortex-A78",
    "0xd49": "Neoverse-N2",
    "0xd4f": "Neoverse-V2",
}

_KEY_BUSY = "cpu.busy"
LOAD_TICKS_MIN = 10  # a share of fewer clock ticks than this says nothing


@dataclass(frozen=True)
class Busy:
    """Clock ticks since the machine started, and the load that the last two readings gave."""

    busy: int
    total: int
    load_percent: int


class CpuDriver:
    """All processors of a machine as one resource."""

    kind: str = Kind.CPU

    def scan(self, machine: Machine) -> list[Scanned]:
        """Describe the processors."""
        about = _about(machine.text("/proc/cpuinfo", CPUINFO_BYTES))
        sets = _instruction_sets(about)
        capacity = capacity_milli(machine)
        facts: dict[str, Fact] = {"threads": machine.cpus(), **dict.fromkeys(_wide(sets), True)}
        model = _model(machine, about)
        if model:
            facts["model"] = model
        if mhz := _frequency_mhz(machine, about):
            facts["frequency_mhz"] = mhz
        return [
            Scanned(
                kind=self.kind,
                local=LOCAL,
                name=model or "processor",
                unit="milli",
                capacity=capacity,
                free=capacity,
                tags=tuple(sets),
                facts=facts,
            )
        ]

    def sample(self, machine: Machine) -> Sample:
        """Say how busy the machine is."""
        return Sample(node={"load_percent": load_percent(machine)})

    def lane(self, machine: Machine, leased: Leased) -> LaneNeeds:
        """Staff Python workers, one per whole core unless the need says otherwise."""
        need = leased.need
        workers = need.workers or max(1, need.amount // MILLI)
        return LaneNeeds(
            workers=workers,
            memory_bytes=need.memory_bytes,
            environ=thread_environ(need.amount, workers),
        )


def thread_environ(amount_milli: int, workers: int) -> dict[str, str]:
    """Return the variables that keep numeric libraries from starting a thread per core of the whole machine."""
    threads = str(max(1, amount_milli // MILLI // workers))
    return dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)


def capacity_milli(machine: Machine) -> int:
    """Return how many thousandths of a processor this process may use."""
    capacity = machine.cpus() * MILLI
    limit = cgroup.cpu_limit_milli(machine, cgroup.find(machine, "cpu"))
    return capacity if limit is None else min(capacity, max(1, limit))


def load_percent(machine: Machine) -> int:
    """Return the busy share of all processors since the last call; since the start of the machine at the first."""
    fields = machine.text("/proc/stat", 512).partition("\n")[0].split()[1:9]
    if len(fields) < 8 or not all(field.isdecimal() for field in fields):
        return 0
    user, nice, system, idle, waiting, irq, softirq, stolen = (int(field) for field in fields)
    busy = user + nice + system + irq + softirq + stolen
    total = busy + idle + waiting
    before = machine.remembered.get(_KEY_BUSY)
    if not isinstance(before, Busy):
        before = Busy(busy=0, total=0, load_percent=0)
    if total - before.total < LOAD_TICKS_MIN:
        return before.load_percent
    share = (busy - before.busy) * 100 // (total - before.total)
    now = Busy(busy=busy, total=total, load_percent=max(0, min(100, share)))
    machine.remembered[_KEY_BUSY] = now
    return now.load_percent


def _about(text: str) -> dict[str, str]:
    """Return the first value of each key in /proc/cpuinfo."""
    about: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            about.setdefault(key.strip().lower(), value.strip())
    return about


def _instruction_sets(about: dict[str, str]) -> list[str]:
    words = (about.get("flags") or about.get("features") or "").split()
    return sorted({INSTRUCTION_SETS[word] for word in words if word in INSTRUCTION_SETS})


def _wide(sets: list[str]) -> list[str]:
    return [word for word in WIDE_SETS if word in sets]


def _model(machine: Machine, about: dict[str, str]) -> str:
    core = ARM_CORES.get(about.get("cpu part", ""), "")
    board = machine.line("/proc/device-tree/model")
    arm = f"{core} ({board})" if core and board else core or board
    return printable(about.get("model name", "")) or printable(arm)


def _frequency_mhz(machine: Machine, about: dict[str, str]) -> int:
    khz = machine.number("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")
    if khz:
        return khz // 1000
    whole = about.get("cpu mhz", "").partition(".")[0]
    return int(whole) if whole.isdecimal() else 0


driver = CpuDriver()
