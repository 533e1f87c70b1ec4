"""Every bound of the analysis of behaviour, with its unit. Bits are of the binary logarithm, counted in thousandths."""

from __future__ import annotations

from typing import Final

from worldos.model.limits import MINUTE, SECOND

WINDOW_NS: Final = 10 * SECOND  # what is asked is counted over so long; windows in which nothing was asked do not exist
WINDOWS_LEARNT: Final = 60  # so many windows make a baseline, which is frozen then
TARGETS_PER_WINDOW_MAX: Final = 1024  # more different ones count as this many
PRINCIPALS_MAX: Final = 1024
TARGETS_KNOWN_MAX: Final = 256  # so many are known by name; one that is not is strange, and weighs as much as
STRANGE_WEIGHT: Final = 8  # ... so many known ones
CLASS_WEIGHT: Final = 8  # one request of a class weighs as much as so many of the class below

SPREAD_MIN_MILLIBITS: Final = 500  # nobody is so regular that 1.4 times as much would be strange
SLACK_SPREADS: Final = 1  # what is beyond the mean by so many spreads is usual still
TRIP_SPREADS: Final = 9  # the sum of what is beyond that trips at so many spreads
TRIP_OF_LEARNT_PERMILLE: Final = 2000  # ... or at so much of the greatest sum while it was learnt, if that is more
SPREAD_MAX_MILLIBITS: Final = 2_000  # who is wild while learning does not buy itself all freedom

STEP_FORGOTTEN_NS: Final = 60 * MINUTE  # without a trip for so long a principal is back at the first step
TRIP_AGAIN_NS: Final = 20 * SECOND  # after a narrowing it has so long to calm down before it may trip again

SLOW_FOR_S: Final = 10 * 60
HUMAN_FOR_S: Final = 60 * 60
QUARANTINE_FOR_S: Final = 24 * 60 * 60
SLOW_PER_MINUTE_MIN: Final = 6
QUARANTINE_PER_MINUTE: Final = 6

assert SPREAD_MIN_MILLIBITS <= SPREAD_MAX_MILLIBITS
assert SLOW_FOR_S < HUMAN_FOR_S < QUARANTINE_FOR_S
assert TRIP_SPREADS > SLACK_SPREADS
