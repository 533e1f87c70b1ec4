"""The leases of an engine: all of its first size or none; later one at a time, for a lost one or beyond the promise.

What comes beyond the promise yields, as what ``use("CPU", amount=(2, 64))`` adds does: a node may ask for it back for who
needs it more (kernel/yielding.py).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from worldos.engines.seats import CORE_MILLI, divided, one_more
from worldos.errors import BadRequest, NoCapacity
from worldos.model.need import All, Compare, Condition
from worldos.model.units import parse_amount
from worldos.sdk import gang, needs
from worldos.sdk.compute import Compute
from worldos.sdk.connection import Connection

LEASE_WORDS: Final = frozenset({"where", "near", "realm", "objective", "budget", "isolation"})
TIMEOUT_S: Final = 30.0
HEARD_S: Final = 3.0  # within which one node hears what another has free
LOOK_S: Final = 0.2
ONE_TIMEOUT_S: Final = 5.0  # for one more: what cannot be had now is asked for again


class Leasing:
    """What an engine's leases are asked for with. ``most_milli``: what it may grow to, 0: it does not."""

    def __init__(self, words: Mapping[str, Any], connection: Connection) -> None:
        self._words = words
        self._connection = connection
        least, self.most_milli = needs.least_and_most("CPU", words.get("cpus") or 1)
        self.milli = parse_amount("CPU", least or 1)
        self._said = {word: words[word] for word in sorted(LEASE_WORDS & words.keys())}
        self._memory_bytes = parse_amount("Memory", words["memory"]) if words.get("memory") is not None else 0

    def all(self, *, nodes_max: int, loopback: bool) -> tuple[Compute, ...]:
        """Lease what was asked for: each seat on a node of its own, all or none, the best head first."""
        words = self._words
        gpus = parse_amount("GPU", words["gpus"]) if words.get("gpus") else 0
        nodes = words.get("nodes") or 0
        if isinstance(nodes, bool) or not isinstance(nodes, int):
            raise BadRequest(f"nodes={nodes!r} is no number of nodes")
        if nodes_max and nodes > nodes_max:
            raise BadRequest(f"this engine runs on {nodes_max} node at most", hint="leave nodes= out")
        sizes = (self.milli,) if nodes_max == 1 else self._sizes(nodes)
        share = -(-self._memory_bytes // len(sizes)) if self._memory_bytes else None
        apart = len(sizes) > 1
        wanted = [gang.wanted("CPU", f"{size}m", {**self._said, "memory": share, "apart": apart}) for size in sizes]
        if gpus:
            wanted += [gang.wanted("GPU", f"{gpus}m", {**self._said})]
        handles = self._got(wanted, joined=len(wanted) > 1 or not loopback, timeout_s=words.get("timeout", TIMEOUT_S))
        here = self._connection.node()
        return tuple(sorted(handles, key=lambda handle: here not in handle.nodes))  # its head best on this machine

    def again(self, handle: Compute) -> Compute:
        """Lease what a lost handle had. Raises NoCapacity."""
        need = handle.need
        words = {**self._said, "memory": need.memory_bytes or None}
        (found,) = self._got([gang.wanted(need.kind, f"{need.amount}m", words)], joined=True, timeout_s=ONE_TIMEOUT_S)
        return found

    def more(self, cores: int) -> Compute:
        """Lease up to so many cores more, as many as one node has. Raises NoCapacity."""
        size = one_more(cores, self._free())
        memory = self._memory_bytes * size // self.milli or None
        words = {**self._said, "memory": memory, "yields": True}
        (found,) = self._got([gang.wanted("CPU", f"{size}m", words)], joined=True, timeout_s=ONE_TIMEOUT_S)
        return found

    @property
    def cores(self) -> tuple[int, int]:
        """The least and the most whole cores; the same where it does not grow."""
        least = max(1, self.milli // CORE_MILLI)
        return least, max(least, self.most_milli // CORE_MILLI)

    def _sizes(self, nodes: int) -> tuple[int, ...]:
        """Divide what is wanted by what is free; what others have just given back is heard of a moment later."""
        until_s = time.monotonic() + HEARD_S
        while True:
            try:
                return divided(self.milli, self._free(), nodes)
            except NoCapacity:
                if time.monotonic() > until_s:
                    raise
            time.sleep(LOOK_S)

    def _free(self) -> list[int]:
        return [each["free"] for each in self._connection.ask("resources") if each["kind"] == "CPU"]

    def _got(self, wanted: list[gang.Wanted[Any]], *, joined: bool, timeout_s: float | None) -> list[Compute]:
        parts = [replace(part.need, workers=1, where=_where(part.need.where, joined=joined)) for part in wanted]
        asked = [gang.Wanted(need, part.handle) for need, part in zip(parts, wanted, strict=True)]
        handles = gang.get(asked, needs.ttl_of(self._words.get("ttl")), 0, timeout_s)
        computes = [handle for handle in handles if isinstance(handle, Compute)]
        for handle in computes:
            handle.activate()
        return computes


def _where(said: Condition | None, *, joined: bool) -> Condition | None:
    """Add to what was said of the nodes that they can have a private network, where the engine cannot do without."""
    if not joined:
        return said
    able = Compare(fact="private_net", op="==", value=True)
    return able if said is None else All(parts=(said, able))
