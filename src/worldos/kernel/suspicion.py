"""Suspicion: how long a silent node may still speak up before it is called dead.

A lone accuser may itself be slow, so it waits long; each independent accuser makes the wait shorter, down to the least.
Where nobody else could confirm (two nodes), waiting for others is idle: the least holds at once. All in ns.

Source: Lifeguard (Dadgar, Phillips, Currey, 2018), "LHA-Suspicion":
``max(min, max - (max - min) * log(confirmations + 1) / log(expected + 1))``, the logarithms as thousandths in a table.
"""

from __future__ import annotations

from typing import Final

from worldos.model.limits import SUSPICION_MAX_NS, SUSPICION_MIN_NS
from worldos.model.swim import ACCUSERS_MAX

CONFIRMATIONS_MAX: Final = ACCUSERS_MAX - 1
HINTED_PART: Final = 2  # the link of the suspect closed: half the time is enough

# 1000 * log(confirmations + 1) / log(expected + 1), a row per expected
_SHRINK_MILLI: Final = ((1000,), (0, 1000), (0, 631, 1000), (0, 500, 792, 1000))

assert len(_SHRINK_MILLI) == CONFIRMATIONS_MAX + 1


def suspicion_ns(*, accusers: int, reachable: int, hinted: bool) -> int:
    """Return how long after the first doubt a suspect is dead.

    ``reachable`` counts the nodes that may still be there: this one, the suspect, and the others.
    """
    expected = max(0, min(CONFIRMATIONS_MAX, reachable - 2))
    confirmations = max(0, min(expected, accusers - 1))
    shrink_milli = _SHRINK_MILLI[expected][confirmations]
    timeout_ns = SUSPICION_MAX_NS - (SUSPICION_MAX_NS - SUSPICION_MIN_NS) * shrink_milli // 1000
    return timeout_ns // HINTED_PART if hinted else timeout_ns
