"""Plain data from strangers: what a machine of another account sends back is loaded without running anything of theirs.

A pickle is a program. Both ends of a lane act for the same holder only as long as the worker does; the owner of the machine under
it can send what he likes. So results from machines of other accounts are read by a loader that knows these types and no other:
numbers, text, bytes, lists, tuples, dicts, sets, dates, decimals, arrays of numbers, and exceptions of Python and of World OS.
Whatever else a pickle names is refused before it is looked up.

Invariant: no name that is not in these tables is ever imported or called. Source: Python documentation, "Restricting Globals".
"""

from __future__ import annotations

import builtins
import io
import pickle
from collections.abc import Sequence
from typing import Any, Final

from worldos.errors import NotAllowed, WorldError

_PLAIN: Final[dict[str, frozenset[str]]] = {
    "builtins": frozenset({"set", "frozenset", "complex", "range", "slice"}),
    "collections": frozenset({"OrderedDict", "Counter", "deque"}),
    "datetime": frozenset({"date", "datetime", "time", "timedelta", "timezone"}),
    "decimal": frozenset({"Decimal"}),
    "fractions": frozenset({"Fraction"}),
    "uuid": frozenset({"UUID"}),
    "numpy": frozenset({"ndarray", "dtype"}),
    "numpy.core.multiarray": frozenset({"_reconstruct", "scalar"}),
    "numpy._core.multiarray": frozenset({"_reconstruct", "scalar"}),
    "numpy.core.numeric": frozenset({"_frombuffer"}),
    "numpy._core.numeric": frozenset({"_frombuffer"}),
}


def _bytes_of(data: Any = b"") -> bytes:
    """Make bytes of what holds bytes; of a number they would be as many as a stranger likes."""
    return bytes(memoryview(data))


def _bytearray_of(data: Any = b"") -> bytearray:
    return bytearray(memoryview(data))


def _error_of(kind: Any, message: str, state: dict[str, Any]) -> WorldError:
    """Make an error of ours again; of what it carries only the hint counts."""
    if not (isinstance(kind, type) and issubclass(kind, WorldError)):
        raise NotAllowed("what is no error comes as one from a machine of another account")
    return kind(str(message), hint=str(state.get("hint", "")))


_MADE_BY: Final[dict[tuple[str, str], Any]] = {
    ("builtins", "bytes"): _bytes_of,
    ("builtins", "bytearray"): _bytearray_of,
    ("worldos.errors", "_rebuild"): _error_of,
}


class _Loader(pickle.Unpickler):
    """Loads what is in the tables."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the type of this name, or refuse it."""
        if (module, name) in _MADE_BY:
            return _MADE_BY[module, name]
        if name in _PLAIN.get(module, ()):
            return super().find_class(module, name)
        if module == "builtins" and isinstance(found := vars(builtins).get(name), type):
            if issubclass(found, BaseException):
                return found
        elif module == "worldos.errors":
            error = super().find_class(module, name)
            if isinstance(error, type) and issubclass(error, WorldError):
                return error
        hint = (
            "return numbers, text, lists, dicts or arrays of numbers; other types are taken from your own machines only"
        )
        raise NotAllowed(f"{module[:80]}.{name[:80]} comes from a machine of another account", hint=hint)

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to what is not in the pickle."""
        raise NotAllowed("a reference out of a result of another account's machine")


def load(data: Any, buffers: Sequence[Any]) -> Any:
    """Load a pickle of plain data with its buffers; raises NotAllowed for any other, and what broken pickles raise."""
    return _Loader(io.BytesIO(data), buffers=buffers).load()
