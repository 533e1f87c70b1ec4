"""Python values as bytes, and back: functions, arguments, results, exceptions.

What is plain data is pickled by the C pickler; all else by cloudpickle, which takes functions and classes of ``__main__`` by
value. Buffers of 64 KiB and more stay out of the pickle (protocol 5) and are never copied here.

A function is pickled once and named by the BLAKE2b hash of its pickle. Pickling it again is skipped while nothing that
the pickle holds can have changed: its code, and the atoms, modules, classes and functions that it refers to. A function
that refers to anything that can change inside (a list, an object) is pickled at each submit.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import pickle
import sys
import sysconfig
import traceback
import types
import weakref
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import cloudpickle

from worldos.errors import BadRequest
from worldos.lanes.failing import Unsendable
from worldos.lanes.wire import SMALL_BYTES, Status

Buffers = list[memoryview]
PROTOCOL: Final = 5
FUNCTIONS_MAX: Final = 1024
CAPTURE_DEPTH_MAX: Final = 8

_ATOMS: Final = frozenset({int, float, str, bytes, bool, type(None), complex})
_FIXED: Final = frozenset({*_ATOMS, types.ModuleType, types.BuiltinFunctionType, type, range, type(Ellipsis)})
_dumps = pickle.dumps


class Function:
    """A pickled function. ``number`` names it on the lane, ``digest`` anywhere."""

    __slots__ = ("blob", "digest", "key", "name", "number")

    def __init__(self, number: int, digest: bytes, blob: bytes, name: str) -> None:
        self.number = number
        self.digest = digest
        self.key = digest.hex()  # of its profile
        self.blob = blob
        self.name = name


class _Known:
    """A function pickled before, and what must be as it was for its pickle to still be right."""

    __slots__ = ("cells", "code", "defaults", "function", "globals", "kwdefaults", "ref")

    def __init__(self, fn: types.FunctionType, function: Function, captured: _Captured) -> None:
        self.ref = weakref.ref(fn)
        self.code = fn.__code__
        self.defaults = fn.__defaults__
        self.kwdefaults = fn.__kwdefaults__
        self.cells = captured.cells
        self.globals = captured.globals
        self.function = function

    def holds(self, fn: types.FunctionType) -> bool:
        """Whether the pickle still says what the function is."""
        if self.ref() is not fn or fn.__code__ is not self.code or fn.__defaults__ is not self.defaults:
            return False
        try:
            for cell, value in self.cells:
                if cell.cell_contents is not value:
                    return False
        except ValueError:
            return False
        return all(space.get(name) is value for space, name, value in self.globals)


class _Captured:
    """What a function refers to: cells and globals, through the functions that it refers to."""

    def __init__(self) -> None:
        self.cells: list[tuple[types.CellType, Any]] = []
        self.globals: list[tuple[dict[str, Any], str, Any]] = []
        self._seen: set[int] = set()

    def take(self, fn: types.FunctionType, depth: int = 0) -> bool:
        """Collect; return False if anything found may change without a trace."""
        if id(fn) in self._seen or _by_name(fn):
            return True
        self._seen.add(id(fn))
        if depth > CAPTURE_DEPTH_MAX or fn.__dict__ or fn.__kwdefaults__:
            return False
        values: list[Any] = list(fn.__defaults__ or ())
        for cell in fn.__closure__ or ():
            try:
                self.cells.append((cell, cell.cell_contents))
            except ValueError:
                return False
            values.append(cell.cell_contents)
        for name in _global_names(fn.__code__):
            value = fn.__globals__.get(name)
            self.globals.append((fn.__globals__, name, value))
            values.append(value)
        return all(self._fixed(value, depth) for value in values)

    def _fixed(self, value: Any, depth: int) -> bool:
        if type(value) in _FIXED:
            return True
        return type(value) is types.FunctionType and self.take(value, depth + 1)


def _global_names(code: types.CodeType) -> set[str]:
    names = {name for name in code.co_names if not hasattr(builtins, name)}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _global_names(constant)
    return names


def _by_name(fn: types.FunctionType) -> bool:
    """Whether cloudpickle sends only the name of this function."""
    module = sys.modules.get(fn.__module__ or "")
    if module is None or fn.__module__ == "__main__" or fn.__module__ in cloudpickle.list_registry_pickle_by_value():
        return False
    found: Any = module
    for part in fn.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is fn


class Functions:
    """The functions of one lane, each pickled as rarely as is safe. Not for several threads at once.

    ``far``: some workers are on other machines, which have the installed packages but not the modules of this program: those
    then travel by value, as ``__main__`` does.
    """

    def __init__(self) -> None:
        self.far = False
        self._modules_seen = 0
        self._known: dict[int, _Known] = {}
        self._by_digest: dict[bytes, Function] = {}
        self._numbers = 0
        self.forgotten: list[int] = []

    def of(self, fn: Any) -> Function:
        """Return the pickled form of ``fn``. Raises Unsendable if it has none."""
        known = self._known.get(id(fn))
        if known is not None and known.holds(fn):
            return known.function
        if self.far and len(sys.modules) != self._modules_seen:
            self._modules_seen = len(sys.modules)
            _send_own_modules()
        if not callable(fn):
            raise BadRequest(f"{fn!r} cannot be called", hint="submit takes a function and then its arguments")
        name = getattr(fn, "__qualname__", type(fn).__qualname__)
        function = self._numbered(_pickled_function(fn, name), name)
        captured = _Captured()
        if type(fn) is types.FunctionType and captured.take(fn):
            if len(self._known) >= FUNCTIONS_MAX:
                self._known.clear()
            self._known[id(fn)] = _Known(fn, function, captured)
        return function

    def _numbered(self, blob: bytes, name: str) -> Function:
        digest = blake2b(blob, digest_size=16).digest()
        function = self._by_digest.get(digest)
        if function is None:
            if len(self._by_digest) >= FUNCTIONS_MAX:
                oldest = next(iter(self._by_digest))
                self.forgotten.append(self._by_digest.pop(oldest).number)
            self._numbers += 1
            function = self._by_digest[digest] = Function(self._numbers, digest, blob, name)
        return function


def _send_own_modules() -> None:
    """Let cloudpickle take by value what belongs to this program: modules that lie where no package is installed."""
    installed = tuple({str(Path(p).resolve()) for p in (*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix)})
    known = cloudpickle.list_registry_pickle_by_value()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not file or name in known or name.partition(".")[0] in {"worldos", "__main__"}:
            continue
        path = str(Path(file).resolve())
        if not path.startswith(installed) and "site-packages" not in path and "dist-packages" not in path:
            with contextlib.suppress(ValueError):
                cloudpickle.register_pickle_by_value(module)


def _pickled_function(fn: Any, name: str) -> bytes:
    try:
        return bytes(cloudpickle.dumps(fn, protocol=PROTOCOL))
    except Exception as error:
        raise Unsendable(
            f"the function {name} cannot be sent to another process: {error}",
            hint="it, or something it refers to, cannot be pickled (locks, sockets, open files); "
            "make such things inside the function",
        ) from error


class _Large:
    """A large bytes or bytearray as an argument or result of its own: pickled without being copied."""

    __slots__ = ("value",)

    def __init__(self, value: bytes | bytearray) -> None:
        self.value = value

    def __reduce_ex__(self, protocol: Any) -> tuple[type, tuple[pickle.PickleBuffer]]:
        return type(self.value), (pickle.PickleBuffer(self.value),)


def _wrap(value: Any) -> Any:
    return _Large(value) if type(value) in {bytes, bytearray} and len(value) >= SMALL_BYTES else value


Thaw = Callable[[Any], "tuple[Any, ...] | None"]


class _ResultPickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles results: an array that is a view of an argument comes back writable, as any other result."""

    def __init__(self, out: io.BytesIO, keep_out: Callable[[pickle.PickleBuffer], bool], thaw: Thaw) -> None:
        super().__init__(out, protocol=PROTOCOL, buffer_callback=keep_out)
        self._thaw = thaw

    def reducer_override(self, obj: Any) -> Any:
        """Reduce frozen arrays ourselves."""
        if type(obj).__name__ == "ndarray" and not obj.flags.writeable:
            reduced = self._thaw(obj)
            if reduced is not None:
                return reduced
        return super().reducer_override(obj)


