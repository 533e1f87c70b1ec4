"""The machine as a whole: what it is begun from, that it is a value, and that nothing a peer says makes it raise."""

from __future__ import annotations

import random

import msgspec
import pytest
from tests.kernel.raft.council import A, B, C, Council, D, encoder, rafts

from worldos.kernel.raft import LAN, AddLearner, Led, Mended, Persist, Raft, Restored, SendRaft, log
from worldos.model.ids import NodeId
from worldos.model.limits import RAFT_TERM_JUMP_MAX, SECOND
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
    Snapshot,
    SnapshotAnswer,
    SnapshotPart,
    TimeoutNow,
    Vote,
    VoteAnswer,
    VoteAsk,
)

ABC = Config(voters=(A, B, C))


def begin(**disk: object) -> Raft:
    return Raft.begin(A, 1, 0, **{"config": None, "pace": LAN, **disk})  # type: ignore[arg-type]


def test_founders_write_the_same_first_entry_before_anything_else() -> None:
    effects = begin(config=ABC).tick(0)
    assert effects == [Persist(number=1, vote=Vote(term=1), entries=(Entry(term=1, index=1, config=ABC),))]


def test_what_is_on_disk_is_stronger_than_the_wish_to_found() -> None:
    other = Config(voters=(A, D))
    raft = begin(config=ABC, vote=Vote(term=3, voted=B), entries=(Entry(term=1, index=1, config=other),))
    assert raft.log.config == other
    assert (raft.term, raft.voted) == (3, B)
    damaged = begin(config=ABC, may_vote=False)
    assert damaged.log.last == 0, "an empty disk that was not empty founds nothing"


def test_a_life_goes_on_from_the_disk() -> None:
    snapshot = Snapshot(term=2, index=5, config=ABC, state=b"state")
    entries = tuple(Entry(term=3, index=index) for index in (4, 5, 6, 7))
    raft = begin(vote=Vote(term=4, voted=C), snapshot=snapshot, entries=entries)
    assert raft.tick(0) == [Restored(snapshot=snapshot)]
    assert (raft.log.base, raft.log.last, raft.log.last_term, raft.log.committed) == (5, 7, 3, 5)
    assert (raft.term, raft.voted, raft.log.config) == (4, C, ABC)


def test_a_gap_on_disk_ends_the_log() -> None:
    raft = begin(vote=Vote(term=3), entries=tuple(Entry(term=1, index=index) for index in (1, 2, 4, 5)))
    assert raft.log.last == 2


def test_a_term_whose_vote_is_not_on_disk_counts_as_voted_in() -> None:
    raft = begin(vote=Vote(term=3), entries=(Entry(term=5, index=1),))
    assert (raft.term, raft.voted) == (5, A)


def test_what_it_answers_does_not_depend_on_being_written_down_between() -> None:
    one, other = Council(A, B, C, seed=4), Council(A, B, C, seed=4)
    for council in (one, other):
        council.elect(B)
    for number in range(60):
        for council in (one, other):
            council.propose(B, b"%d" % number)
            council.read(B, number)
            council.read(C, 1000 + number)
            for _ in range(3):
                if council.wire:
                    council.deliver()
            if number % 7 == 0:
                council.sync("ABC"[number % 3])
            if number == 30:
                council.compact(B)
        for machine in other.machines.values():
            again = rafts.decode(encoder.encode(machine.raft))
            assert again == machine.raft
            machine.raft = again
        assert one.wire == other.wire


said_decoder: msgspec.msgpack.Decoder[SendRaft] = msgspec.msgpack.Decoder(SendRaft)
NODES = (A, B, C, D, NodeId("stranger"))


def odd_number(dice: random.Random, raft: Raft) -> int:
    near = (raft.term, raft.log.last, raft.log.committed, raft.log.base, raft.reads.round, raft.mending)
    far = (0, 1, 2, NUMBER_MAX, 1 << 40)
    number = dice.choice(near if dice.random() < 0.8 else far) + dice.choice((-1, 0, 0, 0, 1))
    return min(max(0, number), NUMBER_MAX)


