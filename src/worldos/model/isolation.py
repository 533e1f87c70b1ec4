"""Isolation: how far code is kept from the machine that runs it, from the least to the most.

``process``: a process of the agent's user, with limits: for the own account's code. ``sandbox``: namespaces of its own, an empty
file system, no network: for code of others in the realm. ``wasm``: WebAssembly with fuel and a cap on memory: for strangers.
A node asks for at least one of these, by whom it lends to; a need may ask for more (``Need.isolation``). What a node can give is
the fact ``isolation`` of its offer. Source: DESIGN.md 8.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Isolation(StrEnum):
    """The classes; the word is what people write and what stands in offers."""

    PROCESS = "process"
    SANDBOX = "sandbox"
    WASM = "wasm"


_ORDER: Final = tuple(Isolation)


def stricter(one: str, other: str) -> Isolation:
    """Return the stricter of two; empty is the least."""
    return max((Isolation(word or Isolation.PROCESS) for word in (one, other)), key=_ORDER.index)
