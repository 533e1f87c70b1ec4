"""One small adapter per peer: how a user of that system would start it, call it and stop it on one machine.

An adapter module has ``opened(folder)``, a context manager that gives a ``Peer`` with two workers. What is asked of
each peer is the same and lies in ``ask.py``; the functions that are called lie in ``functions.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy  # not at run time: workers import this package, and their start is part of the answer

WORKERS = 2


class Answer(Protocol):
    """A result that is on its way."""

    def result(self) -> Any: ...


class Peer(Protocol):
    """What each system can do, said in one way."""

    def submit(self, function: Callable[..., Any], *args: Any) -> Answer:
        """Start one call, and again elsewhere if its worker dies, as far as this system does that."""

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Call the function on each item, by the fastest way its manual names, and wait for all."""

    def there_and_back(self, array: numpy.ndarray) -> numpy.ndarray:
        """Give the array to a worker and take back what it returns, by the way its manual names for large data."""
