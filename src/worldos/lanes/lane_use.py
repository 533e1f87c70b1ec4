"""What a lane does now, in figures."""

from __future__ import annotations

import msgspec


class LaneUse(msgspec.Struct, frozen=True, kw_only=True):
    """``losses`` counts workers that ended, ``reruns`` calls that were begun again elsewhere because of it."""

    workers: int
    open_calls: int
    submitted: int
    delivered: int
    losses: int
    reruns: int
