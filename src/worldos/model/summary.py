"""A summary: what a realm has free, in a few hundred bytes whatever its size. It goes up instead of lists.

One line a kind and speed class. Amounts in the kind's base unit (see resource.py). A summary is a hint: whoever believes one asks
(a bid), and what then comes back are nodes, which alone may grant. Source: DESIGN.md section 6.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec

LINES_MAX: Final = 48
DEPTH_MAX: Final = 16
AMOUNT_MAX: Final = (1 << 62) - 1

Amount: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=AMOUNT_MAX)]


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True):
    """One kind in one speed class: all that is free, the largest piece in one node, how many nodes, the best price."""

    kind: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    speed: Annotated[int, msgspec.Meta(ge=0, le=63)]  # floor(log2(speed in MIPS)) for CPU; 0 where no speed is known
    free: Amount
    largest: Amount
    nodes: Amount
    price_uwos: Amount = 0  # the least
    carbon_g_kwh: Amount = 0  # the least; 0: unknown
    lent: bool = False  # to other accounts of the realm too


class Summary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All lines of a realm, by kind and class; ``nodes`` are all nodes below, ``depth`` the levels of realms below."""

    lines: Annotated[tuple[Line, ...], msgspec.Meta(max_length=LINES_MAX)] = ()
    nodes: Amount = 0
    depth: Annotated[int, msgspec.Meta(ge=0, le=DEPTH_MAX)] = 0
