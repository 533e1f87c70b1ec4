"""The one published score: what it would cost to take a need to a place, as an integer; the least wins.

The unit is the nanosecond of expected completion; price and carbon are weighed into it (docs/concepts/score.md has the
formula in words). Only figures go in: no names, no owners, no nations. Peers say the figures, so each is clamped to its
bound first, and with the bounds below no term passes 2**60: sums stay in 64 bits. The formula is written once and takes
integers or whole numpy columns of int64 alike (``Operations``), so that one offer and an index of 10^6 cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

import msgspec

from worldos.kernel.foresight import going_s
from worldos.model.ids import NodeId
from worldos.model.need import Objective, Work
from worldos.model.resource import Fact, Kind

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    N = TypeVar("N", int, npt.NDArray[np.int64])
else:
    N = TypeVar("N")

REFERENCE_WORK_MI: Final = 10_000  # millions of instructions: the call that every machine is measured by
REFERENCE_BYTES: Final = 100_000_000  # ... and the bytes written, for a Storage
SPEED_MIPS_DEFAULT: Final = 2_000  # of a machine that has not measured itself: slow, so that measuring pays
SPEED_MIPS_MIN: Final = 10
SPEED_MIPS_MAX: Final = 10_000_000
WRITE_BPS_DEFAULT: Final = 50_000_000
TRIPS: Final = 4  # round trips to open a lane and get the first result
RTT_US_DEFAULT: Final = 20_000  # to a node that nobody has measured
RTT_US_MAX: Final = 10_000_000
FETCH_BYTES_US: Final = 50  # bytes that travel between nodes in 1 us, until links are measured by what they carry
FETCH_US_MAX: Final = 10**11
LOAD_IGNORED_PERCENT: Final = 20  # below this a machine is as good as idle: measured loads jitter
LOAD_SLOWS: Final = 400  # a fully loaded machine's other cores are (100 - 20) / 400 slower: clocks, caches, memory
REDO_US: Final = 1_500_000  # until a silent node's calls run elsewhere
CARBON_G_KWH_DEFAULT: Final = 400
CARBON_G_KWH_MAX: Final = 10_000
CORES_MILLI_MAX: Final = 2**32
PRICE_HOUR_MAX_UWOS: Final = 10**11  # nobody pays 100 000 WOSCoin an hour: above it is never feasible

LOSS_DOUBTED_PERMILLE: Final = 500
LOSS_BATTERY_PERMILLE: Final = 100
LOSS_GOING_PERMILLE: Final = 800
GOING_SURELY_S: Final = 600  # who has less left than this is as good as gone; with twice as much it is half as likely
LOSS_FLAP_PERMILLE: Final = 50
LOSS_FLAPS_MAX: Final = 6


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """What one unit of each term costs, in nanoseconds."""

    transfer_us: int
    run_us: int
    price_uwos_hour: int
    carbon_g_kwh_s: int
    risk_us: int = 1_000


WEIGHTS: Final[Mapping[Objective, Weights]] = {
    Objective.FASTEST: Weights(transfer_us=1_000, run_us=1_000, price_uwos_hour=1, carbon_g_kwh_s=1),
    Objective.CHEAPEST: Weights(transfer_us=1, run_us=1, price_uwos_hour=1_000_000, carbon_g_kwh_s=1),
    Objective.GREENEST: Weights(transfer_us=1, run_us=1, price_uwos_hour=1, carbon_g_kwh_s=1_000_000),
    Objective.NEAREST: Weights(transfer_us=1_000_000, run_us=1, price_uwos_hour=1, carbon_g_kwh_s=1),
}


class Operations(NamedTuple, Generic[N]):
    """The two operations that integers and columns spell differently."""

    least: Callable[[N, N | int], N]
    most: Callable[[N, N | int], N]


INTEGERS: Final[Operations[int]] = Operations(least=min, most=max)


class Figures(NamedTuple, Generic[N]):
    """What the score reads of one resource on its node; ``loss_permille`` is what the node says against itself."""

    work_us: N
    load_percent: N
    capacity: N
    free: N
    carbon_g_kwh: N
    loss_permille: N


class Way(NamedTuple, Generic[N]):
    """What the score reads of the chooser's own view: how far it is, and what is known against the node."""

    rtt_us: N
    doubt_permille: N


def weights_of(objective: Objective, *, near_home: bool) -> Weights:
    """Return the weights; who asks for something near itself has its distance weighed as with ``nearest``."""
    weights = WEIGHTS[objective]
    if near_home:
        return msgspec.structs.replace(weights, transfer_us=WEIGHTS[Objective.NEAREST].transfer_us)
    return weights


def weigh(
    weights: Weights,
    figures: Figures[N],
    way: Way[N],
    amount: int,
    price_hour_uwos: N,
    ops: Operations[N],
) -> N:
    """Return the score of ``amount`` at this place; meaningful where it fits, monotone in amount and price."""
    run_us = figures.work_us + _queue_us(figures, amount, ops)
    risk_us = (run_us + REDO_US) * (figures.loss_permille + way.doubt_permille) // 1000
    carbon = figures.carbon_g_kwh * (run_us + 1_000_000) // 1_000_000
    points: N = (
        way.rtt_us * (TRIPS * weights.transfer_us)
        + run_us * weights.run_us
        + price_hour_uwos * weights.price_uwos_hour
        + carbon * weights.carbon_g_kwh_s
        + risk_us * weights.risk_us
        + _loose_fit(figures, amount, ops)
    )
    return points


