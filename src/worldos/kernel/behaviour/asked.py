"""Asked: one ruling about a principal, as the analysis of behaviour sees it."""

from __future__ import annotations

import msgspec


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody asked this node for something. ``target`` names what, ``cls`` is its impact class (0 read .. 4 irreversible)."""

    principal: str
    target: str
    cls: int
    is_allowed: bool
