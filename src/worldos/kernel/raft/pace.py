"""How quick a council is: often enough to notice a dead leader soon, not so often that a slow link looks dead."""

from __future__ import annotations

from typing import Final

import msgspec

from worldos.model.limits import MS


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """The beat of a leader, and how long members wait for it: from min to max, each its own time."""

    heartbeat_ns: int
    election_min_ns: int
    election_max_ns: int


LAN: Final = Pace(heartbeat_ns=150 * MS, election_min_ns=500 * MS, election_max_ns=1000 * MS)
WAN: Final = Pace(heartbeat_ns=450 * MS, election_min_ns=1500 * MS, election_max_ns=3000 * MS)
