"""Commands of the work are read at one door, whoever they come from."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import PeerBroke
from worldos.kernel.work.words import decode_answers, decode_command, encode_answers, encode_command
from worldos.model.ids import NodeId
from worldos.model.limits import WHERE_DEPTH_MAX
from worldos.model.need import Compare, Condition, Need, Not
from worldos.model.work import Applied, JobSpec, Message, Put, Refused, Submit, WorkCommand

PUT = WorkCommand(said=(Put(queue="q", messages=(Message(b"12345678", b"body"),)),), wall_ms=5)


def test_a_command_is_read_as_it_was_said() -> None:
    assert decode_command(encode_command(PUT)) == PUT


def test_answers_are_read_as_they_were_given() -> None:
    answers = (Applied(messages=((Message(b"12345678", b"body"), 2),)), Refused(why="full", hint="wait"))
    assert decode_answers(encode_answers(answers)) == answers


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data: bytes) -> None:
    with contextlib.suppress(PeerBroke):
        assert encode_command(decode_command(data))


def test_a_condition_that_nests_too_deep_is_refused() -> None:
    where: Condition = Compare("arch", "==", "arm64")
    for _ in range(WHERE_DEPTH_MAX + 1):
        where = Not(where)
    spec = JobSpec(argv=("true",), need=Need(kind="CPU", amount=1, where=where))
    data = msgspec.msgpack.encode(WorkCommand(said=(Submit(job="job-1", spec=spec, by=NodeId("a")),)))
    with pytest.raises(PeerBroke):
        decode_command(data)


def test_bytes_that_are_no_answers_are_refused() -> None:
    with pytest.raises(PeerBroke):
        decode_answers(b"\xc1")
