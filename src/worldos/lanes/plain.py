"""Plain data from strangers: what a machine of another account sends back is loaded without running anything of theirs.

A pickle is a program. Both ends of a lane act for the same holder only as long as the worker does; the owner of the machine under
it can send what he likes. So results from machines of other accounts are read by a loader that knows these types and no other:
numbers, text, bytes, lists, tuples, dicts, sets, dates, decimals, arrays of numbers, and exceptions of Python and of World OS.
Whatever else a pickle names is refused before it is looked up.

The loader is Python's own one in Python, a tenth as fast as the one in C, for two reasons: a pickle of eight bytes makes the one
in C fill a table of 2^31 places; and here what is built can be looked at first. NumPy's own loading believes all that it is told,
also that the bytes of an array are addresses of objects: so kinds of numbers are made by name, arrays from bytes, and both take
no other state than what they would have had anyway.

Invariant: no name that is not in these tables is ever imported or called. Source: Python documentation, "Restricting Globals";
NumPy, arraydescr_setstate and array_setstate.
"""

from __future__ import annotations

import builtins
import fractions
import io
import math
import operator
import pickle
import re
import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final

from worldos.errors import NotAllowed, WorldError

_PLAIN: Final[dict[str, frozenset[str]]] = {
    "builtins": frozenset({"set", "frozenset", "complex", "range", "slice"}),
    "collections": frozenset({"OrderedDict", "Counter", "deque"}),
    "datetime": frozenset({"date", "datetime", "time", "timedelta", "timezone"}),
    "decimal": frozenset({"Decimal"}),
    "uuid": frozenset({"UUID"}),
}
_ARRAYS: Final = frozenset(
    {"numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric"}
)
_KIND: Final = re.compile(r"[<>=|]?(?:[?biufcSUmM]\d{0,6})")  # of numbers, texts and times: nothing that holds objects
_UNITS: Final = 9  # the length of a kind's state where it has units of time
_UNPICKLER: Final[Any] = pickle._Unpickler  # private, and the same since 1996


def _refused(what: str) -> NotAllowed:
    hint = "return numbers, text, lists, dicts or arrays of numbers; other types are taken from your own machines only"
    return NotAllowed(f"{what} comes from a machine of another account", hint=hint)


def _bytes_of(data: Any = b"") -> bytes:
    """Make bytes of what holds bytes; of a number they would be as many as a stranger likes."""
    return bytes(memoryview(data))


def _bytearray_of(data: Any = b"") -> bytearray:
    return bytearray(memoryview(data))


def _fraction_of(above: Any, below: Any = 1) -> fractions.Fraction:
    """Make a fraction of two numbers; of the text 1e999999999 it would have as many digits."""
    return fractions.Fraction(operator.index(above), operator.index(below))


def _error_of(kind: Any, message: str, state: dict[str, Any]) -> WorldError:
    """Make an error of ours again; of what it carries only the hint counts."""
    if not (isinstance(kind, type) and issubclass(kind, WorldError)):
        raise NotAllowed("what is no error comes as one from a machine of another account")
    return kind(str(message), hint=str(state.get("hint", "")))


def _kind_of(name: Any, *_: Any) -> Any:
    """Make a kind of numbers by its name, one that nobody else has: its byte order may be changed yet."""
    import numpy as np  # noqa: PLC0415 - only for whom gets arrays

    if not (isinstance(name, str) and _KIND.fullmatch(name)):
        raise _refused(f"an array of {str(name)[:80]}")
    return np.dtype(name, copy=True)


def _array_from(data: Any, kind: Any, shape: Any, order: Any = "C") -> Any:
    """Make an array over bytes, as ``numpy._core.numeric._frombuffer`` does."""
    import numpy as np  # noqa: PLC0415 - as above

    if not isinstance(kind, np.dtype) or order not in {"C", "F"}:
        raise _refused("an array of no kind")
    return np.frombuffer(data, dtype=kind).reshape(_shape(shape), order=order)


def _array_of(*_: Any) -> Any:
    """Make an empty array, whose state follows."""
    import numpy as np  # noqa: PLC0415 - as above

    return np.ndarray((0,), "b")


def _number_of(kind: Any, data: Any = b"") -> Any:
    """Make one number of a kind, as ``numpy._core.multiarray.scalar`` does."""
    import numpy as np  # noqa: PLC0415 - as above

    if not isinstance(kind, np.dtype) or not isinstance(data, bytes) or len(data) != kind.itemsize:
        raise _refused("a number of no kind")
    return np.frombuffer(data, dtype=kind)[0]


