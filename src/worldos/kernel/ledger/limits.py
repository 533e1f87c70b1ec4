"""Every bound of the ledger and of metering, with its unit, and how they must relate (asserted at import)."""

from __future__ import annotations

from typing import Final

MICRO: Final = 1_000_000  # micro-WOSCoin in one
AMOUNT_MAX: Final = 1 << 60  # micro-WOSCoin
ENTRY_BYTES_MAX: Final = 2048
SEQ_MAX: Final = (1 << 53) - 1
ISLANDS_MAX: Final = 8  # parts that a world is cut into at once, and in each of which somebody may be paid
VOIDS_MAX: Final = 10_000  # rounds of voiding what nothing covers, before an evaluation gives up

# -- metering: the two sides of a lease measure the same thing -----------------------------------------------------------
METER_SLACK_PPM: Final = 6_000  # of what was used: honest meters differ by less than this on average
METER_ALARM_PPM: Final = 30_000  # the sum of what is above the slack, at which a provider is no longer believed
METER_ONCE_PPM: Final = 50_000  # nobody signs for one interval that differs by more than this
MILLION: Final = 1_000_000

assert METER_SLACK_PPM < METER_ALARM_PPM <= METER_ONCE_PPM < MILLION
assert ISLANDS_MAX > 1
