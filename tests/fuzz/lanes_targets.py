"""What the fuzzers throw at lanes: words for drivers, parcels of files, and what the nursery of a sandbox says."""

from __future__ import annotations

import collections
import contextlib
import datetime
import decimal
import fractions
import io
import os
import pickle
import tarfile
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tests.fuzz.target import Target, refused
from worldos.errors import WorldError
from worldos.lanes import driving, nursery, parcel, plain

CHUNK = 700
VALUES = (int, float, complex, str, bytes, bytearray, memoryview, bool, type(None), range, slice)
SAID: tuple[object, ...] = (
    (),
    {},
    ("command", "ask", b"x" * 40),
    {"a": [1, 2.5, None, {3}], "b": (True, 1j, frozenset({4}))},
    range(3),
)
KINDS = (
    np.ndarray,
    np.generic,
    np.dtype,
    Exception,
    datetime.timezone,
    datetime.timedelta,
    datetime.date,
    datetime.time,
)
MADE: tuple[type, ...] = (decimal.Decimal, fractions.Fraction, uuid.UUID, collections.deque)
ARRAYS = (np.arange(6.0), np.arange(6)[::2], np.array(["a"]), np.float32(1), np.array(["2026-01-01"], "M8[D]"))


def words(data: bytes) -> None:
    """Whatever loads is a value, or our own verb."""
    for value in _loaded(lambda: driving.plain(data)):
        named = value is driving.verb or value in driving.PLAIN.values()
        assert named or isinstance(value, VALUES), f"{type(value)} is more than a value"


def result(data: bytes) -> None:
    """Whatever loads is a value, a kind or an array of numbers, an exception, or the name of something that makes one."""
    for value in _loaded(lambda: plain.load(data, ())):
        if isinstance(value, np.ndarray | np.generic | np.dtype):
            assert not np.dtype(getattr(value, "dtype", value)).hasobject, "bytes as addresses"
            with contextlib.suppress(ValueError, OverflowError):  # times without a unit, or beyond its reach
                repr(value)
        named = callable(value) and (value in plain._MADE_BY.values() or isinstance(value, type))
        assert named or isinstance(value, (*VALUES, *KINDS, *MADE, plain._Kind)), f"{type(value)} is more than a value"


def _loaded(load: Callable[[], object]) -> Iterator[object]:
    """Give all that is in what loads, but for collections."""
    try:
        left = [load()]
    except (
        WorldError,
        pickle.PickleError,
        EOFError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        ArithmeticError,
    ):
        return
    seen: set[int] = set()
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            left += [*value, *value.values()]
        elif isinstance(value, (list, tuple, set, frozenset)):
            left += value
        else:
            yield value


def unpacked(data: bytes) -> None:
    """Nothing lands outside, and no link leads there."""
    with tempfile.TemporaryDirectory() as place:
        inside = Path(place) / "inside"
        inside.mkdir()
        pieces = iter([*(data[at : at + CHUNK] for at in range(0, len(data), CHUNK)), b""])
        refused(lambda: parcel.unpack(inside, lambda: next(pieces, b"")), OSError)
        again = iter([data, b""])
        refused(lambda: parcel.digest(lambda: next(again, b"")))
        assert os.listdir(place) == ["inside"]
        for found in inside.rglob("*"):
            assert found.resolve().is_relative_to(inside.resolve()) or not found.is_symlink()


def report(data: bytes) -> None:
    """A report, or a refusal."""
    refused(lambda: nursery.report_of(data))


def _tar(*members: tuple[str, bytes, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, link in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            info.size = 3 if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"xyz"[: info.size]))
    return out.getvalue()


TARGETS: dict[str, Target] = {
    "result": Target(
        result, tuple(pickle.dumps(each, 5) for each in (*SAID, *ARRAYS, KeyError("k"), datetime.UTC)), slow=True
    ),
    "words": Target(words, (*(pickle.dumps(each, 5) for each in SAID), pickle.dumps(driving.verb))),
    "parcel": Target(
        unpacked,
        (
            _tar(("a/b", tarfile.REGTYPE, ""), ("a/l", tarfile.SYMTYPE, "b"), ("c", tarfile.DIRTYPE, "")),
            _tar(("l", tarfile.SYMTYPE, ".."), ("l/x", tarfile.REGTYPE, "")),
            _tar(("d" * 300, tarfile.REGTYPE, "")),
        ),
        slow=True,
    ),
    "room": Target(
        report,
        tuple(
            nursery.encode(each)
            for each in (
                nursery.Settled(landlock=7, own_users=True),
                nursery.Forked(job=1, pid=2),
                nursery.Ended(pid=2, status=-9),
            )
        ),
    ),
}
