"""Bounds of the runner, with their units. Those of the line itself stand in model/work.py and kernel/work/limits.py."""

from __future__ import annotations

from typing import Final

from worldos.kernel.line.scene import LOST_MS
from worldos.kernel.work.limits import NOT_HELD_AFAR_NS
from worldos.model.limits import LEASE_GRACE_PART, SECOND

LOG_HEAD_BYTES: Final = 1024 * 1024  # of each attempt's output: the beginning ...
LOG_END_BYTES: Final = 7 * 1024 * 1024  # ... and the end are kept, whatever lies between
LOG_MEMORY_BYTES: Final = 64 * 1024  # of it in memory, before it gets a file
LOGS_KEPT_MAX: Final = 256  # logs of attempts that have ended, for those who still follow them

RESULT_BYTES_MAX: Final = 1 << 36  # of what one task makes, packed ...
RESULT_FAR_BYTES_MAX: Final = 1 << 30  # ... and of one on a machine of another account
RESULT_IN_LINE_BYTES: Final = 1024  # larger results lie in the realm's files
PARCEL_IN_LINE_BYTES: Final = 8 * 1024  # larger parcels too

BERTH_IDLE_S: Final = 1.0  # a lease that no attempt wants is given back after so long
BERTHS_MAX: Final = 512  # leases of one runner at once
LEASE_TTL_NS: Final = 10_000_000_000
CUT_OFF_S: Final = LEASE_TTL_NS * 9 / 8 / 1_000_000_000 + 1.0  # by then a lease of ours is over wherever it is
LEASE_WAIT_S: Final = 30.0  # for the answer to one asking
REFUSED_WAIT_S: Final = 15.0  # an attempt that cannot get a lease for so long is handed back to the line
ASK_AGAIN_S: Final = 0.5  # after a refusal
BARRED_MAX: Final = 32  # machines of others that one crew does not ask again
BREAKS_MAX: Final = 3  # one at which so many berths were lost is not, either
KILL_AFTER_S: Final = 10.0  # between SIGKILL and giving up on the lease
KEEP_PATIENCE_S: Final = 60.0  # as long the realm's files may be out of reach before an attempt's result is given up
KEEP_AGAIN_S: Final = 1.0
CLOSERS: Final = 4  # threads that bring what attempts made into the realm's files

STAY_AHEAD_S: Final = 0.02  # a resident is given tasks for so long ahead ...
STAY_TASKS_MAX: Final = 256  # ... and so many at most
STAY_BEGAN_S: Final = 0.1  # a task that a resident is at for so long has begun, for the line

HOLDS_EVERY_S: Final = 2.0  # the line is told what this runner has, and when that changes ...
HOLDS_APART_S: Final = 0.25  # ... but no more often than this
PULSE_EVERY_S: Final = 2.0  # the line is looked at when it answered nothing for so long ...
PULSE_WAIT_S: Final = 4.0  # ... and answers within this
SILENT_S: Final = 12.0  # a runner that reaches no line for so long stops what may not run beside its successor ...
GRACE_SILENT_S: Final = 1.0  # ... at once: all of it is over before the line gives it to another
SAY_APART_S: Final = 0.03  # from one command to the next: what ends meanwhile goes together
SAY_MANY: Final = 256  # words in one command
SAY_BYTES: Final = 300 * 1024
SAY_AGAIN_S_MIN: Final = 0.1
SAY_AGAIN_S_MAX: Final = 2.0
SWEEP_LOOK_S: Final = 60.0  # a runner looks whether a sweep is due: it may not live longer than some minutes
SWEEP_EVERY_S: Final = 6 * 3600.0  # files of jobs that are forgotten ...
SWEEP_AGE_NS: Final = 24 * 3600 * 1_000_000_000  # ... and were not submitted a moment ago

assert (SILENT_S + PULSE_EVERY_S + PULSE_WAIT_S + GRACE_SILENT_S) * 1000 < LOST_MS
assert LEASE_TTL_NS + LEASE_TTL_NS // LEASE_GRACE_PART + HOLDS_EVERY_S * SECOND < NOT_HELD_AFAR_NS
assert LOG_MEMORY_BYTES < LOG_HEAD_BYTES
