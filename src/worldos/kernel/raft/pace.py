"""How quick a council is: often enough to notice a dead leader soon, not so often that a slow link looks dead.

A council of which nothing is wanted may *rest* (as quiescent ranges in CockroachDB): its leader beats, and its members wait,
``rests`` times longer, from some beats after the last news until the next. That a leader is gone is told by its links then,
which are watched anyway; so only a leader that is alive, linked and silent is replaced later.
"""

from __future__ import annotations

from typing import Final

import msgspec

from worldos.model.limits import MS


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """The beat of a leader, and how long members wait for it: from min to max, each its own time.

    ``rests``: so many times slower is a council at rest; 1 where its leader's lease depends on its beats. ``tells_late``: that
    something is committed is told with what comes next, a beat at the latest, where only who leads is asked what it came to.
    """

    heartbeat_ns: int
    election_min_ns: int
    election_max_ns: int
    rests: int = 1
    tells_late: bool = False


LAN: Final = Pace(heartbeat_ns=150 * MS, election_min_ns=500 * MS, election_max_ns=1000 * MS)
RESTFUL: Final = Pace(
    heartbeat_ns=150 * MS, election_min_ns=500 * MS, election_max_ns=1000 * MS, rests=8, tells_late=True
)
WAN: Final = Pace(heartbeat_ns=450 * MS, election_min_ns=1500 * MS, election_max_ns=3000 * MS)