def _pickle(value: Any, thaw: Thaw | None = None) -> tuple[bytes | memoryview, Buffers]:
    buffers: Buffers = []

    def keep_out(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < SMALL_BYTES:
            return True
        buffers.append(raw)
        return False

    out = io.BytesIO()
    if thaw is None:
        cloudpickle.Pickler(out, protocol=PROTOCOL, buffer_callback=keep_out).dump(value)
    else:
        _ResultPickler(out, keep_out, thaw).dump(value)
    return out.getbuffer(), buffers


def pack_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bytes | memoryview, Buffers]:
    """Return the pickle of ``(args, kwargs)`` and its large buffers. Raises Unsendable naming the argument at fault."""
    if not kwargs:
        for value in args:
            if type(value) not in _ATOMS:
                break
        else:
            data = _dumps((args, kwargs), PROTOCOL)
            if len(data) < SMALL_BYTES:
                return data, []
    try:
        wrapped = tuple([_wrap(v) for v in args]), {k: _wrap(v) for k, v in kwargs.items()}
        return _pickle(wrapped)
    except Exception as error:  # pickling runs the user's code
        raise Unsendable(
            f"{_culprit(args, kwargs)} cannot be sent to another process: {error}",
            hint="pass what it is made from (a path, a host name, plain data) and make it inside the function",
        ) from error


