"""The decision log on disk: whatever is cut off, the rest is a log; what was signed and is not there is never passed over."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from worldos.agent import decision_files
from worldos.agent.decision_files import DecisionFiles, set_aside
from worldos.agent.decision_shelf import open_shelf, read_segment
from worldos.errors import CorruptFile, DiskFull, NotThere
from worldos.kernel.decisions import Ended
from worldos.kernel.records import check_payload, read_leaf, write_leaf, write_record
from worldos.model.ids import LeaseId
from worldos.trust.keys import DeviceKey
from worldos.trust.merkle import Tree, check_inclusion, leaf_hash, prove_inclusion
from worldos.trust.note import sign_checkpoint
from worldos.trust.tiles import check_tiles, read_bundle

KEY = DeviceKey.from_seed(b"k" * 32)


def put(files: DecisionFiles, count: int) -> None:
    """Append so many decisions, write them, sign the root."""
    for _ in range(count):
        record = Ended(lease=LeaseId(f"l{files.size}"), why="expired")
        payload, salt = write_record(record), os.urandom(16)
        files.turn()
        files.append(write_leaf(record, 1, salt, payload), salt, payload, {bytes(32): b"an offer"})
    batch = files.batch()
    assert batch is not None
    files.write(batch)
    files.save("checkpoint", sign_checkpoint(KEY, files.durable, files.root(files.durable)))


def read(files: DecisionFiles, number: int) -> Ended:
    record = check_payload(read_leaf(files.leaf(number)), files.salt(number), files.payload(number))
    assert isinstance(record, Ended)
    return record


def test_a_log_of_several_tiles_and_lives_has_the_root_of_its_leaves(tmp_path: Path) -> None:
    tree = Tree()
    for count in (1, 200, 60, 255, 300, 1):
        files = DecisionFiles(tmp_path / "log")
        put(files, count)
        for number in range(tree.size, files.size):
            tree.append(files.leaf(number))
        assert files.root(files.size) == files.tower.root() == tree.root()
        assert read(files, files.size - 1).lease == f"l{files.size - 1}"
    hash_at = check_tiles(files.read_tile, files.size, tree.root())
    check_inclusion(leaf_hash(files.leaf(300)), 300, files.size, prove_inclusion(hash_at, 300, files.size), tree.root())
    assert read_bundle(files.read_entries(1, 256))[44] == files.leaf(300)
    assert files.offer(3, bytes(32)) == b"an offer"


@pytest.mark.parametrize("name", ["leaves", "salts", "segments/000000000000"])
@pytest.mark.parametrize("cut", [1, 40, 400])
def test_what_was_not_signed_yet_may_be_torn_and_the_rest_goes_on(tmp_path: Path, name: str, cut: int) -> None:
    files = DecisionFiles(tmp_path / "log")
    put(files, 300)
    signed = files.load("checkpoint")
    put(files, 40)
    files.save("checkpoint", signed)  # the power went before the second checkpoint
    path = tmp_path / "log" / name
    os.truncate(path, path.stat().st_size - cut)
    again = DecisionFiles(tmp_path / "log")
    assert 300 <= again.size < 340
    put(again, 5)
    assert read(again, again.size - 1).lease == f"l{again.size - 1}"
    assert DecisionFiles(tmp_path / "log").size == again.size


def test_garbage_at_the_end_of_a_segment_is_what_a_power_cut_leaves(tmp_path: Path) -> None:
    put(DecisionFiles(tmp_path / "log"), 10)
    with (tmp_path / "log/segments/000000000000").open("ab") as stream:
        stream.write(bytes(100))
    assert DecisionFiles(tmp_path / "log").size == 10


@pytest.mark.parametrize("name", ["leaves", "salts", "segments/000000000000"])
def test_less_than_was_signed_is_refused_and_set_aside(tmp_path: Path, name: str) -> None:
    put(DecisionFiles(tmp_path / "log"), 300)
    path = tmp_path / "log" / name
    os.truncate(path, path.stat().st_size - 100)
    with pytest.raises(CorruptFile, match="lost"):
        DecisionFiles(tmp_path / "log")
    aside = set_aside(tmp_path / "log")
    assert aside.name == "log.damaged-1"
    assert DecisionFiles(tmp_path / "log").size == 0


def test_a_leaf_that_was_changed_is_found_when_it_is_opened(tmp_path: Path) -> None:
    put(DecisionFiles(tmp_path / "log"), 20)
    with (tmp_path / "log/leaves").open("r+b") as stream:
        stream.seek(5 * 48 + 20)
        stream.write(b"\xff\xfe")
    with pytest.raises(CorruptFile, match="not what was signed"):
        DecisionFiles(tmp_path / "log")


def test_the_roots_of_full_tiles_are_reckoned_again_when_they_are_lost(tmp_path: Path) -> None:
    files = DecisionFiles(tmp_path / "log")
    put(files, 600)
    root = files.root(600)
    (tmp_path / "log/level1").unlink()
    assert DecisionFiles(tmp_path / "log").root(600) == root


def test_an_erased_decision_is_gone_from_every_file_and_its_proof_stays(tmp_path: Path) -> None:
    files = DecisionFiles(tmp_path / "log")
    put(files, 10)
    root, payload, salt = files.root(10), files.payload(4), files.salt(4)
    files.erase(4)
    with pytest.raises(NotThere, match="erased"):
        files.payload(4)
    assert files.root(10) == root
    everything = b"".join(path.read_bytes() for path in (tmp_path / "log").rglob("*") if path.is_file())
    assert payload not in everything
    assert salt not in everything
    again = DecisionFiles(tmp_path / "log")
    assert again.root(10) == root
    assert read(again, 5).lease == "l5"


def test_old_segments_are_dropped_and_their_leaves_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision_files, "SEGMENT_BYTES", 500)
    monkeypatch.setattr(decision_files, "SEGMENTS_MAX", 3)
    files = DecisionFiles(tmp_path / "log")
    for _ in range(30):
        put(files, 3)
    assert len(files.firsts()) == 3
    with pytest.raises(NotThere, match="too old"):
        files.payload(0)
    assert read_leaf(files.leaf(0)).at_s == 1
    assert open_shelf(tmp_path / "log").root(90) == DecisionFiles(tmp_path / "log").root(90)


def test_a_segment_that_was_damaged_in_the_middle_is_not_read_over(tmp_path: Path) -> None:
    put(DecisionFiles(tmp_path / "log"), 10)
    path = tmp_path / "log/segments/000000000000"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptFile, match="damaged at byte"):
        list(read_segment(path))


def test_a_full_disk_is_told_and_the_half_of_a_batch_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = DecisionFiles(tmp_path / "log")
    put(files, 10)
    real = os.pwrite

    def full(descriptor: int, data: bytes, at: int) -> int:
        return real(descriptor, data[:7], at)

    monkeypatch.setattr(decision_files.os, "pwrite", full)
    with pytest.raises(DiskFull):
        put(files, 5)
    monkeypatch.setattr(decision_files.os, "pwrite", real)
    again = DecisionFiles(tmp_path / "log")
    assert again.size == 10
    put(again, 1)
    shutil.rmtree(tmp_path / "log")
