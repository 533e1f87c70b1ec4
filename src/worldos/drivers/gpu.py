"""GPU: each NVIDIA card as NVML sees it, in thousandths of one, named by its UUID.

Without an NVIDIA driver this looks for two device files and is done; the library is loaded only where there is a
driver. A lease makes its card the only one that the workers see (``CUDA_VISIBLE_DEVICES``). Cards of other makers,
and boards without NVML (Jetson), are not found in this version. Source: NVML API reference, nvmlInit_v2 and
nvmlDevice queries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from worldos.drivers.cpu import MILLI, thread_environ
from worldos.drivers.driver import LaneNeeds, Leased, Sample
from worldos.drivers.machine import Machine, printable
from worldos.model.resource import Fact, Kind, Scanned

DEVICE_FILES = ("/dev/nvidiactl", "/dev/dxg")  # the second: Windows' own Linux

_KEY_HANDLES = "gpu.handles"


class GpuDriver:
    """Every NVIDIA GPU of a machine as a resource."""

    kind: str = Kind.GPU

    def scan(self, machine: Machine) -> list[Scanned]:
        """Describe the cards; none where there is no driver or it does not answer."""
        nvml = _opened(machine)
        if nvml is None:
            machine.remembered[_KEY_HANDLES] = {}
            return []
        version = _text(nvml.nvmlSystemGetDriverVersion())
        handles = {}
        cards = []
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            card = _describe(nvml, handle, version)
            handles[card.local] = handle
            cards.append(card)
        machine.remembered[_KEY_HANDLES] = handles
        return sorted(cards, key=lambda card: card.local)

    def sample(self, machine: Machine) -> Sample:
        """Say how much memory of each card is free and how busy it is."""
        handles = machine.remembered.get(_KEY_HANDLES)
        if not isinstance(handles, dict) or not handles:
            return Sample()
        nvml = _nvml()
        return Sample(facts={local: _changing(nvml, handle) for local, handle in handles.items()})

    def lane(self, machine: Machine, leased: Leased) -> LaneNeeds:
        """Staff Python workers that see these cards only; one unless the need says otherwise."""
        need = leased.need
        workers = need.workers or 1
        return LaneNeeds(
            workers=workers,
            memory_bytes=need.memory_bytes,
            environ={"CUDA_VISIBLE_DEVICES": ",".join((leased.local, *leased.also)), **thread_environ(MILLI, workers)},
        )


def _nvml() -> Any:
    import pynvml  # noqa: PLC0415 - 50 ms that only machines with a card should pay

    return pynvml


def _opened(machine: Machine) -> Any | None:
    if not any(machine.exists(name) for name in DEVICE_FILES):
        return None
    nvml = _nvml()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:  # a driver without its library, or of another version: nothing to offer
        return None
    return nvml


def _describe(nvml: Any, handle: Any, version: str) -> Scanned:
    facts: dict[str, Fact] = {"driver": version, **_changing(nvml, handle)}
    memory = _asked(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(handle))  # not where it shares the processor's
    if memory is not None:
        facts["vram"] = int(memory.total)
    compute = _asked(nvml, lambda: nvml.nvmlDeviceGetCudaComputeCapability(handle))
    if compute is not None:
        facts["compute_capability"] = compute[0] * 10 + compute[1]
    return Scanned(
        kind=Kind.GPU,
        local=_text(nvml.nvmlDeviceGetUUID(handle)),
        name=_text(nvml.nvmlDeviceGetName(handle)),
        unit="milli",
        capacity=MILLI,
        free=MILLI,
        tags=("cuda", "nvidia"),
        facts=facts,
    )


def _changing(nvml: Any, handle: Any) -> dict[str, Fact]:
    facts: dict[str, Fact] = {}
    memory = _asked(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
    if memory is not None:
        facts["vram_free"] = int(memory.free)
    busy = _asked(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
    if busy is not None:
        facts["load_percent"] = int(busy.gpu)
    return facts


def _asked(nvml: Any, question: Callable[[], Any]) -> Any | None:
    """Return the answer to a question that some cards do not support; ``None`` for those."""
    try:
        return question()
    except nvml.NVMLError:
        return None


def _text(answer: str | bytes) -> str:
    return printable(answer.decode(errors="replace") if isinstance(answer, bytes) else answer)


driver = GpuDriver()
