"""Exchanges of messages as texts to read: ``transcripts/*.txt`` say what is done, and what comes of it.

A line that begins with ">" is an order of ``ORDERS``; all that follows it is what the members did and said because of it.
``RAFT_REWRITE=1`` writes the texts anew; look at what changed. In the spirit of etcd/raft's tests from data.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.kernel.raft.council import Council, Disk

from worldos.kernel.raft import (
    AddLearner,
    Committed,
    Followed,
    Led,
    Mended,
    Persist,
    Promote,
    RaftEffect,
    ReadLost,
    ReadReady,
    Remove,
    Restored,
    SendRaft,
    leader,
    log,
)
from worldos.model.ids import NodeId
from worldos.model.limits import MS
from worldos.model.raft import (
    AppendAnswer,
    AppendAsk,
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

FOLDER = Path(__file__).with_name("transcripts")


def of_entry(entry: Entry) -> str:
    what = f"council {'+'.join(entry.config.voters)}" if entry.config else entry.command.decode() or "no-op"
    if entry.config and entry.config.learners:
        what += f" learning {'+'.join(entry.config.learners)}"
    return f"{entry.index}@{entry.term} {what}"


def of_message(message: RaftMessage) -> str:
    match message:
        case AppendAsk():
            what = f"[{', '.join(map(of_entry, message.entries))}]" if message.entries else "heartbeat"
            if not message.round:
                what = "notice"
            mended = f", mended from {message.mend_index}" if message.mended else ""
            return f"{what} after {message.prev_index}@{message.prev_term}, committed {message.committed}{mended}"
        case AppendAnswer():
            mending = ", mending" if message.mending else ""
            if message.refused:
                return f"refuse {message.index}, try {message.hint_index}@{message.hint_term}{mending}"
            return f"have {message.index}{mending}"
        case PreVoteAsk():
            return f"would you vote? log ends {message.last_index}@{message.last_term}"
        case VoteAsk():
            forced = ", as the leader told me" if message.forced else ""
            return f"vote! log ends {message.last_index}@{message.last_term}{forced}"
        case PreVoteAnswer():
            return "would vote" if message.granted else "would not vote"
        case VoteAnswer():
            return "vote for you" if message.granted else "no vote"
        case SnapshotPart():
            until = message.offset + len(message.data)
            return f"snapshot {message.index}@{message.index_term}, bytes {message.offset} to {until} of {message.size}"
        case SnapshotAnswer():
            return f"of snapshot {message.index} have {message.received} bytes"
        case ReadAsk():
            return f"where to read {message.ticket}?"
        case ReadAnswer():
            return (
                f"read {message.ticket} at {message.index}"
                if message.index
                else f"cannot say for read {message.ticket}"
            )
        case TimeoutNow():
            return "stand now"


def of_effect(effect: RaftEffect) -> str:
    match effect:
        case SendRaft():
            return f"to {effect.node}, term {effect.message.term}: {of_message(effect.message)}"
        case Persist():
            vote = [f"term {effect.vote.term} vote {effect.vote.voted or '-'}"] if effect.vote else []
            snapshot = [f"snapshot {effect.snapshot.index}@{effect.snapshot.term}"] if effect.snapshot else []
            return f"write {effect.number}: {', '.join((*vote, *map(of_entry, effect.entries), *snapshot))}"
        case Committed():
            return f"commit {', '.join(map(of_entry, effect.entries))}"
        case Restored():
            return f"restore {effect.snapshot.index}@{effect.snapshot.term}"
        case Led():
            return f"leads in term {effect.term}"
        case Followed():
            return f"follows {effect.leader or 'nobody'} in term {effect.term}"
        case ReadReady():
            return f"read {effect.ticket} ready at {effect.index}"
        case ReadLost():
            return f"read {effect.ticket} lost"
        case Mended():
            return f"mended with write {effect.number}"


class Teller:
    """Carries out the orders of a text, and writes down what comes of them."""

    def __init__(self) -> None:
        self.council = Council()
        self.lines: list[str] = []

    def order(self, words: list[str]) -> None:
        ORDERS[words[0]](self, *words[1:])

    def hear(self, node: NodeId, effect: RaftEffect) -> None:
        self.lines.append(f"  {node} {of_effect(effect)}")

    def found(self, voters: str, others: str = "") -> None:
        """found ABC [D]: voters with empty disks, and nodes that belong to no council."""
        self.council = Council(*map(NodeId, voters), others=tuple(map(NodeId, others)))
        self.council.settle()
        self.council.watch = self.hear

    def elect(self, node: str) -> None:
        """elect A: time passes until A is due, and everything is delivered."""
        self.council.elect(NodeId(node))

    def led(self, node: str) -> None:
        """led A: A is elected, and everybody has heard it; how is not told."""
        self.council.watch = lambda node, effect: None
        self.council.elect(NodeId(node))
        self.council.due(NodeId(node))
        self.council.settle()
        self.council.watch = self.hear

    def due(self, node: str) -> None:
        """due A: time passes until A is due; nothing is delivered."""
        self.council.due(NodeId(node))

    def settle(self) -> None:
        """settle: deliver and sync everything."""
        self.council.settle()

    def deliver(self, count: str = "1") -> None:
        """deliver [N]: deliver the N oldest messages, without syncing."""
        for _ in range(int(count)):
            self.council.deliver()

    def sync(self, node: str) -> None:
        """sync A: what A wrote is on its disk."""
        self.council.sync(NodeId(node))

    def lose(self) -> None:
        """lose: all that is on the wire."""
        self.council.wire.clear()

    def beat(self, node: str) -> None:
        """beat A: A's heartbeat is due, and everything is delivered."""
        self.council.due(NodeId(node))
        self.council.settle()

    def propose(self, node: str, *commands: str) -> None:
        """propose A x y: two commands."""
        self.council.propose(NodeId(node), *(command.encode() for command in commands))

    def cut(self, nodes: str) -> None:
        """cut AB: A and B from the others."""
        self.council.cut(*map(NodeId, nodes))

    def heal(self) -> None:
        """heal: nothing is cut."""
        self.council.heal()

    def crash(self, node: str) -> None:
        """crash A: without what was not synced."""
        self.council.crash(NodeId(node))

    def restart(self, node: str) -> None:
        """restart A: with what is on its disk."""
        self.council.restart(NodeId(node))

    def spoil(self, node: str) -> None:
        """spoil A: A comes back with an empty disk that is known to be damaged."""
        self.council.machines[NodeId(node)].disk = Disk()
        self.council.machines[NodeId(node)].disk.damaged = True
        self.council.restart(NodeId(node))

    def compact(self, node: str) -> None:
        """compact A: all that A applied into a snapshot."""
        self.council.compact(NodeId(node))

    def change(self, node: str, step: str, other: str) -> None:
        """change A learner D: a step, at A."""
        steps: dict[str, type[AddLearner | Promote | Remove]] = {
            "learner": AddLearner,
            "promote": Promote,
            "remove": Remove,
        }
        if self.council.change(NodeId(node), steps[step](node=NodeId(other))) == 0:
            self.lines.append("  refused")

    def read(self, node: str, ticket: str) -> None:
        """read A 7: a question at A."""
        self.council.read(NodeId(node), int(ticket))

    def hand(self, node: str, to: str) -> None:
        """hand A B: A hands over to B."""
        self.council.carry_out(NodeId(node), self.council[NodeId(node)].hand_over(self.council.now_ns, NodeId(to)))

    def unlink(self, node: str, peer: str) -> None:
        """unlink B A: B's links to A are gone."""
        self.council.carry_out(NodeId(node), self.council[NodeId(node)].unlinked(self.council.now_ns, NodeId(peer)))

    def wait(self, ms: str) -> None:
        """wait 500: milliseconds pass, and everything is delivered."""
        self.council.elapse(int(ms) * MS)


ORDERS: dict[str, Callable[..., None]] = {name: act for name, act in vars(Teller).items() if not name.startswith("_")}


def told(text: str) -> str:
    """The text, with what really comes of its orders."""
    teller = Teller()
    for line in text.splitlines():
        if line.startswith(">"):
            teller.lines.append(line)
            teller.order(line[1:].split())
        elif not line.startswith("  "):
            teller.lines.append(line)
    return "\n".join(teller.lines) + "\n"


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.txt")))
def test_what_they_say_to_each_other_is_what_is_written(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "RAFT_KEPT_ENTRIES", 0)
    monkeypatch.setattr(leader, "RAFT_SNAPSHOT_PART_BYTES", 6)
    path = FOLDER / f"{name}.txt"
    text = path.read_text(encoding="utf-8")
    if os.environ.get("RAFT_REWRITE"):
        path.write_text(told(text), encoding="utf-8")
    else:
        assert told(text) == text


def test_there_are_texts_and_every_order_is_in_one() -> None:
    texts = [path.read_text(encoding="utf-8") for path in FOLDER.glob("*.txt")]
    used = {line[1:].split()[0] for text in texts for line in text.splitlines() if line.startswith(">")}
    assert used | {"order", "hear"} == set(ORDERS)
