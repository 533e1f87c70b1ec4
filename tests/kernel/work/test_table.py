"""The table: what is asked at any node is done once a majority has it, whatever happens to those who keep the work."""

from __future__ import annotations

import pytest
from tests.kernel.work.sites import Pump, SeenSite

from worldos.kernel.work.limits import ASKS_MAX
from worldos.kernel.work.look import read_queue, read_queues
from worldos.kernel.work.words import encode_command
from worldos.model.ids import NodeId
from worldos.model.limits import MS, SECOND
from worldos.model.raft import VoteAsk
from worldos.model.work import Ack, Applied, Message, Put, QueueMade, Refused, Take, WorkCommand
from worldos.model.work_wire import WorkAsk, WorkRaft

A, B, C, D = (NodeId(name) for name in "abcd")


def message(number: int) -> Message:
    return Message(number.to_bytes(8, "big"), b"body %d" % number)


def put(number: int) -> Put:
    return Put(queue="q", messages=(message(number),))


def take(consumer: str, request: int, count: int = 1) -> Take:
    return Take(queue="q", consumer=consumer, request=request, count=count)


def waiting(pump: Pump, name: str) -> int:
    key = pump.ask_words(name, WorkAsk(number=0, look="queue q"))
    pump.until(key)
    view = read_queue(pump.replies[key].data)
    assert view is not None
    return view.waiting


def site(council: str = "abc", others: str = "") -> Pump:
    """A site that has work, and a queue in it."""
    pump = Pump(council, others)
    assert pump.said("a", QueueMade(queue="q")) == (Applied(),)
    pump.run(2 * SECOND)
    return pump


def test_a_lone_node_founds_the_work_when_it_is_first_needed_and_keeps_it() -> None:
    pump = Pump("a")
    assert not pump.charter.begun
    assert pump.said("a", QueueMade(queue="q"), put(1)) == (Applied(), Applied())
    pump.kill("a")
    pump.restart("a")
    assert waiting(pump, "a") == 1


def test_the_founding_is_done_once_and_the_charter_hears_that_it_stands() -> None:
    pump = site()
    assert pump.charter.begun
    assert pump.charter.founders == ()
    assert pump.charter.begins == 2
    assert {n for n, t in pump.tables.items() if t.replica is not None} == {A, B, C}
    logs = [t.replica.raft.log.config.voters for t in pump.tables.values() if t.replica is not None]
    assert logs == [(A, B, C)] * 3


def test_any_node_may_ask_one_that_keeps_nothing_too() -> None:
    pump = site("abc", "d")
    for number, name in enumerate("abcd"):
        assert pump.said(name, put(number)) == (Applied(),)
    assert waiting(pump, "d") == 4
    assert pump.tables[D].replica is None


def test_what_is_refused_says_why() -> None:
    pump = site()
    (answer,) = pump.said("b", Put(queue="none", messages=(message(1),)))
    assert isinstance(answer, Refused)
    assert "no queue" in answer.why


def test_bytes_that_are_no_command_are_refused_where_they_are_said() -> None:
    pump = site()
    key = pump.ask_words("b", WorkAsk(number=0, command=b"\xc1garbage"))
    assert pump.replies[key].error == "BadRequest"


def test_a_look_at_nothing_that_is_is_refused_also_from_afar() -> None:
    pump = site("abc", "d")
    key = pump.ask_words("d", WorkAsk(number=0, look="moon"))
    pump.until(key)
    assert pump.replies[key].error == "BadRequest"


def test_no_stranger_is_heard() -> None:
    pump = site()
    before = pump.tables[A].replica
    assert before is not None
    term = before.raft.term
    pump.say(A, "x", WorkRaft(message=VoteAsk(term=99, last_index=10**6, last_term=98)))
    assert before.raft.term == term


def test_the_leader_dies_and_what_it_acknowledged_is_there() -> None:
    pump = site()
    for number in range(20):
        assert pump.said("a", put(number)) == (Applied(),)
    leader = pump.leader()
    pump.kill(leader)
    other = next(name for name in "abc" if name != leader)
    assert waiting(pump, other) == 20
    assert pump.said(other, put(20)) == (Applied(),)


