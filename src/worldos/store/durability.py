"""Which code a set of devices gets, and how many of them may be lost at once.

Durability and availability are two things. Durability is bought by the code: any three devices may die at the same moment
(``n - k >= LOSSES_MIN``), always; below four devices there are whole copies on each, and the policy is not met. Availability,
that k shares can be had *now*, is no reason to buy shares, save where the devices are so seldom on line that a repair would
wait for days: then a wider code is taken. Chances are exact: whole millionths in, whole numbers all the way.

Source: research of the project ("Durability and availability maths"); Tahoe-LAFS for "servers of happiness".
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import Final

import msgspec

from worldos.store.erasure import Code
from worldos.store.limits import LOSSES_MIN

PPM: Final = 1_000_000
COUNTED_DEVICES_MAX: Final = 12  # up to so many, all sets of them are tried where a device holds several shares

# From how many devices on: the codes to be tried, the thriftiest first.
CODES: Final[tuple[tuple[int, tuple[tuple[int, int], ...]], ...]] = (
    (80, ((10, 16), (29, 80), (4, 12), (8, 24))),
    (24, ((10, 16), (4, 12), (8, 24))),
    (16, ((10, 16), (4, 12))),
    (12, ((4, 12),)),
    (9, ((3, 9),)),
    (6, ((3, 6),)),
    (5, ((2, 5),)),
    (0, ((1, 4),)),
)
AVAILABLE_PPM_MIN: Final = (
    950_000  # a code whose shares are together less often than this is too narrow for its devices
)
STRANGER_ONLINE_PPM_MAX: Final = 500_000  # what a stranger's device is believed to be on line, at most

assert all(n - k >= LOSSES_MIN for _, codes in CODES for k, n in codes)
assert all(n <= max(devices, 4) for devices, codes in CODES for _, n in codes), "a code needs as many devices as shares"


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A device as a place for shares: how often it is on line, where it stands, whose it is."""

    node: str
    online_ppm: int = PPM
    place: str = ""
    owner: str = ""
    stranger: bool = False


def choose_code(devices: Collection[Profile]) -> Code:
    """Return the thriftiest code that keeps what is put on these devices, and is together often enough to be repaired."""
    candidates = next(codes for least, codes in CODES if len(devices) >= least)
    online = sorted(_believed_ppm(device) for device in devices)
    ranked: list[tuple[int, Code]] = []
    for k, n in candidates:
        available_ppm = availability_ppm(_sample(online, n), k)
        if available_ppm >= AVAILABLE_PPM_MIN:
            return Code(k=k, n=n)
        ranked.append((available_ppm, Code(k=k, n=n)))
    return max(ranked, key=lambda pair: pair[0])[1]


def availability_ppm(online_ppm: Sequence[int], k: int) -> int:
    """Return the chance, in millionths and rounded down, that at least ``k`` of independent devices are on line.

    The Poisson-binomial distribution in whole numbers: ways[i] counts, out of PPM ** devices, those with i on line.
    """
    ways = [1]
    for ppm in online_ppm:
        assert 0 <= ppm <= PPM, "a chance is between none and certain"
        longer = [ways_off * (PPM - ppm) for ways_off in ways] + [0]
        for on_line, ways_on in enumerate(ways):
            longer[on_line + 1] += ways_on * ppm
        ways = longer
    all_ways: int = PPM ** len(online_ppm)
    return sum(ways[k:]) * PPM // all_ways


def survives(holders: Mapping[int, Collection[str]], code: Code, domains: Mapping[str, str] | None = None) -> int:
    """Return how many devices, whichever they are, may be lost at once with the rest still enough; -1: it is not now.

    ``holders`` has, for each index, the devices that hold that share. With ``domains`` (device -> its place, or its owner)
    it counts these instead: a home of three devices is lost as one. Exact where each device holds one share of the segment,
    as they are placed, and where there are few devices; otherwise the figure is never too high.
    """
    behind = {
        index: {domains.get(node, node) if domains else node for node in nodes}
        for index, nodes in holders.items()
        if nodes
    }
    spare = len(behind) - code.k
    if spare < 0:
        return -1
    copies = sorted(len(nodes) for nodes in behind.values())
    held = Counter(node for nodes in behind.values() for node in nodes)
    largest = sorted(held.values(), reverse=True)
    losses = taken = 0
    for hit in largest:
        taken += hit  # these many copies are gone at most; they empty the rarest indices first, at worst
        if _emptied(copies, taken) > spare:
            break
        losses += 1
    if held and largest[0] > 1 and len(held) <= COUNTED_DEVICES_MAX:
        numbers = {node: number for number, node in enumerate(sorted(held))}
        masks = tuple(sorted(sum(1 << numbers[node] for node in nodes) for nodes in behind.values()))
        return _counted(masks, spare, losses)
    return losses


@functools.lru_cache(maxsize=4096)
def _counted(masks: tuple[int, ...], spare: int, least: int) -> int:
    """Try all sets of devices, the small ones first; a share is gone with all of its holders (bits of its mask)."""
    devices = max(masks).bit_length()
    for losses in range(least + 1, devices + 1):
        for lost in combinations(range(devices), losses):
            gone = sum(1 << device for device in lost)
            if sum(not mask & ~gone for mask in masks) > spare:
                return losses - 1
    return devices


def acknowledged_at(code: Code, devices: int) -> int:
    """Return on how many distinct devices a segment must be durable before its writer is told that it is kept."""
    return max(1, min(code.k + 1, code.n, devices))


def below_policy(losses: int) -> bool:
    """Tell whether what survives so many losses is kept less well than promised."""
    return losses < LOSSES_MIN


def _believed_ppm(device: Profile) -> int:
    return min(device.online_ppm, STRANGER_ONLINE_PPM_MAX) if device.stranger else device.online_ppm


def _sample(ordered: Sequence[int], count: int) -> list[int]:
    """Take ``count`` of the devices evenly from the worst to the best, or all that there are."""
    if len(ordered) <= count:
        return list(ordered)
    return [ordered[(2 * place + 1) * len(ordered) // (2 * count)] for place in range(count)]


def _emptied(copies: Sequence[int], taken: int) -> int:
    """Return how many indices are without a holder once ``taken`` copies are gone, those of the rarest first."""
    emptied = 0
    for count in copies:
        taken -= count
        if taken < 0:
            return emptied
        emptied += 1
    return emptied
