"""What a leader knows of one member, on its own."""

from __future__ import annotations

from tests.kernel.raft.council import A

from worldos.kernel.raft.progress import BATCH_WORTH_SENDING, Progress, Sending
from worldos.model.limits import RAFT_INFLIGHT_MAX, RAFT_INFLIGHT_SMALL
from worldos.model.raft import Config, Snapshot


def test_one_message_at_a_time_while_probing() -> None:
    progress = Progress(next=5, heard_ns=0)
    assert progress.may_send(9)
    progress.sent(9)
    assert not progress.may_send(9)
    assert progress.next == 5
    progress.reached(9)
    assert (progress.next, progress.probing) == (10, False)


def test_small_messages_wait_and_large_ones_fill_the_window() -> None:
    progress = Progress(next=5, heard_ns=0, probing=False)
    for sent in range(RAFT_INFLIGHT_SMALL):
        assert progress.may_send(1)
        progress.sent(5 + sent)
    assert not progress.may_send(1)
    while progress.may_send(BATCH_WORTH_SENDING):
        progress.sent(progress.next)
    assert len(progress.inflight) == RAFT_INFLIGHT_MAX
    progress.reached(progress.inflight[-2])
    assert len(progress.inflight) == 1


def test_a_new_probe_begins_no_lower_than_what_is_known_to_agree() -> None:
    progress = Progress(next=9, heard_ns=0, match=6, probing=False, inflight=[8])
    progress.probe(3)
    assert (progress.next, progress.probing, progress.inflight) == (7, True, [])


def test_an_answer_from_long_ago_takes_nothing_back() -> None:
    progress = Progress(next=9, heard_ns=0, match=6, probing=False)
    progress.reached(2)
    assert (progress.match, progress.next) == (6, 9)


def test_a_snapshot_is_through_when_the_member_has_what_it_stands_for() -> None:
    snapshot = Snapshot(term=1, index=20, config=Config(voters=(A,)), state=b"")
    progress = Progress(next=21, heard_ns=0, sending=Sending(snapshot=snapshot))
    progress.reached(3)
    assert progress.sending is not None
    progress.reached(20)
    assert progress.sending is None
