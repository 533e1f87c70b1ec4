"""What the fuzzers throw at lanes: words for drivers, parcels of files, and what the nursery of a sandbox says."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import tarfile
import tempfile
from pathlib import Path

from tests.fuzz.target import Target, refused
from worldos.errors import WorldError
from worldos.lanes import driving, nursery, parcel

CHUNK = 700
MUCH = 1_000_000
VALUES = (int, float, complex, str, bytes, bytearray, memoryview, bool, type(None), range, slice)
SAID = ((), {}, ("command", "ask", b"x" * 40), {"a": [1, 2.5, None, {3}], "b": (True, 1j, frozenset({4}))}, range(3))


def plain(data: bytes) -> None:
    """Whatever loads is a value, or our own verb."""
    if _asks_for_much(data):
        return  # a worker has its lease's memory for that, and we have not
    loaded: list[object] = []
    try:
        loaded.append(driving.plain(data))
    except (
        WorldError,
        pickle.PickleError,
        EOFError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
    ):
        return
    except MemoryError:
        return
    seen: set[int] = set()
    while loaded:
        value = loaded.pop()
        if id(value) in seen or value is driving.verb or value in driving.PLAIN.values():
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            loaded += [*value, *value.values()]
        elif isinstance(value, (list, tuple, set, frozenset)):
            loaded += value
        else:
            assert isinstance(value, VALUES), f"{type(value)} is more than a value"


def _asks_for_much(data: bytes) -> bool:
    """Tell whether a pickle names a place in its memo, or a length, that is far beyond its own size."""
    try:
        return any(
            type(value) is int and value > MUCH for code, value, _ in pickletools.genops(data) if "INT" not in code.name
        )
    except Exception:  # noqa: BLE001 - it is no pickle from there on, and pickletools says so in many ways
        return len(data) > 0 and any(data[at : at + 1] in b"rj\x8e\x8d\x96BXT\x8b" for at in range(len(data)))


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
    "words": Target(plain, (*(pickle.dumps(each, 5) for each in SAID), pickle.dumps(driving.verb))),
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
