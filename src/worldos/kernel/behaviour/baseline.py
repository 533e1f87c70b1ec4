"""Baselines: what is usual for one principal, learnt once and then frozen.

A baseline that follows what it sees can be led anywhere by small steps; this one stays until the owner says otherwise. The
*sum* (CUSUM) of a figure grows by what is beyond its mean and a slack, and never falls below zero: one great excess and a small
one that lasts both bring it to its limit. The limit is not below what the sum reached while it was learnt.
All in millibits. Source: E. S. Page, "Continuous inspection schemes", Biometrika 41, 1954.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec

from worldos.kernel.behaviour.limits import (
    SLACK_SPREADS,
    SPREAD_MAX_MILLIBITS,
    SPREAD_MIN_MILLIBITS,
    TARGETS_KNOWN_MAX,
    TRIP_OF_LEARNT_PERMILLE,
    TRIP_SPREADS,
)
from worldos.kernel.behaviour.window import Feature, Figures

_FIGURE_MAX = 64_000
Millibits = Annotated[int, msgspec.Meta(ge=0, le=_FIGURE_MAX)]


class Norm(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What is usual of one figure: its mean, how far it strays, and the sum at which it is strange."""

    mean: Millibits
    spread: Annotated[int, msgspec.Meta(ge=SPREAD_MIN_MILLIBITS, le=SPREAD_MAX_MILLIBITS)]
    limit: Annotated[int, msgspec.Meta(ge=1, le=8 * _FIGURE_MAX)]

    def summed(self, total: int, figure: int) -> int:
        """Return the sum after one more window in which the figure was this."""
        return max(0, total + figure - self.mean - SLACK_SPREADS * self.spread)

    def strange_at(self, total: int) -> int:
        """Return the figure that brings a sum to its limit."""
        return self.limit - total + self.mean + SLACK_SPREADS * self.spread


class Baseline(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What is usual for one principal, by figure. ``cls`` is the highest class and ``known`` the marks of what it asked for."""

    norms: tuple[Norm, Norm, Norm, Norm]
    cls: Annotated[int, msgspec.Meta(ge=0, le=4)]
    per_minute: Annotated[int, msgspec.Meta(ge=0, le=1 << 32)]
    windows: Annotated[int, msgspec.Meta(ge=0, le=1 << 20)]
    known: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=0, lt=1 << 48)], ...], msgspec.Meta(max_length=TARGETS_KNOWN_MAX)
    ]


def learn(seen: Sequence[Figures], cls: int, per_minute: int, known: Iterable[int]) -> Baseline:
    """Make the baseline of the windows that were seen; at least one. At first all things are new: half says nothing of them."""
    later = [figures[Feature.FAN_OUT] for figures in seen[len(seen) // 2 :]]
    return Baseline(
        norms=(
            _norm([figures[Feature.RATE] for figures in seen]),
            _norm(later),
            _norm([figures[Feature.DENIALS] for figures in seen]),
            _norm([figures[Feature.LEVEL] for figures in seen]),
        ),
        cls=cls,
        per_minute=per_minute,
        windows=len(seen),
        known=tuple(sorted(known)),
    )


def _norm(seen: Sequence[int]) -> Norm:
    mean = sum(seen) // len(seen)
    variance = sum((figure - mean) ** 2 for figure in seen) // len(seen)
    spread = min(max(math.isqrt(variance), SPREAD_MIN_MILLIBITS), SPREAD_MAX_MILLIBITS)
    trial = Norm(mean=mean, spread=spread, limit=1)
    total = worst = 0
    for figure in seen:
        total = trial.summed(total, figure)
        worst = max(worst, total)
    limit = max(TRIP_SPREADS * spread, min(worst * TRIP_OF_LEARNT_PERMILLE // 1000, 2 * TRIP_SPREADS * spread))
    return Norm(mean=mean, spread=spread, limit=limit)
