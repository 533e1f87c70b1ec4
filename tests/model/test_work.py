"""Work as values: what lies within the bounds comes back as it was, and what does not is refused at the type."""

from __future__ import annotations

import msgspec
import pytest

from worldos.model.ids import NodeId
from worldos.model.need import Need
from worldos.model.work import JobSpec, Message, Put, Span, Submit, WorkCommand

SPEC = JobSpec(argv=("true",), need=Need(kind="CPU", amount=1000), array=(Span(1, 100),))


def read(data: bytes) -> WorkCommand:
    return msgspec.msgpack.decode(data, type=WorkCommand)


def test_commands_of_both_kinds_come_back_as_they_were() -> None:
    said = (Submit(job="j-abcd", spec=SPEC, by=NodeId("n")), Put(queue="q", messages=(Message(b"12345678", b"x"),)))
    command = WorkCommand(said=said, wall_ms=7)
    assert read(msgspec.msgpack.encode(command)) == command


@pytest.mark.parametrize(
    "wrong",
    [
        Submit(job="A job", spec=SPEC, by=NodeId("n")),
        Submit(job="j-abcd", spec=msgspec.structs.replace(SPEC, argv=()), by=NodeId("n")),
        Submit(job="j-abcd", spec=msgspec.structs.replace(SPEC, priority=101), by=NodeId("n")),
        Submit(job="j-abcd", spec=msgspec.structs.replace(SPEC, array=(Span(-1, 4),)), by=NodeId("n")),
        Put(queue="q", messages=()),
        Put(queue="q", messages=(Message(b"short", b""),)),
    ],
)
def test_what_is_out_of_bounds_is_refused_at_the_type(wrong: Submit | Put) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(msgspec.msgpack.encode(WorkCommand(said=(wrong,))))
