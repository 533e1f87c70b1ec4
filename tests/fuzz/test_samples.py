"""Inputs made of types: they are well formed, and there is one for each member of what strangers may say."""

from __future__ import annotations

from typing import Annotated, get_args

import msgspec

from tests.fuzz.samples import samples
from worldos.agent.local_api import FromClient
from worldos.model import wire


class Inner(msgspec.Struct, frozen=True, tag="inner", array_like=True):
    key: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class Outer(msgspec.Struct, frozen=True, tag="outer", array_like=True):
    name: Annotated[str, msgspec.Meta(min_length=2)]
    inner: tuple[Inner, ...]
    count: Annotated[int, msgspec.Meta(ge=3)]
    other: int | None = None


def test_one_is_made_of_each_member_and_can_be_read() -> None:
    made = samples(Inner | Outer)
    read = [msgspec.msgpack.decode(each, type=Inner | Outer) for each in made]
    assert [type(each) for each in read] == [Inner, Outer]
    assert read[1] == Outer(name="aaaa", inner=(Inner(key=b"x" * 32),), count=3, other=0)


def test_nearly_every_message_of_nodes_and_programs_is_among_them() -> None:
    for kind, least in ((wire.PeerMessage, 0.8), (FromClient, 0.9)):
        assert len(samples(kind)) >= least * len(get_args(kind))
