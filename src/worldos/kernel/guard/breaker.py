"""The breaker: once something went wrong in a realm, nothing of it is carried out any more, and all stays as it is.

Open means *static*, not off: what runs goes on as it was last good, and nothing is rolled anywhere by itself. Only a command
with the quorum for it, or the owner on the machine, closes it again. Reading is never stopped.
"""

from __future__ import annotations

import msgspec


class Breaker(msgspec.Struct, kw_only=True):
    """Of one realm: closed where ``why`` is empty. ``command`` is the one that tripped it.

    ``excused``: the command after which somebody let it go on: what else is heard of that one does not trip it again.
    """

    why: str = ""
    command: str = ""
    since_ns: int = 0
    trips: int = 0
    excused: str = ""

    @property
    def is_open(self) -> bool:
        """Tell whether everything stays as it is."""
        return bool(self.why)

    def trip(self, now_ns: int, command: str, why: str) -> bool:
        """Freeze; tell whether that is news. The first reason stays."""
        if self.why or (command and command == self.excused):
            return False
        self.why, self.command, self.since_ns = why or "tripped", command, now_ns
        self.trips += 1
        return True

    def reset(self) -> None:
        """Close it again."""
        self.excused = self.command
        self.why, self.command = "", ""
