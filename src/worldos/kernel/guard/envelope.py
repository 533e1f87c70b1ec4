"""The envelope: between which values, and how quickly, the owner of a thing lets anybody drive it.

It is set on the machine by its owner alone: no command, no quorum and no roll changes or overrides it, so it is what is left
when approvers and witnesses are stolen together. What it does not name is not driven at all. Values are whole thousandths, slew
is thousandths a second, counted from the last value that was set and for ``SLEW_CREDIT_S`` at most: who waits for a year may
not jump. Times in ns of the node's clock.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from worldos.errors import PeerBroke
from worldos.kernel.guard.command import Drive, Milli, Path
from worldos.kernel.guard.limits import LIMITS_MAX, SLEW_CREDIT_S
from worldos.model.limits import SECOND
from worldos.model.realm import Number


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """What may be done to one thing: these verbs (empty: setting a value), these values, at most so much a second.

    ``slew_milli_per_s``: 0 does not bound it; if it does, somebody must have said where the thing is (``Envelope.found``).
    """

    path: Path
    min_milli: Milli
    max_milli: Milli
    slew_milli_per_s: Number = 0
    verbs: Annotated[tuple[str, ...], msgspec.Meta(max_length=16)] = ("set",)


class At(msgspec.Struct, frozen=True, kw_only=True):
    """Where a thing was put, and when."""

    value_milli: int
    at_ns: int


class Envelope(msgspec.Struct, kw_only=True):
    """All limits of one machine's owner, by path, and where each thing is."""

    limits: Annotated[dict[str, Limit], msgspec.Meta(max_length=LIMITS_MAX)] = {}
    last: dict[str, At] = {}

    def refusal(self, now_ns: int, drive: Drive) -> str:
        """Return why the owner's limits forbid this now, or nothing."""
        key = "/".join(drive.path)
        limit = self.limits.get(key)
        if limit is None:
            return f"its owner lets nobody drive {key}"
        if drive.verb not in limit.verbs:
            return f"its owner does not let {key} {drive.verb!r}"
        value = drive.value_milli
        if not limit.min_milli <= value <= limit.max_milli:
            return f"{value} is outside {limit.min_milli} to {limit.max_milli}, which its owner set for {key}"
        if not limit.slew_milli_per_s:
            return ""
        last = self.last.get(key)
        if last is None:
            return f"it is not known where {key} is, and its owner bounds how quickly it goes"
        passed_ns = min(max(0, now_ns - last.at_ns), SLEW_CREDIT_S * SECOND)
        room = limit.slew_milli_per_s * passed_ns // SECOND
        if abs(value - last.value_milli) > room:
            return f"{key} is at {last.value_milli}, and may go {room} further now"
        return ""

    def found(self, now_ns: int, path: tuple[str, ...], value_milli: int) -> None:
        """Take in where a thing is, as its driver reads it; what was driven here before is known better."""
        self.last.setdefault("/".join(path), At(value_milli=value_milli, at_ns=now_ns))

    def drove(self, now_ns: int, drive: Drive) -> None:
        """Remember where a thing was put."""
        self.last["/".join(drive.path)] = At(value_milli=drive.value_milli, at_ns=now_ns)

    def put(self, limits: tuple[Limit, ...]) -> None:
        """Let these be the owner's limits. Only for who is at the machine as its owner: the door sees to that."""
        for limit in limits:
            if limit.min_milli > limit.max_milli or len(limits) > LIMITS_MAX:
                raise PeerBroke("a limit goes from a lower to a higher value")
        self.limits = {"/".join(limit.path): limit for limit in limits}
        self.last = {key: at for key, at in self.last.items() if key in self.limits}