def odd_entries(dice: random.Random, raft: Raft) -> tuple[Entry, ...]:
    first, term = odd_number(dice, raft), odd_number(dice, raft)
    configs = (None, None, None, ABC, Config(voters=()), Config(voters=(B,)), Config(voters=(A, A), learners=(A,)))
    return tuple(
        Entry(
            term=min(term + at // 2, NUMBER_MAX),
            index=min(first + at, NUMBER_MAX),
            command=b"x",
            config=dice.choice(configs),
        )
        for at in range(dice.randint(0, 4))
    )


def odd_message(dice: random.Random, raft: Raft) -> RaftMessage:
    def n() -> int:
        return odd_number(dice, raft)

    def term() -> int:
        return raft.term if dice.random() < 0.96 else n()

    def size() -> int:
        return min(n(), 1000)

    yes = dice.random() < 0.5
    return dice.choice((
        lambda: AppendAsk(term=term(), prev_index=n(), prev_term=n(), committed=n(), entries=odd_entries(dice, raft),
                          round=n(), mended=n(), mend_index=n()),
        lambda: AppendAnswer(term=term(), index=n(), refused=yes, hint_index=n(), hint_term=n(), round=n(),
                             mending=dice.choice((0, n()))),
        lambda: SnapshotPart(term=term(), index=n(), index_term=n(), config=ABC, size=size(), offset=size(),
                             data=bytes(dice.choice((0, 1, 5)))),
        lambda: SnapshotAnswer(term=term(), index=n(), received=size()),
        lambda: PreVoteAsk(term=term(), last_index=n(), last_term=n()), lambda: PreVoteAnswer(term=term(), granted=yes),
        lambda: VoteAsk(term=term(), last_index=n(), last_term=n(), forced=dice.random() < 0.3),
        lambda: VoteAnswer(term=term(), granted=yes),
        lambda: ReadAsk(term=term(), ticket=n()), lambda: ReadAnswer(term=term(), ticket=n(), index=n()),
        lambda: TimeoutNow(term=term()),
    ))()  # fmt: skip


def some_member(dice: random.Random) -> Raft:
    """One that leads, one that follows, or one that just began; all with some of a log."""
    if dice.random() < 0.3:
        return begin(config=dice.choice((ABC, Config(voters=(A,)), None)), may_vote=dice.random() < 0.7)
    council = Council(A, B, C, others=(D,))
    council.elect(dice.choice((A, A, B)))
    leader = council.leaders[0]
    council.elapse(LAN.heartbeat_ns)
    council.change(leader, AddLearner(node=D))
    council.propose(leader, *(b"x" for _ in range(20)))
    council.settle()
    if dice.random() < 0.7:
        council.compact(A)
    council.cut(C)
    council.propose(leader, b"y", b"z")
    return council[A]


@pytest.mark.parametrize("seed", range(60))
def test_nothing_that_a_peer_says_makes_it_raise(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And all that it says in return is within the bounds of its type."""
    monkeypatch.setattr(log, "RAFT_KEPT_ENTRIES", seed % 3)
    dice = random.Random(seed)
    raft = some_member(dice)
    now_ns = 5 * SECOND
    for _ in range(400):
        now_ns += dice.choice((0, 0, 0, 1_000_000, 20_000_000))
        known = raft.log.committed
        match dice.randint(0, 11):
            case 0:
                effects = raft.tick(now_ns)
            case 1:
                effects = raft.persisted(now_ns, dice.choice((raft.number, raft.number + 5, 1)))
            case 2:
                effects = raft.propose(now_ns, b"mine")[1]
            case 3:
                effects = raft.read(now_ns, dice.randint(1, 99))
            case 4:
                effects = raft.unlinked(now_ns, dice.choice(NODES))
            case 5:
                effects = raft.compact(dice.randint(0, raft.log.last + 3), b"")
            case 6:
                effects = raft.hand_over(now_ns, dice.choice(NODES))
            case _:
                effects = raft.heard(now_ns, dice.choice(NODES), odd_message(dice, raft))
        assert raft.log.committed >= known
        for effect in effects:
            if isinstance(effect, SendRaft):
                assert effect.node != A or not isinstance(effect.message, TimeoutNow)
                data = encoder.encode(effect)
                assert said_decoder.decode(data) == effect
    assert rafts.decode(encoder.encode(raft)) == raft


def test_a_term_out_of_reach_is_not_followed() -> None:
    raft = begin(config=ABC)
    raft.tick(0)
    assert raft.heard(1, B, AppendAsk(term=RAFT_TERM_JUMP_MAX + 2, prev_index=0, prev_term=0, committed=0)) == []
    assert raft.term == 1


def test_a_lone_voter_is_elected_only_once_its_vote_is_written() -> None:
    raft = begin(config=Config(voters=(A,)))
    effects = raft.tick(0)
    assert not any(isinstance(effect, Led) for effect in effects)
    effects = raft.persisted(0, raft.number)
    assert Led(term=2) in effects


def test_a_whole_member_is_never_mended() -> None:
    raft = begin(config=ABC)
    raft.tick(0)
    effects = raft.heard(1, B, AppendAsk(term=2, prev_index=1, prev_term=1, committed=1, mended=0, mend_index=1))
    assert not any(isinstance(effect, Mended) for effect in effects)
