"""Heat: how much each file is used, and where; what is held near the user by that.

A use adds one degree (in thousandths), and half of all heat is gone after each half-life: counted in whole steps of an
eighth of it, by a table, so that the same uses give the same heat on every machine. Heat is kept for each file and *place*:
the device that a person uses. A hot file is held whole near that place; where a person appears, what was hot for him there or
anywhere is fetched before it is asked for, the most heat for each byte first, within the room and the time that the link
leaves. A file that cooled down needs no copies beside its code.

Source: the idea of decaying counters is that of forward decay, G. Cormode et al., ICDE 2009.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import Final

import msgspec

from worldos.store.limits import HEAT_FILES_MAX, HEAT_HALF_LIFE_NS

DEGREE: Final = 1000  # of heat in one use
STEPS: Final = 8  # in a half-life
_FADE_MILLI: Final = (1000, 917, 841, 771, 707, 648, 595, 545)  # 1000 * 2 ** (-step / 8)
HOT: Final = 3 * DEGREE  # used so often lately: worth a whole copy near the user
COLD: Final = DEGREE // 16  # four half-lives after one use: worth no copy at all
PREFETCH_NS_MAX: Final = 600 * 1_000_000_000  # what the link cannot bring within this time is not fetched ahead


class Wish(StrEnum):
    """How a file should be held, beside the shares that keep it."""

    WHOLE = "whole near its user"
    AS_IS = "as it is"
    COLD = "without copies"


class Warm(msgspec.Struct, frozen=True, kw_only=True):
    """The heat of one file at one place, as of a step in time."""

    file: bytes
    place: str
    heat: int
    step: int
    size_bytes: int


class Heats:
    """The heat of files, by place; the coldest are forgotten above the bound."""

    def __init__(self, known: Iterable[Warm] = ()) -> None:
        self._warm: dict[tuple[bytes, str], Warm] = {(warm.file, warm.place): warm for warm in known}

    def use(self, file: bytes, place: str, size_bytes: int, now_ns: int) -> None:
        """Count one use of a file at a place."""
        step = _step(now_ns)
        before = self._warm.get((file, place))
        heat = DEGREE + (_faded(before, step) if before else 0)
        self._warm[file, place] = Warm(file=file, place=place, heat=heat, step=step, size_bytes=size_bytes)
        if len(self._warm) > HEAT_FILES_MAX:
            self._forget_coldest(step)

    def heat(self, file: bytes, now_ns: int, *, place: str | None = None) -> int:
        """Return how hot a file is, at one place or at all of them together."""
        step = _step(now_ns)
        return sum(
            _faded(warm, step)
            for (name, at), warm in self._warm.items()
            if name == file and (place is None or at == place)
        )

    def wish(self, file: bytes, place: str, now_ns: int) -> Wish:
        """Return how a file should be held, as seen from a place."""
        if self.heat(file, now_ns, place=place) >= HOT:
            return Wish.WHOLE
        return Wish.AS_IS if self.heat(file, now_ns) > COLD else Wish.COLD

    def prefetch(
        self, place: str, now_ns: int, *, held: Collection[bytes], room_bytes: int, link_bytes_per_s: int
    ) -> list[bytes]:
        """Return what to fetch to ``place`` now that its user is there: the most heat for each byte first.

        What was hot here before counts double: people do at home what they did at home.
        """
        step = _step(now_ns)
        heats: dict[bytes, tuple[int, int]] = {}
        for warm in self._warm.values():
            heat, size_bytes = heats.get(warm.file, (0, 0))
            here = 2 if warm.place == place else 1
            heats[warm.file] = (heat + here * _faded(warm, step), max(size_bytes, warm.size_bytes))
        room_bytes = min(room_bytes, link_bytes_per_s * PREFETCH_NS_MAX // 1_000_000_000)
        wanted: list[bytes] = []
        ranked = sorted((-(heat << 64) // (size_bytes + 1), file) for file, (heat, size_bytes) in heats.items())
        for _, file in ranked:
            heat, size_bytes = heats[file]
            if file not in held and heat >= DEGREE and size_bytes <= room_bytes:
                wanted.append(file)
                room_bytes -= size_bytes
        return wanted

    def snapshot(self) -> tuple[Warm, ...]:
        """Return all that is warm, for the disk."""
        return tuple(warm for _, warm in sorted(self._warm.items()))

    def _forget_coldest(self, step: int) -> None:
        ranked = sorted(self._warm.items(), key=lambda item: (-_faded(item[1], step), item[0]))
        self._warm = dict(ranked[: HEAT_FILES_MAX * 3 // 4])


def room_for_copies(free_bytes: int, capacity_bytes: int, *, link_bytes_per_s: int, away_ppm: int) -> int:
    """Return how much of a device's disk may hold copies near its user.

    A quarter of what is free, never so much that less than a tenth of the disk stays free; half as much where the link would
    bring a copy in no time, and more, up to twice, for a device that is often without a link.
    """
    quarter = min(free_bytes // 4, max(0, free_bytes - capacity_bytes // 10))
    if link_bytes_per_s >= 100_000_000:
        quarter //= 2
    return min(max(0, free_bytes - capacity_bytes // 10), quarter * (1_000_000 + away_ppm) // 1_000_000)


def _step(now_ns: int) -> int:
    return now_ns * STEPS // HEAT_HALF_LIFE_NS


def _faded(warm: Warm, step: int) -> int:
    """Return what is left of a heat; a clock that went back fades nothing."""
    halves, eighths = divmod(max(0, step - warm.step), STEPS)
    return (warm.heat * _FADE_MILLI[eighths] // 1000) >> min(halves, 64)
