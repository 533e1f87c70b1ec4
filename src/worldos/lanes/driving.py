"""Drivers in a worker: the lane object behind a lease of Memory, Storage, Network or a device, driven by the six verbs.

``LaneSpec.driver`` names it ("module:attribute"), ``LaneSpec.arguments`` build it. A verb is a call like any other, so errors,
large values and order are those of calls; it is never run twice. Events go the other way, at any time, from any thread
of the driver: topic, payload and a number, which the holder's ``respond`` names. The contract of the object is
``drivers.lane_object.SixVerbs``; this module does not import it.

Who is not of this machine's account drives by words alone: ``plain`` loads what it sends, numbers, texts, bytes and collections
of them, and the one function ``verb``. No other name is looked up, so no code but the driver's runs.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Iterable
from typing import Any, Final

from worldos.errors import BadRequest, NotAllowed
from worldos.lanes import pack
from worldos.lanes.plain import Loader, load_by

VERBS: Final = ("activate", "rest", "command", "wait", "respond")


def _of_bytes(kind: Callable[[Any], Any]) -> Callable[..., Any]:
    """Return what makes bytes of bytes; of a number it would make so many."""

    def made(value: Any = b"") -> Any:
        if isinstance(value, int):
            raise NotAllowed("bytes are made of bytes")
        return kind(value)

    return made


PLAIN: Final[dict[str, Callable[..., Any]]] = {
    "bytearray": _of_bytes(bytearray),
    "bytes": _of_bytes(bytes),
    "complex": complex,
    "frozenset": frozenset,
    "memoryview": _of_bytes(bytes),
    "range": range,
    "set": set,
    "slice": slice,
}

_driven: list[Any] = []
_failures: list[Exception] = []


def build(driver: str, arguments: dict[str, int | bool | str], send: Callable[[int, bytes], None]) -> None:
    """Make the lane object of this process; if it cannot be made, each verb will say why.

    ``send`` takes an event's number and its pickled topic and payload.
    """
    try:
        _build(driver, arguments, send)
    except Exception as error:  # noqa: BLE001 - anyone's driver may fail in any way
        _failures.append(error)


def _build(driver: str, arguments: dict[str, int | bool | str], send: Callable[[int, bytes], None]) -> None:
    module, _, attribute = driver.partition(":")
    thing: Any = importlib.import_module(module)
    for part in attribute.split("."):
        thing = getattr(thing, part)
    numbers = itertools.count(1)

    def emit(topic: str, payload: Any) -> int:
        number = next(numbers)
        _status, data, buffers = pack.pack_result((topic, payload))
        if buffers:
            raise BadRequest("an event carries little: send a large value as the answer to a command")
        send(number, bytes(data))
        return number

    made = thing(**arguments)
    made.event(emit)
    _driven.append(made)


class _Plain(Loader):
    """Loads plain values and our own verb."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == (__name__, "verb"):
            return verb
        if module == "builtins" and name in PLAIN:
            return PLAIN[name]
        hint = "send numbers, texts and bytes; lease a CPU for functions, or ask an owner to let you in as a device"
        raise NotAllowed(f"{module}.{name} may not be sent to what is leased from others", hint=hint)


def plain(data: Any, buffers: Iterable[Any] = ()) -> Any:
    """Load what somebody of another account sends: values that run no code. Raises NotAllowed for all else."""
    return load_by(_Plain, data, buffers)


def verb(name: str, /, *args: Any, **kwargs: Any) -> Any:
    """Do one of the verbs on this process's lane object."""
    if _failures:
        raise _failures[0]
    if not _driven:
        raise BadRequest("no driver stands behind this lease: it runs functions", hint="use submit, map")
    if name not in VERBS:
        raise BadRequest(f"{name!r} is none of the verbs", hint=f"there are: {', '.join(VERBS)}")
    return getattr(_driven[0], name)(*args, **kwargs)
