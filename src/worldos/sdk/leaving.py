"""Processors that a program lets go of while calls are open: those calls still run, then the lease goes back.

So it is with every executor of Python: ``shutdown(wait=False)``, an executor that nobody holds any more, and the end of the
program all let begun work end. The program ends when the last call has. Who wants the lease back at once says ``close``, or
leaves its ``with`` block by an exception.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from worldos.sdk.holding import Holding, Part

if TYPE_CHECKING:
    from worldos.sdk.compute import Compute

_open: weakref.WeakSet[Compute] = weakref.WeakSet()
_lingering: set[Part] = set()
_ending = False


def watch(handle: Compute) -> None:
    """Wait for the calls of this handle when the program ends."""
    _open.add(handle)


def ending() -> bool:
    """Tell whether the program is ending: no call may be submitted any more."""
    return _ending


def linger(holding: Holding, part: Part) -> None:
    """Give a part back when its open calls are done; nobody submits any more."""
    futures = part.lane.futures()
    count = itertools.count(1)

    def done(_future: object = None) -> None:
        if next(count) >= len(futures):
            _lingering.discard(part)
            holding.let_go(part)

    _lingering.add(part)
    for future in futures:
        future.add_done_callback(done)
    if not futures:
        done()


def _end() -> None:
    """Wait for all calls that are open; then give everything back."""
    global _ending  # noqa: PLW0603 - a program ends once
    _ending = True
    for handle in list(_open):
        if not handle.closed:
            handle.shutdown(wait=True)
    for part in list(_lingering):
        part.lane.drain()


with suppress(RuntimeError):  # imported while the program ends: then nothing can be begun either
    # Where Python's own executors wait: before any ``atexit`` function, and so before the agent of this program ends.
    threading._register_atexit(_end)  # type: ignore[attr-defined]
