"""What a stranger's machine sends back: plain data come as they were, and nothing of the stranger's is run."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import io
import os
import pickle
import resource
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import Here
from hypothesis import given
from hypothesis import strategies as some

from worldos.errors import BadRequest, NotAllowed, OverQuota
from worldos.lanes import outcome, pack, plain
from worldos.lanes.client import Lane
from worldos.lanes.link import Door
from worldos.lanes.wire import Status


def loaded(value: Any) -> Any:
    _status, data, buffers = pack.pack_result(value)
    return plain.load(data, buffers)


PLAIN = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text() | some.binary(),
    lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner) | some.tuples(inner, inner),
)


@given(PLAIN)
def test_plain_data_come_as_they_were(value: Any) -> None:
    assert loaded(value) == value


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        frozenset("ab"),
        range(3),
        1j,
        bytes(2_000_000),
        bytearray(2_000_000),
        collections.OrderedDict(a=1),
        collections.Counter("aab"),
        collections.deque([1], maxlen=2),
        datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        decimal.Decimal("1.5"),
    ],
)
def test_types_that_do_no_harm_come_too(value: Any) -> None:
    assert loaded(value) == value


def test_arrays_of_numbers_come_large_and_small() -> None:
    for size in (3, 1_000_000):
        assert np.array_equal(loaded(np.arange(size)), np.arange(size))
    assert loaded(np.float64(1.5)) == 1.5


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0)[::2],
        np.arange(12).reshape(3, 4).T,
        np.zeros((0, 3)),
        np.array(["abc", "d"]),
        np.array(["2026-01-01"], "M8[D]"),
        np.array([1], ">i4"),
        np.array(5),
        np.datetime64("2026-01-01"),
        np.bool_(1),
    ],
)
def test_arrays_of_every_shape_and_kind_of_numbers_come_as_they_were(array: Any, protocol: int) -> None:
    sent = pickle.dumps(array, protocol)
    came, usual = plain.load(sent, []), pickle.loads(sent)
    assert np.array_equal(came, array)
    assert (type(came), came.dtype) == (type(usual), usual.dtype)


class Said:
    """Pickles as what a stranger would like NumPy to make."""

    def __init__(self, make: Any, arguments: tuple[Any, ...], state: Any = None) -> None:
        self.said = (make, arguments) if state is None else (make, arguments, state)

    def __reduce__(self) -> Any:
        return self.said


OBJECTS = (3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 0)
ARRAY = (np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "said",
    [
        Said(*ARRAY, (1, (1,), Said(np.dtype, ("V8", False, True), OBJECTS), False, b"A" * 8)),
        Said(*ARRAY, (1, (1,), Said(np.dtype, ("f8", False, True), OBJECTS), False, b"A" * 8)),
        Said(*ARRAY, (1, (1,), Said(np.dtype, ("f8", False, True), (3, "<", None, None, None, 1, 8, 0)), False, b"A")),
        Said(
            *ARRAY,
            (
                1,
                (1,),
                Said(np.dtype, ("m8", False, True), (4, "<", None, None, None, -1, -1, 0, (None, (b"O", 1, 1, 1)))),
                False,
                b"A" * 8,
            ),
        ),
        Said(*ARRAY, (1, (1,), np.dtype("U1"), False, b"A" * 4)),
        Said(np._core.numeric._frombuffer, (np.arange(3), np.dtype("f8"), (3,), "C")),  # type: ignore[attr-defined]
        Said(*ARRAY, (1, (9,), np.dtype("f8"), False, b"A" * 8)),
        Said(*ARRAY, (1, (1,), np.dtype("O"), False, [1])),
        Said(np.dtype, ("O", False, True)),
        Said(np.dtype, ("f8,O", False, True)),
        Said(np.dtype, ("V2147483647", False, True)),
        Said(np._core.multiarray.scalar, (np.dtype("f8"), b"short")),  # type: ignore[attr-defined]
        Said(np._core.multiarray.scalar, (np.dtype("O"), b"A" * 8)),  # type: ignore[attr-defined]
        Said(np._core.numeric._frombuffer, (b"A" * 8, "O", (1,), "C")),  # type: ignore[attr-defined]
        Said(np.ndarray, ((1 << 20, 1 << 20), "f8")),
    ],
)
def test_bytes_of_a_stranger_never_become_addresses_of_objects(said: Said) -> None:
    with pytest.raises((NotAllowed, TypeError, ValueError)):
        plain.load(pickle.dumps(said, 5), [])


def test_what_is_said_of_a_kind_beside_its_name_does_not_count() -> None:
    for state in ((3, ">", None, None, None, -1, -1, 255), (3, ">", None, None, None, 8, 8, 1)):
        kind = plain.load(pickle.dumps(Said(np.dtype, ("f8", False, True), state)), [])
        assert (kind, kind.flags) == (np.dtype(">f8"), np.dtype(">f8").flags)
    kinds = plain.load(pickle.dumps([np.dtype("m8[25s]"), np.dtype("M8")] * 2, 5), [])
    assert kinds == [np.dtype("m8[25s]"), np.dtype("M8")] * 2


def test_a_few_bytes_take_no_gigabytes() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert plain.load(b"\x80\x04Nr\x00\x00\x00\x08.", []) is None, "place 2^27 of the table of what was seen"
    with pytest.raises(EOFError):
        plain.load(b"\x80\x05\x96\x00\x00\x00\x40\x00\x00\x00\x00abc", [])  # a bytearray of a gigabyte
    with pytest.raises((ValueError, TypeError)):
        plain.load(pickle.dumps(Evil(fractions.Fraction, "1e999999999")), [])
    assert plain.load(pickle.dumps(fractions.Fraction(-2, 3)), []) == fractions.Fraction(-2, 3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "kilobytes"


class Evil:
    """Reduces to a call of the stranger's choice."""

    def __init__(self, call: Any, *args: Any) -> None:
        self.reduced = call, args

    def __reduce__(self) -> Any:
        return self.reduced


