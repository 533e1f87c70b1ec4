"""Auditing: each way to be dishonest in one's own log is found by who has its files."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from tests.kernel.offers import cpu, offer, view

from worldos.agent import auditing
from worldos.agent.decision_log import DecisionLog
from worldos.agent.decision_shelf import open_shelf
from worldos.errors import Damaged, NotThere
from worldos.kernel.decisions import Chosen, Made, decide
from worldos.kernel.effects import Notice
from worldos.model.ids import NodeId, UseId
from worldos.model.need import KnownNode, Work
from worldos.trust.keys import DeviceKey
from worldos.trust.note import Note, cosign, read_note, read_signature, write_note

KEY = DeviceKey.from_seed(b"k" * 32)
LOG = NodeId(KEY.node_id)


def choice(log: DecisionLog, number: int) -> Chosen:
    known = view(nonce=log.draws.draw().to_bytes(8, "big"))
    made = decide(UseId(f"u{number}"), (cpu(),), [offer("a"), offer("b")], known, splits=True)[2]
    return msgspec.structs.replace(made, number=number)


def lived(folder: Path, *lives: list[int], change: object = None) -> dict:
    """Keep a log over some lives, each with choices of these numbers, and verify it."""

    async def live() -> None:
        for life, numbers in enumerate(lives, 1):
            log = DecisionLog(folder, KEY, ignore)
            log.begin(life)
            made: list[Made] = [choice(log, number) for number in numbers]
            log.take(change(made) if callable(change) else made)
            await log.flush()
            log.close()

    asyncio.run(live())
    return auditing.verify(open_shelf(folder), LOG)


def ignore(notice: Notice) -> None:
    del notice


def test_an_honest_log_of_two_lives_has_nothing_wrong(tmp_path: Path) -> None:
    found = lived(tmp_path / "d", [1, 2, 3], [1, 2])
    assert found["wrong"] == []
    assert found["kinds"]["chosen"] == 5
    assert found["draws_checked"] == 3, "those of the life that is over"


def test_a_choice_that_was_left_out_is_missed(tmp_path: Path) -> None:
    assert "1 choices of this life are not in the log" in lived(tmp_path / "d", [1, 2, 4])["wrong"][0]


def test_a_choice_with_a_nonce_of_its_own_is_found_when_the_round_is_over(tmp_path: Path) -> None:
    def grind(made: list[Chosen]) -> list[Chosen]:
        mine = msgspec.structs.replace(made[1].view, nonce=(12345).to_bytes(8, "big"))
        return [made[0], msgspec.structs.replace(made[1], view=mine), *made[2:]]

    async def more() -> None:
        log = DecisionLog(tmp_path / "d", KEY, ignore)
        for over in log.draws.reveal_unfinished():
            log._put(over)
        await log.flush()
        log.close()

    lived(tmp_path / "d", [1, 2, 3], change=grind)
    asyncio.run(more())
    assert any("drew from no round" in line for line in auditing.verify(open_shelf(tmp_path / "d"), LOG)["wrong"])


def test_a_round_over_is_told_once_more_after_a_crash_and_that_is_no_offence(tmp_path: Path) -> None:
    async def live() -> None:
        log = DecisionLog(tmp_path / "d", KEY, ignore)
        log.begin(1)
        log.take([choice(log, 1)])
        await log.flush()
        note = read_note(log.whole().load("checkpoint"))
        line = read_signature(cosign(DeviceKey.from_seed(b"w" * 32), note.text, 5))
        log.witnessed(write_note(Note(note.text, (*note.lines, line))), log.whole().durable)
        log.take([choice(log, 2), choice(log, 3)])
        log.close()

    asyncio.run(live())
    found = lived(tmp_path / "d", [1])
    assert found["wrong"] == []
    assert (found["draws_checked"], found["rounds_witnessed"]) == (3, 1)


def test_draws_in_another_order_than_they_were_drawn_are_found(tmp_path: Path) -> None:
    def swap(made: list[Chosen]) -> list[Chosen]:
        if len(made) < 2:
            return made
        first, second = (msgspec.structs.replace(m, number=n) for m, n in ((made[1], 1), (made[0], 2)))
        return [first, second, *made[2:]]

    assert any("out of turn" in line for line in lived(tmp_path / "d", [1, 2, 3], [1], change=swap)["wrong"])


def test_a_payload_that_was_changed_is_found(tmp_path: Path) -> None:
    lived(tmp_path / "d", [1, 2, 3])
    segment = tmp_path / "d/segments/000000000000"
    segment.write_bytes(segment.read_bytes().replace(b"u2", b"u9"))
    assert auditing.verify(open_shelf(tmp_path / "d"), LOG)["wrong"]


@pytest.mark.parametrize("name", ["leaves", "salts"])
def test_a_leaf_or_salt_that_was_changed_is_found(tmp_path: Path, name: str) -> None:
    lived(tmp_path / "d", [1, 2, 3])
    path = tmp_path / "d" / name
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    assert auditing.verify(open_shelf(tmp_path / "d"), LOG)["wrong"]


def test_a_checkpoint_of_another_key_is_found(tmp_path: Path) -> None:
    lived(tmp_path / "d", [1])
    other = NodeId(DeviceKey.from_seed(b"o" * 32).node_id)
    assert "not signed by this node" in auditing.verify(open_shelf(tmp_path / "d"), other)["wrong"][0]


def test_a_choice_in_favour_of_another_node_is_not_made_so_again(tmp_path: Path) -> None:
    def favour(made: list[Chosen]) -> list[Chosen]:
        (first,) = made
        assert isinstance(first.answer, tuple)
        other = NodeId("b" if first.answer[0].node == "a" else "a")
        return [msgspec.structs.replace(first, answer=(msgspec.structs.replace(first.answer[0], node=other),))]

    lived(tmp_path / "d", [1], change=favour)
    chosen = [e for e in auditing.entries(open_shelf(tmp_path / "d")) if e.leaf.kind == 1]
    assert [auditing.same_again(entry) for entry in chosen] == [False]


def test_a_choice_without_its_offers_is_damaged(tmp_path: Path) -> None:
    lived(tmp_path / "d", [1])
    (entry,) = [e for e in auditing.entries(open_shelf(tmp_path / "d")) if e.leaf.kind == 1]
    with pytest.raises(Damaged):
        auditing.same_again(entry._replace(offers={}))


def test_rows_say_what_was_chosen_and_why(tmp_path: Path) -> None:
    lived(tmp_path / "d", [1])
    shelf = open_shelf(tmp_path / "d")
    row = next(row for row in map(auditing.row, auditing.entries(shelf)) if row["kind"] == "matched")
    assert row["what"].startswith("1 core CPU on ")
    assert "score" in row["why"]
    detail = auditing.detail(auditing.one(shelf, row["number"]))
    assert {each["node"] for each in detail["offers"]} == {"a", "b"}
    with pytest.raises(NotThere):
        auditing.one(shelf, 99)


def test_where_calls_were_known_it_is_told_how_long_they_were_expected_to_take(tmp_path: Path) -> None:
    work = Work(cpu_mi=4000, wait_us=250_000, move_bytes=10**6, known=(KnownNode(NodeId("b"), 600_000, 10**6),))

    def known(made: list[Made]) -> list[Made]:
        first = made[0]
        assert isinstance(first, Chosen)
        slow = offer("a", speed_mips=4000)
        again = decide(first.use, (cpu(data=work),), [slow, offer("b")], first.view, splits=True)[2]
        return [msgspec.structs.replace(again, number=1)]

    lived(tmp_path / "d", [1], change=known)
    shelf = open_shelf(tmp_path / "d")
    entry = next(entry for entry in auditing.entries(shelf) if entry.leaf.kind == 1)
    assert auditing.detail(auditing.one(shelf, entry.number))["expected"] == [(1_250_000, 20_000), (600_000, 1_000_000)]
    assert auditing.same_again(auditing.one(shelf, entry.number))
