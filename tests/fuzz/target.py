"""A target of the fuzzers: one decoder that faces a stranger.

It takes any bytes. What it decodes may refuse them with the errors that we have for that and no others; where something is
signed or sealed, only the bytes that were signed or sealed may pass; elsewhere what passes must be written back and read again
as the same. An assertion is bytes that passed and must not (an *accept*), any other error a *crash*; both are finds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from worldos.errors import BadRequest, BadSignature, CorruptFile, Damaged, PeerBroke

REFUSALS = (BadRequest, BadSignature, CorruptFile, Damaged, PeerBroke)


class Target(NamedTuple):
    """One decoder with inputs to begin from. ``slow``: it does more than decode, and may take more than a millisecond."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    slow: bool = False


def refused(run: Callable[[], object], *others: type[Exception]) -> bool:
    """Whether this was refused as it may be; any other error goes through."""
    try:
        run()
    except (*REFUSALS, *others):
        return True
    return False