@pytest.mark.parametrize(
    "call",
    [
        os.system,
        eval,
        exec,
        open,
        getattr,
        __import__,
        compile,
        type,
        object,
        pickle.loads,
        io.FileIO,
        threading.Thread,
    ],
)
def test_no_call_of_the_strangers_choice_is_made(call: Any, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with pytest.raises(NotAllowed, match="another account"):
        plain.load(pickle.dumps(Evil(call, f"touch {mark}")), [])
    assert not mark.exists()


@pytest.mark.parametrize(
    "code",
    [
        b"cos\nsystem\n(S'true'\ntR.",  # protocol 0
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        b"cbuiltins\nException.__init__.__globals__\n.",
        b"\x80\x04\x8c\x08builtins\x8c\x12Exception.__base__\x93.",
        b"cworldos.errors\nos\n.",
        b"cworldos.errors\nannotations\n.",
        b"(S'x'\nibuiltins\neval\n.",
        b"Pid\n.",
        b"\x82\x01.",  # an extension
    ],
)
def test_hand_made_pickles_fail_too(code: bytes) -> None:
    with pytest.raises((NotAllowed, pickle.UnpicklingError, ValueError, AttributeError)):
        plain.load(code, [])


@pytest.mark.parametrize(
    ("named", "attribute", "value"),
    [
        ("collections\nCounter", "most_common", pickle.NONE),
        ("fractions\nFraction", "__defaults__", pickle.BININT1 + b"\7" + pickle.TUPLE1),
        ("numpy\ndtype", "real", pickle.NONE),
        ("worldos.errors\nBadRequest", "exit_code", pickle.NONE),
    ],
)
def test_what_is_only_named_is_not_changed(named: str, attribute: str, value: bytes) -> None:
    key = pickle.SHORT_BINUNICODE + bytes([len(attribute)]) + attribute.encode()
    state = pickle.NONE + pickle.EMPTY_DICT + key + value + pickle.SETITEM + pickle.TUPLE2
    with pytest.raises(NotAllowed, match="another state"):
        plain.load(
            pickle.PROTO + b"\4" + pickle.GLOBAL + named.encode() + b"\n" + state + pickle.BUILD + pickle.STOP, []
        )
    assert callable(collections.Counter.most_common)


def test_a_number_does_not_become_as_many_bytes() -> None:
    with pytest.raises(TypeError):
        plain.load(pickle.dumps(Evil(bytearray, 1 << 40)), [])


def test_an_exception_comes_with_its_kind_and_one_that_ends_the_program_does_not() -> None:
    for error in (KeyError("k"), OverQuota("too much")):
        status, data, buffers = pack.pack_exception(error)
        assert type(outcome.load("work", status, data, buffers, is_own=False)[1]) is type(error)
    status, data, buffers = pack.pack_exception(SystemExit(0))
    assert type(outcome.load("work", status, data, buffers, is_own=False)[1]) is BadRequest
    for shape in (b"", 3, ("x",), (ValueError(), 3)):
        failed = outcome.load("work", Status.RAISED, pickle.dumps(shape), [], is_own=False)[1]
        assert isinstance(failed, BadRequest)


class Own:
    """A type of the program's own."""


def test_a_lane_takes_objects_from_its_own_machines_only(here: Here) -> None:
    _lease, doors = here.open(workers=1)
    for is_own in (True, False):
        lane = Lane([Door(path=doors[0].path, is_own=is_own)])
        made = lane.submit(Own)
        if is_own:
            assert type(made.result(60)).__name__ == "Own"
        else:
            with pytest.raises(BadRequest, match="another account"):
                made.result(60)
            assert lane.submit(sum, [1, 2]).result(60) == 3
        lane.shutdown()
