"""What the decoder lets through to Raft, and what it refuses."""

from __future__ import annotations

import msgspec
import pytest

from worldos.model.ids import NodeId
from worldos.model.limits import (
    MESSAGE_BYTES_MAX,
    RAFT_BATCH_ENTRIES_MAX,
    RAFT_COMMAND_BYTES_MAX,
    RAFT_LEARNERS_MAX,
    RAFT_SNAPSHOT_BYTES_MAX,
    RAFT_SNAPSHOT_PART_BYTES,
    RAFT_VOTERS_MAX,
)
from worldos.model.raft import (
    NUMBER_MAX,
    AppendAnswer,
    AppendAsk,
    Config,
    Entry,
    PreVoteAnswer,
    PreVoteAsk,
    RaftMessage,
    ReadAnswer,
    ReadAsk,
    SnapshotAnswer,
    SnapshotPart,
    TimeoutNow,
    VoteAnswer,
    VoteAsk,
)

A, B = NodeId("a" * 52), NodeId("b" * 52)
AB = Config(voters=(A, B))
decoder: msgspec.msgpack.Decoder[RaftMessage] = msgspec.msgpack.Decoder(RaftMessage)


def ask(**changes: object) -> AppendAsk:
    return msgspec.structs.replace(AppendAsk(term=3, prev_index=7, prev_term=2, committed=6), **changes)


def part(**changes: object) -> SnapshotPart:
    whole = SnapshotPart(term=3, index=9, index_term=2, config=AB, size=10, offset=0, data=b"0123456789")
    return msgspec.structs.replace(whole, **changes)


def named(count: int) -> tuple[NodeId, ...]:
    return tuple(NodeId(f"n{number}") for number in range(count))


@pytest.mark.parametrize("message", [
    PreVoteAsk(term=4, last_index=9, last_term=3), PreVoteAnswer(term=4, granted=True),
    VoteAsk(term=4, last_index=9, last_term=3, forced=True), VoteAnswer(term=4, granted=False),
    ask(), ask(round=4, mended=9, mend_index=3),
    ask(entries=(Entry(term=3, index=8, command=b"x"), Entry(term=3, index=9, config=AB), Entry(term=3, index=10))),
    AppendAnswer(term=3, index=8, round=4),
    AppendAnswer(term=3, index=7, refused=True, hint_index=5, hint_term=2, mending=77),
    part(), SnapshotAnswer(term=3, index=9, received=10),
    ReadAsk(term=3, ticket=1), ReadAnswer(term=3, ticket=1, index=9), TimeoutNow(term=3),
])  # fmt: skip
def test_a_message_comes_out_as_it_went_in(message: RaftMessage) -> None:
    assert decoder.decode(msgspec.msgpack.encode(message)) == message


@pytest.mark.parametrize("message", [
    ask(term=-1), ask(term=NUMBER_MAX + 1), ask(prev_index=-1), ask(round=NUMBER_MAX + 1),
    ask(entries=(Entry(term=1, index=-8),)),
    ask(entries=(Entry(term=1, index=8, command=bytes(RAFT_COMMAND_BYTES_MAX + 1)),)),
    ask(entries=(Entry(term=1, index=8, config=Config(voters=named(RAFT_VOTERS_MAX + 1))),)),
    ask(entries=(Entry(term=1, index=8, config=Config(voters=(), learners=named(RAFT_LEARNERS_MAX + 1))),)),
    ask(entries=(Entry(term=1, index=8, config=Config(voters=(NodeId(""),))),)),
    ask(entries=(Entry(term=1, index=8),) * (RAFT_BATCH_ENTRIES_MAX + 1)),
    part(data=bytes(RAFT_SNAPSHOT_PART_BYTES + 1)), part(size=RAFT_SNAPSHOT_BYTES_MAX + 1), part(offset=-1),
])  # fmt: skip
def test_what_is_out_of_bounds_is_refused_by_the_decoder(message: RaftMessage) -> None:
    with pytest.raises(msgspec.ValidationError):
        decoder.decode(msgspec.msgpack.encode(message))


def test_an_entry_costs_no_more_than_the_limits_say() -> None:
    """So that a batch closed by RAFT_BATCH_BYTES is a message."""
    name = NodeId("n" * 64)
    config = Config(voters=(name,) * RAFT_VOTERS_MAX, learners=(name,) * RAFT_LEARNERS_MAX)
    assert len(msgspec.msgpack.encode(Entry(term=NUMBER_MAX, index=NUMBER_MAX, command=b"x" * 1000))) < 1000 + 48
    assert len(msgspec.msgpack.encode(Entry(term=NUMBER_MAX, index=NUMBER_MAX, config=config))) < 2048
    assert len(msgspec.msgpack.encode(part(config=config, data=bytes(RAFT_SNAPSHOT_PART_BYTES)))) < MESSAGE_BYTES_MAX
