"""What this program knows of its functions and ways: read from its agent when it begins, told to it when a handle ends.

Each lane learns in tables of its own (kernel/profile.py), begun from what is known; what it learned is for the next one, of this
program and of those that come after it.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from worldos.errors import WorldError
from worldos.kernel.profile import Profiles
from worldos.sdk.connection import Connection

TOLD_FUNCTIONS_MAX = 256
ASK_TIMEOUT_S = 2.0

_lock = threading.Lock()
_known: dict[int, bytes] = {}  # by the conversation that it was read in


def begun(connection: Connection) -> Profiles:
    """Return tables for a new lane."""
    with _lock:
        data = _known.get(id(connection))
    if data is None:
        data = b""
        with suppress(WorldError):  # without a memory it is learned anew
            data = connection.ask("profiles", timeout=ASK_TIMEOUT_S)
        with _lock:
            _known.clear()
            _known[id(connection)] = data
    with suppress(WorldError):
        if data:
            return Profiles.restore(data)
    return Profiles()


def ended(connection: Connection, learned: Profiles, before: int) -> None:
    """Keep what a lane learned since its clock showed ``before``."""
    if learned.clock == before or connection.ended is not None:
        return
    fresh = learned.since(before, TOLD_FUNCTIONS_MAX)
    with _lock:
        known = _known.get(id(connection), b"")
        table = Profiles.restore(known) if known else Profiles()
        table.merge(fresh)
        _known[id(connection)] = table.snapshot()
    with suppress(WorldError):
        connection.tell("profiles_learned", {"learned": fresh.snapshot()})
