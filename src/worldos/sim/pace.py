"""A slower pace for long quiet hours: what nodes do again and again though nothing happens is done less often.

A site of n nodes says 12 n messages a second to itself only to see that all are there. Over an hour and ten thousand
nodes that is half a billion events that show nothing. Here the *periods* of such work grow by a factor, and nothing else: no
deadline, no bound of a lease, no order changes, so whatever is found at this pace can happen at the true one; a silent node is
just noticed later. A closed link is told at once at any pace. Whoever runs at another pace says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Final

from worldos.kernel import membership
from worldos.model import limits

PERIODS: Final[tuple[tuple[ModuleType, str], ...]] = (
    (membership, "PROBE_PERIOD_NS"),
    (membership, "FRESH_NS"),
    (membership, "GONE_PERIOD_NS"),
    (membership, "SYNC_PERIOD_NS"),
    (limits, "OFFER_REFRESH_NS"),
    (limits, "KEYLOG_COMPARE_NS"),
)


@contextmanager
def slower(factor: int) -> Iterator[None]:
    """Let all nodes of this process do their rounds so many times less often, until the end of the block."""
    true = [(module, name, getattr(module, name)) for module, name in PERIODS]
    try:
        for module, name, period_ns in true:
            setattr(module, name, period_ns * factor)
        yield
    finally:
        for module, name, period_ns in true:
            setattr(module, name, period_ns)
