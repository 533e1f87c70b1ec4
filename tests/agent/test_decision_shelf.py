"""A decision log as it is read beside its node: up to what was signed, and never believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worldos.agent.decision_files import DecisionFiles
from worldos.agent.decision_shelf import MAGIC, OFFER, open_shelf, read_segment, scan
from worldos.errors import CorruptFile, NotThere
from worldos.kernel.decisions import Ended
from worldos.kernel.records import read_leaf, write_leaf, write_record
from worldos.model.ids import LeaseId
from worldos.trust.keys import DeviceKey
from worldos.trust.note import sign_checkpoint
from worldos.trust.tiles import read_bundle

KEY = DeviceKey.from_seed(b"k" * 32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A log of five decisions of which three were signed."""
    files = DecisionFiles(tmp_path / "log")
    for count in (3, 2):
        for _ in range(count):
            record = Ended(lease=LeaseId(f"l{files.size}"), why="expired")
            payload, salt = write_record(record), os.urandom(16)
            files.turn()
            files.append(write_leaf(record, 7, salt, payload), salt, payload, {bytes(32): b"offer"})
        batch = files.batch()
        assert batch is not None
        files.write(batch)
        if count == 3:
            files.save("checkpoint", sign_checkpoint(KEY, files.durable, files.root(files.durable)))
    return tmp_path / "log"


def test_only_what_was_signed_is_read(folder: Path) -> None:
    shelf = open_shelf(folder)
    assert shelf.durable == 3
    assert read_leaf(shelf.leaf(2)).at_s == 7
    assert shelf.offer(2, bytes(32)) == b"offer"
    assert len(read_bundle(shelf.read_entries(0, 3))) == 3
    for gone in (3, -1):
        with pytest.raises(NotThere):
            shelf.payload(gone)


def test_a_folder_without_a_log_or_a_checkpoint_has_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotThere, match="no decision log"):
        open_shelf(tmp_path / "none")
    (tmp_path / "empty/segments").mkdir(parents=True)
    assert open_shelf(tmp_path / "empty").durable == 0


def test_a_checkpoint_of_garbage_and_files_that_are_too_short_are_damage(folder: Path) -> None:
    os.truncate(folder / "leaves", 100)
    with pytest.raises(CorruptFile, match="shorter"):
        open_shelf(folder).leaf(2)
    (folder / "checkpoint").write_bytes(b"garbage")
    with pytest.raises(CorruptFile, match="checkpoint"):
        open_shelf(folder)


def test_an_offer_or_a_decision_that_its_segment_lacks_is_damage(folder: Path) -> None:
    shelf = open_shelf(folder)
    with pytest.raises(CorruptFile, match="lacks an offer"):
        shelf.offer(2, b"?" * 32)
    (folder / "segments/000000000000").write_bytes(MAGIC)
    with pytest.raises(CorruptFile, match="lacks decision"):
        open_shelf(folder).payload(1)


def test_every_cut_of_a_segment_gives_whole_records_or_says_where_it_is_damaged(folder: Path) -> None:
    path = folder / "segments/000000000000"
    data = path.read_bytes()
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        kinds = [kind for kind, _, _ in read_segment(path)]
        assert kinds == ([OFFER, *[b"D"] * 5])[: len(kinds)] or len(kinds) <= 10
    path.write_bytes(b"other" + data)
    with pytest.raises(CorruptFile, match="no segment"):
        scan(path)
