"""What this program knows of its functions and ways: read from its agent when it begins, told to it when a handle ends.

Each lane learns in tables of its own (kernel/profile.py), begun from what is known; what it learned is for the next one, of this
program and of those that come after it. ``use(..., for_=function)`` asks by it: the machines on which a round of such calls ends
soonest, with the memory that they take.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from worldos.errors import WorldError
from worldos.kernel.profile import Profiles
from worldos.kernel.score import SPEED_MIPS_DEFAULT
from worldos.lanes import pack
from worldos.model.need import Need, workers_of
from worldos.sdk.connection import Connection

TOLD_FUNCTIONS_MAX = 256
ASK_TIMEOUT_S = 2.0
WORKER_BYTES = 32_000_000  # what a worker takes by itself
SPARE_PART = 4  # a quarter more than was seen
MEMORY_STEP_BYTES = 1_000_000

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


def fitted(need: Need, for_: Callable[..., Any], connection: Connection) -> Need:
    """Return a need with what is known of a function: what is to be done, and its memory where none was said."""
    learned = begun(connection)
    name = learned.known_as(pack.Functions().of(for_).key)
    work = learned.work(name, _speeds(connection)) if name else None
    if work is None:
        return need
    memory_bytes = need.memory_bytes or _memory_bytes(learned.memory_bytes(name), workers_of(need))
    return replace(need, data=replace(work, data=need.reads), memory_bytes=memory_bytes)


def _memory_bytes(call_bytes: int, workers: int) -> int:
    """Return the memory of a lease whose workers each run such a call; 0 where it is not known what one takes."""
    if not call_bytes:
        return 0
    lease_bytes = workers * (WORKER_BYTES + call_bytes + call_bytes // SPARE_PART)
    return -(-lease_bytes // MEMORY_STEP_BYTES) * MEMORY_STEP_BYTES


def _speeds(connection: Connection) -> dict[Any, int]:
    """Return how fast the nodes here say that they compute."""
    rows: list[dict[str, Any]] = []
    with suppress(WorldError):
        rows = connection.ask("nodes", timeout=ASK_TIMEOUT_S)
    return {row["node"]: int(row["facts"].get("speed_mips", SPEED_MIPS_DEFAULT)) for row in rows}


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
