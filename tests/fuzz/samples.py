"""Inputs to begin from, made of the types themselves: a small well-formed message for each member of a union.

Fuzzing finds little behind a decoder that refuses nearly everything. Since the type is the schema, a good input follows from it:
least numbers, shortest texts, one of each element. So a message that is added tomorrow is fuzzed tomorrow.
"""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
from msgspec import inspect

_DEPTH_MAX = 9
_TEXTS = ("a", "x" * 52, "a" * 52, "abcdefgh", "wos", "1.2.3", "http://localhost:1", "cpu", "0")


def samples(kind: Any) -> tuple[bytes, ...]:
    """Return well-formed bytes of this type, one for each member if it is a union; none where none could be made."""
    made = []
    for value in _values(inspect.type_info(kind), 0):
        data = msgspec.msgpack.encode(value)
        try:
            made.append(msgspec.msgpack.encode(msgspec.msgpack.decode(data, type=kind)))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return tuple(dict.fromkeys(made))


def _values(info: inspect.Type, depth: int) -> list[Any]:
    """Return values of a type; more than one only for a union."""
    if isinstance(info, inspect.UnionType):
        return list(itertools.chain.from_iterable(_values(each, depth) for each in info.types))
    if isinstance(info, inspect.Metadata):
        return _values(info.type, depth)
    return [_value(info, depth)]


def _value(info: inspect.Type, depth: int) -> Any:
    match info:
        case inspect.IntType():
            return info.ge if info.ge is not None else 0 if info.gt is None else info.gt + 1
        case inspect.StrType():
            return _text(info)
        case inspect.BytesType():
            return b"x" * (info.min_length or 0)
        case inspect.BoolType():
            return False
        case inspect.FloatType():
            return 0.5
        case inspect.EnumType():
            return next(iter(info.cls)).value
        case inspect.LiteralType():
            return info.values[0]
        case inspect.TupleType():
            return [_first(each, depth) for each in info.item_types]
        case inspect.VarTupleType() | inspect.ListType() | inspect.SetType() | inspect.FrozenSetType():
            count = max(info.min_length or 0, 1 if depth < _DEPTH_MAX else 0)
            return [_first(info.item_type, depth)] * count if count else []
        case inspect.DictType():
            return {_first(info.key_type, depth): _first(info.value_type, depth)} if depth < _DEPTH_MAX else {}
        case inspect.StructType():
            return _struct(info, depth)
        case _:
            return None


def _first(info: inspect.Type, depth: int) -> Any:
    """Return one value; of a union one that is not nothing, unless it is too deep for more."""
    values = _values(info, depth + 1) if depth < _DEPTH_MAX or not isinstance(info, inspect.UnionType) else [None]
    return next((value for value in values if value is not None), None)


def _text(info: inspect.StrType) -> str:
    least, most = info.min_length or 0, info.max_length or 1 << 16
    if info.pattern is None:
        return "a" * max(least, min(4, most))
    for text in _TEXTS:
        if least <= len(text) <= most:
            return text
    return "a"


def _struct(info: inspect.StructType, depth: int) -> Any:
    tag = [] if info.tag is None else [info.tag]
    if info.array_like:
        return [*tag, *(_first(field.type, depth) for field in info.fields)]
    deep = depth >= _DEPTH_MAX
    fields = {field.encode_name: _first(field.type, depth) for field in info.fields if field.required or not deep}
    return {**({info.tag_field: info.tag} if info.tag is not None else {}), **fields}