def _shape(shape: Any) -> tuple[int, ...]:
    if isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape):
        return shape
    raise _refused("an array of no shape")


def _check_kind(kind: Any, state: Any) -> None:
    """See that a kind of numbers would become what it is, but for its byte order and units of time."""
    version, order, below, names, fields, size, alignment, *more = state
    same = size in {-1, kind.itemsize} and alignment in {-1, kind.alignment}
    known = type(version) is int and order in {"<", ">", "=", "|"} and below is names is fields is None
    flags = more[0] if more else 0
    units = len(state) < _UNITS or (kind.kind in "mM" and len(more) == 2 and more[1][0] in (None, {}))
    if not (same and known and units and flags in {0, kind.flags}):
        raise _refused("an array of a kind that is not what it says")


def _check_array(state: Any) -> None:
    """See that an array has as many bytes as its shape and kind need."""
    import numpy as np  # noqa: PLC0415 - as above

    _version, shape, kind, _fortran, data = state
    fits = isinstance(kind, np.dtype) and isinstance(data, bytes)
    if not fits or math.prod(_shape(shape)) * kind.itemsize != len(data):
        raise _refused("an array that is not as large as it says")


_NAMES_ARRAY: Final = "ndarray"  # only ever the first argument of _reconstruct
_MADE_BY: Final[dict[tuple[str, str], Any]] = {
    ("builtins", "bytes"): _bytes_of,
    ("builtins", "bytearray"): _bytearray_of,
    ("fractions", "Fraction"): _fraction_of,
    ("worldos.errors", "_rebuild"): _error_of,
    ("numpy", "dtype"): _kind_of,
    ("numpy", "ndarray"): _NAMES_ARRAY,
    **{(module, "_reconstruct"): _array_of for module in _ARRAYS if module.endswith("multiarray")},
    **{(module, "scalar"): _number_of for module in _ARRAYS if module.endswith("multiarray")},
    **{(module, "_frombuffer"): _array_from for module in _ARRAYS if module.endswith("numeric")},
}


class Loader(_UNPICKLER):  # type: ignore[misc]
    """Loads what ``find_class`` allows, and takes no memory for what it was only told of."""

    dispatch: Final = dict(_UNPICKLER.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        """Refuse everything."""
        raise _refused(f"{module[:80]}.{name[:80]}")

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to what is not in the pickle."""
        raise NotAllowed("a reference out of a result of another account's machine")

    def load_build(self) -> None:
        """Set the state of what was made, if it is one of those that have a state."""
        made, state = self.stack[-2:]
        kind = f"{type(made).__module__}.{type(made).__name__}"
        if kind.startswith("numpy.dtype"):
            _check_kind(made, state)
        elif kind == "numpy.ndarray":
            _check_array(state)
        _UNPICKLER.load_build(self)

    def load_bytearray(self) -> None:
        """Take as many bytes as are there; the room for them is not made before."""
        size = int.from_bytes(self.read(8), "little")
        self.append(bytearray(self.read(size)))

    def refuse(self) -> None:
        """Refuse what programs agree upon by numbers: extensions."""
        raise _refused("an extension of pickle")

    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray
    for _code in (pickle.EXT1, pickle.EXT2, pickle.EXT4):
        dispatch[_code[0]] = refuse


class _Plain(Loader):
    """Loads what is in the tables."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the type of this name, or refuse it."""
        if (module, name) in _MADE_BY:
            return _MADE_BY[module, name]
        if name in _PLAIN.get(module, ()):
            return _UNPICKLER.find_class(self, module, name)
        if module == "builtins" and isinstance(found := vars(builtins).get(name), type):
            if issubclass(found, Exception):
                return found
        elif module == "worldos.errors":
            error = _UNPICKLER.find_class(self, module, name)
            if isinstance(error, type) and issubclass(error, WorldError):
                return error
        raise _refused(f"{module[:80]}.{name[:80]}")


def load(data: Any, buffers: Sequence[Any]) -> Any:
    """Load a pickle of plain data with its buffers; raises NotAllowed for any other, and what broken pickles raise."""
    return load_by(_Plain, data, buffers)


def load_by(loader: type[Loader], data: Any, buffers: Iterable[Any]) -> Any:
    """Load a pickle by one of the loaders. A stack that is empty too early and the like are broken pickles."""
    try:
        return loader(io.BytesIO(data), buffers=buffers).load()
    except (IndexError, KeyError, struct.error, OverflowError) as error:
        raise pickle.UnpicklingError(f"a broken pickle: {error}") from None