def test_an_ask_that_was_under_way_when_the_leader_died_is_answered_by_the_next() -> None:
    pump = site("abc", "d")
    leader = pump.leader()
    keys = [pump.ask("d", put(number)) for number in range(5)]
    pump.run(MS // 2)
    pump.kill(leader)
    for key in keys:
        pump.until(key, 10 * SECOND)
        assert pump.answers(key) == (Applied(),)
    assert waiting(pump, "d") == 5


def test_without_a_majority_nothing_is_acknowledged_and_who_asks_is_told_so() -> None:
    pump = site()
    leader = pump.leader()
    others = [name for name in "abc" if name != leader]
    for name in others:
        pump.kill(name)
    key = pump.ask(leader, put(1))
    pump.until(key, 30 * SECOND)
    assert pump.replies[key].error == "Unreachable"
    assert "majority" in pump.replies[key].why
    assert pump.replies[key].hint


def test_where_nobody_ever_founded_a_council_who_asks_hears_how_to() -> None:
    pump = Pump("", "ab")
    key = pump.ask("a", put(1))
    pump.until(key, 30 * SECOND)
    assert pump.replies[key].error == "Unreachable"
    assert "wos realm found" in pump.replies[key].hint


def test_a_leader_that_is_cut_off_acknowledges_nothing_and_learns_what_the_others_did() -> None:
    pump = site()
    old = pump.leader()
    pump.isolate(old)
    lost = pump.ask(old, put(1))
    pump.run(3 * SECOND)
    assert lost not in pump.replies
    other = next(name for name in "abc" if name != old)
    assert pump.said(other, put(2)) == (Applied(),)
    pump.cut.clear()
    pump.until(lost, 10 * SECOND)
    assert pump.answers(lost) == (Applied(),), "it was tried again at the new leader"
    assert waiting(pump, old) == 2


def test_a_take_waits_for_a_message_without_a_word_in_the_log() -> None:
    pump = site("abc", "d")
    leader = pump.tables[pump.leader()].replica
    assert leader is not None
    last = leader.raft.log.last
    key = pump.ask("d", take("cons-1", 1), wait_ms=60_000)
    pump.run(3 * SECOND)
    assert key not in pump.replies
    assert leader.raft.log.last == last
    pump.said("a", put(7))
    pump.until(key)
    (answer,) = pump.answers(key)
    assert isinstance(answer, Applied)
    assert answer.messages == ((message(7), 1),)


def test_a_take_that_waited_in_vain_gets_nothing() -> None:
    pump = site()
    key = pump.ask("b", take("cons-1", 1), wait_ms=500)
    pump.run(400 * MS)
    assert key not in pump.replies
    pump.until(key)
    assert pump.answers(key) == (Applied(),)


def test_a_message_that_nobody_acknowledged_comes_to_who_waits_when_its_time_is_over() -> None:
    pump = site()
    pump.said("a", put(1))
    pump.said("a", Take(queue="q", consumer="cons-1", request=1, visible_ms=1000))
    key = pump.ask("b", take("cons-2", 1), wait_ms=60_000)
    pump.run(800 * MS)
    assert key not in pump.replies
    pump.until(key)
    (answer,) = pump.answers(key)
    assert isinstance(answer, Applied)
    assert answer.messages == ((message(1), 2),)


def test_takes_that_wait_are_served_in_order_and_no_more_than_there_is() -> None:
    pump = site()
    keys = []
    for number in range(3):  # one after another, so that they come in this order to who leads
        keys.append(pump.ask("a", take(f"cons-{number}", 1), wait_ms=60_000))
        pump.run(100 * MS)
    pump.said("b", put(1), put(2))
    pump.run(100 * MS)
    assert [key in pump.replies for key in keys] == [True, True, False]


def test_a_take_that_waits_moves_to_the_next_leader() -> None:
    pump = site("abc", "d")
    key = pump.ask("d", take("cons-1", 1), wait_ms=60_000)
    pump.run(SECOND)
    pump.kill(pump.leader())
    pump.run(3 * SECOND)
    survivor = next(name for name in "abc" if NodeId(name) not in pump.down)
    pump.said(survivor, put(1))
    pump.until(key)
    (answer,) = pump.answers(key)
    assert isinstance(answer, Applied)
    assert len(answer.messages) == 1


def test_nobody_is_served_who_hung_up() -> None:
    pump = site("abc", "d")
    key = pump.ask("d", take("cons-1", 1), wait_ms=60_000)
    pump.run(100 * MS)
    pump.carry(D, pump.tables[D].drop(key[2]))
    pump.run(100 * MS)
    pump.said("a", put(1))
    pump.run(SECOND)
    assert waiting(pump, "a") == 1


def test_a_long_command_goes_through_in_pieces() -> None:
    pump = site()
    messages = tuple(Message(n.to_bytes(8, "big"), bytes([n]) * 60_000) for n in range(5))
    assert pump.said("b", Put(queue="q", messages=messages)) == (Applied(),)
    (answer,) = pump.said("c", take("cons-1", 1, 4))
    assert isinstance(answer, Applied)
    assert [each for each, _ in answer.messages] == list(messages[:4]), "an answer goes in parts, too"


def test_much_that_is_asked_at_once_goes_into_the_log_together() -> None:
    pump = site()
    leader = pump.leader()
    replica = pump.tables[leader].replica
    assert replica is not None
    table = pump.tables[leader]
    last = replica.raft.log.last
    for number in range(100):
        words = WorkAsk(number=0, command=encode_command(WorkCommand(said=(put(number),))))
        pump.carry(leader, table.ask(pump.now_ns, SeenSite(pump, leader), words)[1])
    pump.carry(leader, table.flush(pump.now_ns, SeenSite(pump, leader)))
    assert replica.raft.log.last == last + 1
    pump.run(100 * MS)
    assert waiting(pump, "a") == 100


def test_too_much_at_once_is_refused_with_a_hint() -> None:
    pump = Pump("ab")  # the other never answers: nothing is decided
    pump.kill("b")
    keys = [pump.ask("a", put(number)) for number in range(ASKS_MAX + 1)]
    assert keys[0] not in pump.replies
    assert pump.replies[keys[-1]].error == "OverQuota"
    assert pump.replies[keys[-1]].hint


@pytest.mark.parametrize("council", ["abd", "bcd", "abcde", "c"])
def test_those_who_keep_the_work_follow_the_council(council: str) -> None:
    pump = site("abc", "de")
    for number in range(10):
        pump.said("a", put(number))
    pump.charter.council = tuple(NodeId(name) for name in council)
    pump.run(20 * SECOND)
    replica = pump.tables[pump.leader()].replica
    assert replica is not None
    assert replica.raft.log.config.voters == pump.charter.council
    assert replica.raft.log.config.learners == ()
    assert waiting(pump, council[-1]) == 10
    gone = {NodeId(name) for name in "abc"} - set(pump.charter.council)
    assert set(pump.dropped) == gone
    assert all(pump.tables[node].replica is None for node in gone)


def test_a_founder_that_missed_the_founding_is_brought_in_by_the_others() -> None:
    pump = Pump("abc")
    pump.kill("c")
    assert pump.said("a", QueueMade(queue="q"), put(1), within_ns=20 * SECOND) == (Applied(), Applied())
    pump.run(3 * SECOND)
    pump.restart("c")
    pump.run(3 * SECOND)
    pump.kill("a")
    assert waiting(pump, "c") == 1


def test_who_was_left_out_never_founds_it_again() -> None:
    pump = site("abc", "def")
    pump.charter.council = (D, NodeId("e"), NodeId("f"))
    pump.run(30 * SECOND)
    assert set(pump.dropped) == {A, B, C}
    for name in "abc":
        pump.kill(name)
        pump.restart(name)
    key = pump.ask("a", put(1))
    pump.until(key)
    assert pump.answers(key) == (Applied(),)
    assert all(pump.tables[node].replica is None for node in (A, B, C))


def test_looks_are_fresh() -> None:
    pump = site()
    old = pump.leader()
    pump.isolate(old)
    pump.run(2 * SECOND)
    other = next(name for name in "abc" if name != old)
    pump.said(other, QueueMade(queue="new"))
    key = pump.ask_words(old, WorkAsk(number=0, look="queues"))
    pump.run(2 * SECOND)
    assert key not in pump.replies, "a leader that was replaced tells nothing old"
    pump.cut.clear()
    pump.until(key, 10 * SECOND)
    assert [view.queue for view in read_queues(pump.replies[key].data)] == ["new", "q"]


def test_a_command_is_carried_out_once_however_often_it_is_heard() -> None:
    pump = site("abc", "d")
    ask = WorkAsk(number=5, command=pump_command(put(1)))
    leader = pump.leader()
    pump.say(leader, "d", ask)
    pump.say(leader, "d", ask)
    pump.run(100 * MS)
    assert waiting(pump, "a") == 1


def pump_command(*said: Put | Ack) -> bytes:
    return encode_command(WorkCommand(said=said))


def test_a_message_comes_back_in_time_also_when_a_clock_was_an_hour_ahead_and_is_put_right() -> None:
    pump = site("a")
    pump.skew_ms[A] = 3_600_000
    assert pump.said("a", put(1), take("cons-a", 1))[0] == Applied()
    pump.skew_ms[A] = 0
    assert pump.said("a", take("cons-b", 1)) == (Applied(),)
    pump.run(31 * SECOND)  # takes hold for 30 s
    (answer,) = pump.said("a", take("cons-b", 2))
    assert isinstance(answer, Applied)
    assert answer.messages == ((message(1), 2),)
