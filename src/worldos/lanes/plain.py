"""Plain data from strangers: what a machine of another account sends back is loaded without running anything of theirs.

A pickle is a program. Both ends of a lane act for the same holder only as long as the worker does; the owner of the machine under
it can send what he likes. So results from machines of other accounts are read by a loader that knows these types and no other:
numbers, text, bytes, lists, tuples, dicts, sets, dates, decimals, arrays of numbers, and exceptions of Python and of World OS.
Whatever else a pickle names is refused before it is looked up.

The loader is Python's own one in Python, a tenth as fast as the one in C, for two reasons: a pickle of eight bytes makes the one
in C fill a table of 2^31 places; and here what is built can be looked at first. NumPy's own loading believes all that it is told,
also that the bytes of an array are addresses of objects: so kinds of numbers are made by name alone, and arrays once and from
bytes, as many as they need.

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
import sys
import types
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
_UNITS: Final = re.compile(r"(?:\[\d{1,9}(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as|generic)\])?")
_BUFFERS: Final[Any] = (
    bytes,
    bytearray,
    memoryview,
    pickle.PickleBuffer,
)  # no array: it could be given other bytes later
TIMED: Final = 2  # words at the end of a kind's state where it has units of time
LATELY: Final = 12  # things that are seen from when a kind is made until its state is there
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


class _Kind:
    """A kind of numbers, of which only the name is known; ``real`` makes it when its state is there."""

    def __init__(self, name: Any, *_: Any) -> None:
        if not (isinstance(name, str) and _KIND.fullmatch(name)):
            raise _refused(f"an array of {str(name)[:80]}")
        self.name = name

    def real(self, state: Any) -> Any:
        """Make it by its name, its byte order and units of time; what else its state says it must be anyway."""
        import numpy as np  # noqa: PLC0415 - only for whom gets arrays

        _version, order, below, names, fields, size, alignment, *more = state
        units = ""
        if len(more) == TIMED:
            unit, count, *_ = more[1][1]
            units = f"[{operator.index(count)}{unit.decode()}]"
        if order not in {"<", ">", "=", "|"} or not _UNITS.fullmatch(units):
            raise _refused("an array of an odd kind")
        made = np.dtype(f"{order}{self.name.lstrip('<>=|')}{units}")
        if (below, names, fields) != (None,) * 3 or not {size, alignment} <= {-1, made.itemsize, made.alignment}:
            raise _refused("an array of a kind that is not what it says")
        return made


def _array_from(data: Any, kind: Any, shape: Any, order: Any = "C") -> Any:
    """Make an array over bytes, as ``numpy._core.numeric._frombuffer`` does."""
    import numpy as np  # noqa: PLC0415 - as above

    if not (isinstance(kind, np.dtype) and isinstance(data, _BUFFERS)) or order not in {"C", "F"}:
        raise _refused("an array of no kind")
    _check_text(data, kind)
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
    _check_text(data, kind)
    return np.frombuffer(data, dtype=kind)[0]


def _check_text(data: Any, kind: Any) -> None:
    """See that texts in an array are made of characters."""
    import numpy as np  # noqa: PLC0415 - as above

    if kind.kind == "U" and len(data) and np.frombuffer(data, f"{kind.byteorder}u4").max() > sys.maxunicode:
        raise _refused("a text of what is no character")


def _shape(shape: Any) -> tuple[int, ...]:
    if isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape):
        return shape
    raise _refused("an array of no shape")


def _check_array(array: Any, state: Any) -> None:
    """See that an array gets its bytes once, and as many as its shape and kind need."""
    import numpy as np  # noqa: PLC0415 - as above

    _version, shape, kind, _fortran, data = state
    fits = isinstance(kind, np.dtype) and isinstance(data, bytes) and array.shape == (0,)
    if not fits or math.prod(_shape(shape)) * kind.itemsize != len(data):
        raise _refused("an array that is not as large as it says")
    _check_text(data, kind)


_NAMES_ARRAY: Final = "ndarray"  # only ever the first argument of _reconstruct
_MADE_BY: Final[dict[tuple[str, str], Any]] = {
    ("builtins", "bytes"): _bytes_of,
    ("builtins", "bytearray"): _bytearray_of,
    ("fractions", "Fraction"): _fraction_of,
    ("worldos.errors", "_rebuild"): _error_of,
    ("numpy", "dtype"): _Kind,
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
        """Set the state of what was made, never of what was only named: that is this program's own.

        What a kind of numbers becomes takes its place, also among what was just seen.
        """
        made, state = self.stack[-2:]
        if isinstance(made, _Kind):
            del self.stack[-1]
            self.stack[-1] = real = made.real(state)
            for place in range(max(0, len(self.memo) - LATELY), len(self.memo)):
                if self.memo.get(place) is made:
                    self.memo[place] = real
            return
        kind = f"{type(made).__module__}.{type(made).__name__}"
        if isinstance(made, type | types.FunctionType):
            raise _refused(f"another state of {made.__name__}")
        if kind == "numpy.ndarray":
            _check_array(made, state)
        elif kind.startswith("numpy."):
            raise _refused("a state of a number")
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
