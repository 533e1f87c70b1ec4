"""How many cores on which nodes: an engine's size cut into seats, each on a node of its own.

Pure arithmetic over what is known to be free. As few seats as hold it all, because processes of one node need no network;
when a number of nodes is wanted, as even as they are free. What is free is only a hint: the nodes themselves grant or refuse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from worldos.engines.limits import NODES_MAX
from worldos.errors import BadRequest, NoCapacity

CORE_MILLI: Final = 1000


def divided(milli_cpu: int, free: Sequence[int], nodes: int = 0) -> tuple[int, ...]:
    """Return the size of each seat in thousandths of a core, the largest first; their sum is ``milli_cpu``.

    ``free`` is what each node has free; ``nodes`` says on how many it shall be, 0: on as few as hold it.
    """
    if not 0 <= nodes <= NODES_MAX:
        raise BadRequest(f"nodes={nodes}: an engine runs on 1 to {NODES_MAX} nodes")
    most = sorted((amount for amount in free if amount > 0), reverse=True)
    if nodes:
        return _evenly(milli_cpu, most[:nodes], nodes)
    seats: list[int] = []
    left = milli_cpu
    for amount in most[:NODES_MAX]:
        size = min(left, amount if amount < CORE_MILLI or left <= amount else amount - amount % CORE_MILLI)
        seats.append(size)
        left -= size
        if not left:
            return tuple(seats)
    if len(most) > 1:
        raise NoCapacity(_too_much(milli_cpu, most), hint="ask for less, or wait until more is free: wos resources")
    return (milli_cpu,)  # what this node does not know of may be found further away


def one_more(cores: int, free: Sequence[int]) -> int:
    """Return the size of one seat more, in thousandths of a core: as many of ``cores`` as the freest node has."""
    most = max(free, default=0) // CORE_MILLI
    if most < 1:
        raise NoCapacity("no node has a core free", hint="wait until more is free: wos resources")
    return min(cores, most) * CORE_MILLI


def _evenly(milli_cpu: int, most: list[int], nodes: int) -> tuple[int, ...]:
    """Fill so many nodes in whole cores, each time where most is left."""
    if len(most) < nodes:
        raise NoCapacity(f"{nodes} nodes are wanted, {len(most)} have cores free", hint="ask for fewer: nodes=")
    if milli_cpu < nodes * CORE_MILLI and milli_cpu % nodes == 0:
        return (milli_cpu // nodes,) * nodes
    if milli_cpu < nodes * CORE_MILLI:
        raise BadRequest(
            f"{milli_cpu / CORE_MILLI:g} cores on {nodes} nodes are less than one on each", hint="ask for more cpus"
        )
    seats = [CORE_MILLI] * nodes
    left = milli_cpu - nodes * CORE_MILLI
    while left:
        at = max(range(nodes), key=lambda index: (most[index] - seats[index], -index))
        step = min(left, CORE_MILLI)
        if most[at] - seats[at] < step:
            raise NoCapacity(_too_much(milli_cpu, most), hint="ask for less, or wait until more is free: wos resources")
        seats[at] += step
        left -= step
    return tuple(sorted(seats, reverse=True))


def _too_much(milli_cpu: int, most: Sequence[int]) -> str:
    return f"{milli_cpu / CORE_MILLI:g} cores are wanted, {sum(most) / CORE_MILLI:g} are free on {len(most)} nodes"
