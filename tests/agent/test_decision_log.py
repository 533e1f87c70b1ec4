"""The decision log of a running node: nothing waits for it, nothing is lost in it without a word."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.kernel.offers import cpu, offer, view

from worldos.agent import auditing, cosigning, decision_files, decision_log, draws
from worldos.agent.decision_log import DecisionLog, code_hash
from worldos.agent.decision_shelf import open_shelf
from worldos.errors import DiskFull
from worldos.kernel.decisions import Ended, Made, decide
from worldos.kernel.effects import Notice
from worldos.kernel.records import ChosenRecord
from worldos.model.audit import CheckpointSeen
from worldos.model.ids import LeaseId, NodeId, UseId
from worldos.trust.keys import DeviceKey

KEY = DeviceKey.from_seed(b"k" * 32)


class Told:
    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, notice: Notice) -> None:
        self.names.append(notice.name)


def ended(number: int) -> Made:
    return Ended(lease=LeaseId(f"l{number}"), why="expired")


def test_what_was_decided_is_on_disk_and_signed_after_a_flush(tmp_path: Path) -> None:
    async def life() -> None:
        log = DecisionLog(tmp_path / "d", KEY, Told())
        log.begin(1)
        offers = [offer("a"), offer("b")]
        for number in range(40):
            made = decide(UseId(f"u{number}"), (cpu(),), offers, view(), splits=True)[2]
            log.take([made.__class__(**{f: getattr(made, f) for f in made.__struct_fields__} | {"number": number + 1})])
        await log.flush()
        log.close()

    asyncio.run(life())
    shelf = open_shelf(tmp_path / "d")
    found = [entry for entry in auditing.entries(shelf) if isinstance(entry.record, ChosenRecord)]
    assert len(found) == 40
    assert all(auditing.same_again(entry) for entry in found)
    assert len({hashed for entry in found for hashed in entry.offers}) == 2, "equal offers are kept once"
    report = auditing.verify(shelf, NodeId(KEY.node_id))
    assert [line for line in report["wrong"] if "round" not in line and "drew" not in line] == []


def test_what_lies_in_the_queue_at_the_end_is_written(tmp_path: Path) -> None:
    async def life() -> None:
        log = DecisionLog(tmp_path / "d", KEY, Told())
        log.take([ended(1), ended(2)])
        log.close()

    asyncio.run(life())
    assert open_shelf(tmp_path / "d").durable == 2


def test_a_queue_that_is_full_counts_what_it_cannot_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision_log, "QUEUE_MAX", 10)

    async def life() -> None:
        log = DecisionLog(tmp_path / "d", KEY, Told())
        log.take([ended(n) for n in range(15)])
        await log.flush()
        log.close()

    asyncio.run(life())
    shelf = open_shelf(tmp_path / "d")
    assert shelf.durable == 11
    first = auditing.row(auditing.one(shelf, 0))
    assert first["kind"] == "missed"
    assert any("5 before it" in line for line in auditing.verify(shelf, NodeId(KEY.node_id))["wrong"])


def test_a_full_disk_is_told_once_and_the_gap_is_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()

    async def life() -> None:
        log = DecisionLog(tmp_path / "d", KEY, told)
        log.take([ended(1)])
        await log.flush()
        real = decision_files.DecisionFiles.write

        def full(self: decision_files.DecisionFiles, batch: decision_files.Batch) -> None:
            raise DiskFull("no room")

        monkeypatch.setattr(decision_files.DecisionFiles, "write", full)
        log.take([ended(2), ended(3)])
        await log.flush()
        monkeypatch.setattr(decision_files.DecisionFiles, "write", real)
        log.take([ended(4)])
        await log.flush()
        log.close()

    asyncio.run(life())
    shelf = open_shelf(tmp_path / "d")
    assert told.names == ["decision log stopped"]
    rows = [auditing.row(entry) for entry in auditing.entries(shelf)]
    assert [row["kind"] for row in rows] == ["ended", "missed", "ended"]


def test_a_log_that_lost_what_it_signed_is_set_aside_and_a_new_one_says_so(tmp_path: Path) -> None:
    told = Told()

    async def life(count: int) -> DecisionLog:
        log = DecisionLog(tmp_path / "d", KEY, told)
        log.begin(1)
        log.take([ended(n) for n in range(count)])
        await log.flush()
        log.close()
        return log

    asyncio.run(life(30))
    leaves = tmp_path / "d/leaves"
    leaves.write_bytes(leaves.read_bytes()[:480])
    log = asyncio.run(life(1))
    assert "lost" in log.damage
    assert told.names == ["decision log damaged"]
    assert (tmp_path / "d.damaged-1/leaves").stat().st_size == 480
    assert "damaged" in str(auditing.detail(auditing.one(open_shelf(tmp_path / "d"), 0)))


def test_an_embedded_node_keeps_nothing_and_minds_nothing() -> None:
    async def life() -> None:
        log = DecisionLog(None, KEY, Told())
        log.begin(1)
        log.take([ended(1)])
        await log.flush()
        log.close()

    asyncio.run(life())


def test_the_hash_of_the_code_is_that_of_what_decides() -> None:
    assert len(code_hash()) == 16


def test_a_node_whose_disk_is_full_at_its_start_starts_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()

    async def life() -> None:
        with monkeypatch.context() as patched:

            def full(*words: object, **more: object) -> None:
                raise DiskFull("no room")

            for place, name in ((decision_files, "make_folder"), (draws, "write_durably"), (cosigning, "make_folder")):
                patched.setattr(place, name, full)
            log = DecisionLog(tmp_path / "d", KEY, told)
            others = cosigning.Cosigning(tmp_path, log, None, none, none, told)  # type: ignore[arg-type]
            log.begin(1)
            await log.flush()
            others.heard(NodeId("x"), CheckpointSeen(size=1))
        await log.flush()
        log.close()
        assert log.whole().durable >= 3

    def none(*words: object) -> None:
        raise AssertionError("nothing is sent")

    asyncio.run(life())
    assert told.names[:2] == ["decision log stopped", "witnessing stopped"]