def _queue_us(figures: Figures[N], amount: int, ops: Operations[N]) -> N:
    """Return how much longer the work takes on a busy machine, most of all where idle cores do not suffice."""
    busy = ops.most(figures.load_percent - LOAD_IGNORED_PERCENT, 0)
    cores = ops.least(figures.capacity, CORES_MILLI_MAX)
    idle = cores - cores // 100 * busy
    short = ops.most(min(amount, CORES_MILLI_MAX) - idle, 0)
    return figures.work_us * busy // LOAD_SLOWS + figures.work_us * short // ops.most(idle, 1)


def _loose_fit(figures: Figures[N], amount: int, ops: Operations[N]) -> N:
    """Return 0 to 1024 for what would be left over: among equals the tightest fit, so that large needs still fit."""
    return ops.least((figures.free - amount) // ops.most(figures.capacity >> 10, 1), 1024)


def price_hour_uwos(price_uwos: N, thousandths: int, ops: Operations[N]) -> N:
    """Return the price of an hour, rounded up; all above PRICE_HOUR_MAX_UWOS come back as just above it."""
    limit = PRICE_HOUR_MAX_UWOS * 1000
    counted = min(thousandths, limit + 1)
    if counted == 0:
        return price_uwos * 0
    capped = ops.least(price_uwos, limit // counted + 1)
    return ops.least((capped * counted + 999) // 1000, PRICE_HOUR_MAX_UWOS + 1)


def fetch_us(size_bytes: int) -> int:
    """Return how long so many bytes take from node to node."""
    return min(FETCH_US_MAX, max(0, size_bytes) // FETCH_BYTES_US)


def round_us(work: Work, node: NodeId, reference_us: int) -> int:
    """Return how long a round of learned calls takes on a node that takes so long for the reference call."""
    for known in work.known:
        if known.node == node and known.run_us:
            return known.run_us
    return reference_us * work.cpu_mi // REFERENCE_WORK_MI + work.wait_us


def move_us(work: Work, node: NodeId, cores: int) -> int:
    """Return how long what rounds on so many cores bring and return is on the way to a far node."""
    rate = next((known.bytes_s for known in work.known if known.node == node and known.bytes_s), 0)
    size_bytes = work.move_bytes * cores
    return min(FETCH_US_MAX, size_bytes * 1_000_000 // rate if rate else size_bytes // FETCH_BYTES_US)


def thousandths(kind: str, amount: int) -> int:
    """Return an amount in thousandths of what its price is for: a core, a GPU, a GB, a Mbit/s, a piece; rounded up."""
    match kind:
        case Kind.CPU | Kind.GPU:
            return amount
        case Kind.MEMORY | Kind.STORAGE | Kind.STORE:
            return -(-amount // 1_000_000)
        case Kind.NETWORK:
            return -(-amount // 1_000)
        case _:
            return amount * 1000


def figures_of(kind: str, capacity: int, free: int, node: Mapping[str, Fact], own: Mapping[str, Fact]) -> Figures[int]:
    """Read the figures of a resource from its node's facts and, before those, its own; each within its bound."""
    computes = kind in (Kind.CPU, Kind.GPU)
    return Figures(
        work_us=_work_us(kind, node, own),
        load_percent=_figure("load_percent", node, own, 0, 0, 100) if computes else 0,
        capacity=capacity,
        free=free,
        carbon_g_kwh=_figure("carbon_g_kwh", node, own, CARBON_G_KWH_DEFAULT, 0, CARBON_G_KWH_MAX),
        loss_permille=(LOSS_BATTERY_PERMILLE if node.get("battery") is True else 0) + _going_permille(node),
    )


def _going_permille(node: Mapping[str, Fact]) -> int:
    """Return how likely a node that foresees its own end goes within the time of a usual lease."""
    left_s = going_s(node)
    return 0 if left_s is None else LOSS_GOING_PERMILLE * GOING_SURELY_S // max(GOING_SURELY_S, left_s)


def _work_us(kind: str, node: Mapping[str, Fact], own: Mapping[str, Fact]) -> int:
    match kind:
        case Kind.CPU | Kind.GPU:
            speed = _figure("speed_mips", node, own, SPEED_MIPS_DEFAULT, SPEED_MIPS_MIN, SPEED_MIPS_MAX)
            return REFERENCE_WORK_MI * 1_000_000 // speed
        case Kind.STORAGE | Kind.STORE:
            speed = _figure("write_bytes_s", {}, own, WRITE_BPS_DEFAULT, 100_000, 10**12)
            return REFERENCE_BYTES * 1_000_000 // speed
        case _:
            return 0


def _figure(name: str, node: Mapping[str, Fact], own: Mapping[str, Fact], default: int, least: int, most: int) -> int:
    value = own.get(name, node.get(name, default))
    if isinstance(value, bool) or not isinstance(value, int):
        return default
    return max(least, min(most, value))
