"""A lease of an actuator: set it and read where it is, within what its owner lets anybody do."""

from __future__ import annotations

from worldos.drivers.lane_object import Command, LaneObject
from worldos.drivers.setpoint import drive, read_about, where
from worldos.model.rights import ACTUATOR


class SetpointLane(LaneObject):
    """One actuator, for as long as the lease lasts. Every value goes through ``drive``, as a guarded command does."""

    kind = ACTUATOR

    def __init__(self, home: str, local: str) -> None:
        super().__init__()
        self._home, self._local = home, local
        self.commands = {"set": Command(self.set, (int,)), "at": Command(self.at)}

    def set(self, value_milli: int) -> int:
        """Put it there; NotAllowed where the envelope does not let it."""
        drive(self._home, self._local, "set", value_milli)
        return self.at()

    def at(self) -> int:
        """Return where it is, in thousandths."""
        return where(self._home, self._local, read_about(self._home, self._local)).value_milli
