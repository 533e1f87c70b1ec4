"""Bounds of the runner, with their units. Those of the line itself stand in model/work.py."""

from __future__ import annotations

from typing import Final

LOG_HEAD_BYTES: Final = 1024 * 1024  # of each attempt's output: the beginning ...
LOG_END_BYTES: Final = 7 * 1024 * 1024  # ... and the end are kept, whatever lies between
LOG_MEMORY_BYTES: Final = 64 * 1024  # of it in memory, before it gets a file

RESULT_FILE_BYTES_MAX: Final = 1 << 40  # of one task, packed
LOGS_KEPT_MAX: Final = 256  # logs of attempts that have ended, for those who still follow them
LOGS_KEPT_S: Final = 120.0

BERTH_IDLE_S: Final = 1.0  # a lease that no attempt wants is given back after so long
BERTHS_MAX: Final = 512  # leases of one runner at once
LEASE_WAIT_S: Final = 30.0  # for the answer to one asking
REFUSED_WAIT_S: Final = 10.0  # an attempt that cannot get a lease for so long is handed back to the line
ASK_AGAIN_S: Final = 0.5
HELD_EVERY_S: Final = 2.0
SAY_EVERY_S: Final = 0.02  # what ended meanwhile is said in one command
SAY_MANY: Final = 256
SAY_BYTES: Final = 4 * 1024 * 1024  # in one command
KILL_AFTER_S: Final = 10.0  # between SIGKILL and giving up on the lease

assert LOG_MEMORY_BYTES < LOG_HEAD_BYTES