def pack_initializer(
    functions: Functions, initializer: Callable[..., Any], initargs: tuple[Any, ...]
) -> tuple[Function, bytes]:
    """Return what each worker runs first. Raises BadRequest."""
    data, buffers = pack_arguments(initargs, {})
    if buffers:
        raise BadRequest("the arguments of an initializer must be small")
    return functions.of(initializer), bytes(data)


def _culprit(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    named = [(f"argument {i + 1}", v) for i, v in enumerate(args)] + [(f"argument {k}=", v) for k, v in kwargs.items()]
    for name, value in named:
        try:
            _pickle(value)
        except Exception:  # noqa: BLE001 - as above
            return f"{name} ({type(value).__qualname__})"
    return "an argument"


def pack_result(value: Any, thaw: Thaw | None = None) -> tuple[Status, bytes | memoryview, Buffers]:
    """Return status, pickle and large buffers of what a call returned; a value that cannot be pickled becomes an error.

    ``thaw`` may reduce read-only arrays in a way of its own.
    """
    if type(value) in _ATOMS:
        data = _dumps(value, PROTOCOL)
        if len(data) < SMALL_BYTES:
            return Status.RETURNED, data, []
    try:
        return Status.RETURNED, *_pickle(_wrap(value), thaw)
    except BaseException as error:  # noqa: BLE001 - pickling runs the user's code: SystemExit and all
        return Status.UNSENDABLE, _dumps(f"a {type(value).__qualname__}: {error}", PROTOCOL), []


def pack_exception(error: BaseException) -> tuple[Status, bytes | memoryview, Buffers]:
    """Return an exception with its traceback as text; one that does not survive pickling is described instead."""
    text = "".join(traceback.format_exception(error))
    error.__traceback__ = None
    try:
        data, buffers = _pickle((error, text))
        pickle.loads(data, buffers=buffers)  # noqa: S301 - our own bytes: many exceptions pickle but do not come back
    except Exception as second:  # noqa: BLE001 - any exception class may fail in any way here
        described = RuntimeError(f"{type(error).__qualname__}: {error} (it cannot be pickled: {second})")
        data, buffers = _pickle((described, text))
    return Status.RAISED, data, buffers


def unpack(data: Any, buffers: Buffers) -> Any:
    """Load a pickle with its buffers: whatever loading raises comes out."""
    return pickle.loads(data, buffers=buffers)  # noqa: S301 - both ends of a lane act for the same holder
