"""CBOR by one door: what a value is written as, and the only bytes that are read as that value.

Deterministic encoding (RFC 8949, 4.2.1): shortest heads, definite lengths, keys of a map in the order of their bytes, each
once. Of CBOR's types only those that mean the same to everyone: integers of 64 bits, bytes, text (UTF-8 in NFC), arrays,
maps with text or integers as keys, booleans and null; no tags, no floats. Anything else is PeerBroke: a second way to write
a value would be a second signature for it. Read by hand and not by cbor2, which makes dates, decimals and regular
expressions of a stranger's tags (2 ms each, measured), takes trailing bytes, and would need a second encoding (17 us of the
20 us for one block) to see whether the first was the right one. Time is bounded by the bytes and by the number of values.
"""

from __future__ import annotations

import operator
import unicodedata
from typing import TypeAlias

from worldos.errors import PeerBroke
from worldos.trust.limits import CBOR_BYTES_MAX, CBOR_DEPTH_MAX, CBOR_ITEMS_MAX

Value: TypeAlias = "int | bytes | str | bool | list[Value] | tuple[Value, ...] | dict[str | int, Value] | None"

_UINT, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = 0, 1, 2, 3, 4, 5, 6, 7
_FALSE, _TRUE, _NULL = 0xF4, 0xF5, 0xF6
_SIMPLES: dict[int, bool | None] = {_FALSE: False, _TRUE: True, _NULL: None}
_HEAD_ONE, _HEAD_EIGHT = 24, 27
_HEAD_LOWEST = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}  # what needs so long a head, at least


def encode(value: Value) -> bytes:
    """Write a value in the one right way."""
    out: list[bytes] = []
    _write(out, value)
    return b"".join(out)


def decode(data: bytes, size_max: int = CBOR_BYTES_MAX, depth_max: int = CBOR_DEPTH_MAX) -> Value:
    """Read a value; PeerBroke unless these are exactly the bytes that ``encode`` writes for it."""
    if not 0 < len(data) <= size_max:
        raise PeerBroke(f"CBOR of {len(data)} bytes: 1 to {size_max} may come here")
    value, at = _read(data, 0, depth_max, [CBOR_ITEMS_MAX])
    if at != len(data):
        raise PeerBroke("something stands after the end of a CBOR value")
    return value


def _write(out: list[bytes], value: Value) -> None:
    if isinstance(value, str):
        text = value.encode()
        out += (_head(_TEXT, len(text)), text)
    elif isinstance(value, bytes):
        out += (_head(_BYTES, len(value)), value)
    elif value is None or isinstance(value, bool):
        out.append(bytes((_NULL if value is None else _TRUE if value else _FALSE,)))
    elif isinstance(value, int):
        out.append(_head(_UINT, value) if value >= 0 else _head(_NEGATIVE, -1 - value))
    elif isinstance(value, list | tuple):
        out.append(_head(_ARRAY, len(value)))
        for each in value:
            _write(out, each)
    else:
        out.append(_head(_MAP, len(value)))
        for key, each in sorted([(encode(key), each) for key, each in value.items()], key=_first):
            out.append(key)
            _write(out, each)


_first = operator.itemgetter(0)
_SMALL = [[bytes((major << 5 | number,)) for number in range(_HEAD_ONE)] for major in range(_SIMPLE)]


def _head(major: int, number: int) -> bytes:
    if number < _HEAD_ONE:
        return _SMALL[major][number]
    for short in range(4):
        size = 1 << short
        if number < 1 << (8 * size):
            return bytes((major << 5 | _HEAD_ONE + short,)) + number.to_bytes(size, "big")
    raise ValueError("an integer of CBOR has 64 bits")


def _read(data: bytes, at: int, depth: int, left: list[int]) -> tuple[Value, int]:
    """Read the value that begins at ``at``; return it and where it ends."""
    if at >= len(data):
        raise PeerBroke("CBOR ends before its value does")
    first = data[at]
    at += 1
    major, number = first >> 5, first & 31
    if major == _SIMPLE:
        if first not in _SIMPLES:
            raise PeerBroke("of CBOR's simple values only true, false and null may come here")
        return _SIMPLES[first], at
    if number >= _HEAD_ONE:
        number, at = _long(data, at, number)
    if major in (_TEXT, _BYTES):
        end = at + number
        if end > len(data):
            raise PeerBroke("CBOR ends before its bytes do")
        return (_text(data[at:end]) if major == _TEXT else data[at:end]), end
    if major == _UINT:
        return number, at
    if major == _NEGATIVE:
        return -1 - number, at
    if major == _TAG:
        raise PeerBroke("a tag may not come here")
    left[0] -= number if major == _ARRAY else 2 * number
    if depth <= 0 or left[0] < 0:
        raise PeerBroke("CBOR that is too deep, or of too many values")
    return _array(data, at, depth, left, number) if major == _ARRAY else _map(data, at, depth, left, number)


def _long(data: bytes, at: int, kind: int) -> tuple[int, int]:
    """Read a number that does not fit into the head's own five bits."""
    if kind > _HEAD_EIGHT:
        raise PeerBroke("CBOR without a definite length may not come here")
    end = at + (1 << kind - _HEAD_ONE)
    if end > len(data):
        raise PeerBroke("CBOR ends before its number does")
    number = int.from_bytes(data[at:end], "big")
    if number < _HEAD_LOWEST[kind]:
        raise PeerBroke("a number of CBOR is not written in the shortest way")
    return number, end


def _text(written: bytes) -> str:
    if written.isascii():
        return written.decode("ascii")
    try:
        text = written.decode()
    except UnicodeDecodeError as cause:
        raise PeerBroke("a text of CBOR is no UTF-8") from cause
    if not unicodedata.is_normalized("NFC", text):
        raise PeerBroke("a text of CBOR is not in NFC")
    return text


def _array(data: bytes, at: int, depth: int, left: list[int], count: int) -> tuple[Value, int]:
    values: list[Value] = []
    for _ in range(count):
        value, at = _read(data, at, depth - 1, left)
        values.append(value)
    return values, at


def _map(data: bytes, at: int, depth: int, left: list[int], count: int) -> tuple[Value, int]:
    values: dict[str | int, Value] = {}
    before = b""
    for _ in range(count):
        key, end = _read(data, at, 0, left)
        written = data[at:end]
        if not (type(key) is str or type(key) is int):
            raise PeerBroke("a key of a CBOR map is a text or an integer")
        if written <= before:
            raise PeerBroke("keys of a CBOR map stand in order, each once")
        before = written
        values[key], at = _read(data, end, depth - 1, left)
    return values, at
