"""A replica keeps to its log: long commands come through whole or not at all, and a snapshot stands for what it replaced."""

from __future__ import annotations

from tests.kernel.work.sites import Pump

from worldos.kernel.raft import Persist
from worldos.kernel.stored import Recovered
from worldos.kernel.work import replica as replicas
from worldos.kernel.work.limits import COMPACT_BYTES_MIN, PIECE_BYTES
from worldos.kernel.work.replica import Applied, Changed, LeftOut, Outcome, Replica
from worldos.kernel.work.words import encode_command
from worldos.model.ids import NodeId
from worldos.model.limits import MS, SEAT_LONE_NS, SEAT_SETTLED_NS, SECOND
from worldos.model.raft import AppendAsk, Config, Entry, Snapshot, Vote
from worldos.model.work import Message, Put, QueueMade, Take, WorkCommand

A, B = NodeId("a"), NodeId("b")
QUEUE = WorkCommand(said=(QueueMade(queue="q"),))


def put(size: int, number: int = 1) -> WorkCommand:
    return WorkCommand(said=(Put(queue="q", messages=(Message(number.to_bytes(8, "big"), b"x" * size),)),))


def settled(replica: Replica, outcome: Outcome, now_ns: int = 0) -> list[replicas.Happening]:
    """Let a lone replica's writes be done; return what happened."""
    happened = list(outcome.happenings)
    writes = [each.number for each in outcome.effects if isinstance(each, Persist)]
    while writes:
        outcome = replica.persisted(now_ns, writes[-1])
        happened += outcome.happenings
        writes = [each.number for each in outcome.effects if isinstance(each, Persist)]
    return happened


def lone() -> Replica:
    replica = Replica.found(A, (A,), 1, 0)
    settled(replica, replica.tick(0))
    assert replica.stands
    return replica


def proposed(replica: Replica, command: WorkCommand) -> list[replicas.Happening]:
    index, outcome = replica.propose(0, command)
    assert index
    return settled(replica, outcome)


def test_what_is_proposed_is_applied_once_it_is_on_disk() -> None:
    replica = lone()
    index, outcome = replica.propose(0, QUEUE)
    assert index
    assert not outcome.happenings
    (applied,) = settled(replica, outcome)
    assert isinstance(applied, Applied)
    assert applied.index == index


def test_a_command_of_many_pieces_is_one() -> None:
    replica = lone()
    proposed(replica, QUEUE)
    size = 3 * PIECE_BYTES + 5
    (applied,) = proposed(replica, put(size))
    assert isinstance(applied, Applied)
    assert len(replica.raft.log.entries[-1].command) < PIECE_BYTES
    assert replica.work.queues.ready("q", 0) == 1


def test_half_a_command_of_a_leader_that_died_counts_for_nothing() -> None:
    pieces = replicas._pieces(encode_command(put(2 * PIECE_BYTES)))
    assert [piece[:1] for piece in pieces] == [replicas.FIRST, replicas.MIDDLE, replicas.LAST]
    commands = [
        b"\0" + encode_command(QUEUE),
        *pieces[:2],
        b"\0" + encode_command(put(5, 2)),
        pieces[1],
        pieces[2],
        *pieces,
    ]
    founding = Entry(term=1, index=1, config=Config(voters=(A,)))
    entries = [Entry(term=1, index=2 + at, command=command) for at, command in enumerate(commands)]
    recovered = Recovered(vote=Vote(term=1, voted=A), snapshot=None, entries=(founding, *entries), damaged="", life=2)
    replica = Replica.recover(A, recovered, 2, 0)
    settled(replica, replica.tick(0))
    assert replica.work.queues.ready("q", 0) == 2


def test_bytes_in_the_log_that_are_no_command_change_nothing() -> None:
    replica = lone()
    before = replica.work.snapshot()
    index, effects = replica.raft.propose(0, b"\0\xc1")
    assert index
    assert settled(replica, replica._carry(effects)) == []
    assert replica.work.snapshot() == before


def test_the_work_takes_the_place_of_its_log() -> None:
    replica = lone()
    proposed(replica, QUEUE)
    for number in range(2 * COMPACT_BYTES_MIN // 250_000):
        proposed(replica, put(250_000, number))
        taken = Take(queue="q", consumer="cons", request=number + 1)
        proposed(replica, WorkCommand(said=(taken,)))
    snapshot = replica.raft.log.snapshot
    assert snapshot is not None
    entries = tuple(entry for entry in replica.raft.log.entries if entry.index > snapshot.index)
    recovered = Recovered(
        vote=Vote(term=replica.raft.term, voted=A), snapshot=snapshot, entries=entries, damaged="", life=2
    )
    again = Replica.recover(A, recovered, 3, 0)
    assert Changed() in settled(again, again.tick(0))
    assert again.work.snapshot() == replica.work.snapshot()


def test_a_snapshot_that_cannot_be_read_stops_a_replica_and_not_its_node() -> None:
    snapshot = Snapshot(term=1, index=5, config=Config(voters=(A,)), state=b"garbage")
    recovered = Recovered(vote=Vote(term=1, voted=A), snapshot=snapshot, entries=(), damaged="", life=2)
    replica = Replica.recover(A, recovered, 3, 0)
    settled(replica, replica.tick(0))
    assert replica.broken
    assert not replica.leads
    assert replica.propose(0, QUEUE)[0] == 0


def test_who_is_invited_and_hears_nothing_goes_again() -> None:
    replica = Replica.invited(B, 1, 0)
    assert LeftOut() not in replica.tick(SEAT_SETTLED_NS - 1).happenings
    assert LeftOut() in replica.tick(SEAT_SETTLED_NS).happenings


def test_who_is_invited_and_hears_the_leader_stays() -> None:
    replica = Replica.invited(B, 1, 0)
    entry = Entry(term=1, index=1, config=Config(voters=(A,), learners=(B,)))
    replica.heard(1, A, AppendAsk(term=1, prev_index=0, prev_term=0, committed=1, entries=(entry,)))
    assert LeftOut() not in replica.tick(SEAT_SETTLED_NS).happenings


def test_a_lone_replica_whose_disk_forgot_leads_again_when_nobody_came_to_mend_it() -> None:
    founding = Entry(term=1, index=1, config=Config(voters=(A,)))
    recovered = Recovered(vote=Vote(term=1, voted=A), snapshot=None, entries=(founding,), damaged="torn", life=2)
    replica = Replica.recover(A, recovered, 2, 0)
    settled(replica, replica.tick(SECOND))
    assert not replica.leads
    outcome = replica.tick(SEAT_LONE_NS)
    assert outcome.mended
    settled(replica, outcome, SEAT_LONE_NS)
    settled(replica, replica.tick(SEAT_LONE_NS + SECOND), SEAT_LONE_NS + SECOND)
    assert replica.leads


def test_replicas_whose_disks_forgot_are_mended_by_the_others() -> None:
    pump = Pump("abc")
    pump.said("a", QueueMade(queue="q"))
    pump.run(2 * SECOND)
    victim = next(name for name in "abc" if name != pump.leader())
    pump.kill(victim)
    pump.disks[NodeId(victim)].entries.clear()
    pump.run(MS)
    pump.restart(victim, damaged="its log is gone")
    pump.run(5 * SECOND)
    replica = pump.tables[NodeId(victim)].replica
    assert replica is not None
    assert replica.work.queues.view("q") is not None
