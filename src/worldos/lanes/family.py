"""Every lane of this program: what becomes of it in a forked child, and when the program ends."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Callable
from typing import Protocol

from worldos.errors import LeaseEnded, WorldError


class Member(Protocol):
    """A lane, as far as this goes."""

    def close(self, reason: WorldError) -> None:
        """Hang up now."""

    def orphaned(self) -> None:
        """Be a lane in a forked child: of no use, and holding nothing of the parent's."""


_lanes: weakref.WeakSet[Member] = weakref.WeakSet()


def join(lane: Member) -> None:
    """Count a lane in, as long as somebody holds it."""
    _lanes.add(lane)


def _each(act: Callable[[Member], None]) -> None:
    for lane in list(_lanes):
        act(lane)


os.register_at_fork(after_in_child=lambda: _each(lambda lane: lane.orphaned()))
atexit.register(_each, lambda lane: lane.close(LeaseEnded("the program ends")))
