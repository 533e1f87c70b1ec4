"""Engines by name: ``use("Dask", cpus=16)`` finds its driver among what is installed, ours and those of other packages.

An engine stands above this floor, so it is known here by its entry point alone, and loaded when it is asked for.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from worldos.drivers.installed import entry_points
from worldos.model.resource import Kind

GROUP: Final = "worldos.engines"
_OURS = frozenset(kind.value.lower() for kind in Kind)


class Usable(Protocol):
    """What stands behind a name that is no kind of resource."""

    def use(self, amount: Any, words: dict[str, Any]) -> Any:
        """Do what ``worldos.use`` does."""


def engine_named(kind: object) -> Usable | None:
    """Return the engine of this name, in any case; None for kinds of resources and unknown words."""
    if not isinstance(kind, str) or kind.lower() in _OURS:
        return None
    for point in entry_points(GROUP):
        if point.name.lower() == kind.strip().lower():
            found: Usable = point.load()
            return found
    return None
