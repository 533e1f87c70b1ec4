"""What a task made travels packed, and lands whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from worldos.errors import BadRequest, PeerBroke
from worldos.jobs.outputs import Spool, packed, unpack_into, unzipped


def parcel_of(folder: Path, spool_at: Path, memory_bytes: int = 1 << 18) -> Spool:
    spool = Spool(spool_at, memory_bytes)
    packed([folder], folder, spool)
    return spool


def pieces(spool: Spool) -> Iterator[bytes]:
    return iter((spool.data(),))


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    (folder / "deep").mkdir(parents=True)
    (folder / "one.txt").write_text("one")
    (folder / "deep" / "two.bin").write_bytes(os.urandom(300_000))
    (folder / "link").symlink_to("one.txt")
    return folder


def test_files_come_back_as_they_were(tmp_path: Path, made: Path) -> None:
    spool = parcel_of(made, tmp_path / "spool")
    assert spool.in_file
    names = unpack_into(tmp_path / "back", pieces(spool))
    assert names == ["deep/two.bin", "link", "one.txt"]
    assert (tmp_path / "back/deep/two.bin").read_bytes() == (made / "deep/two.bin").read_bytes()
    assert (tmp_path / "back/link").is_symlink()
    spool.close()
    assert not (tmp_path / "spool").exists()


def test_a_small_parcel_needs_no_file_and_is_small(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("a")
    spool = parcel_of(tmp_path / "in", tmp_path / "spool")
    assert not spool.in_file
    assert spool.size < 300


def test_nothing_made_is_nothing_at_all(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.finish()
    assert spool.data() == b""


def test_nothing_is_overwritten_unless_said(tmp_path: Path, made: Path) -> None:
    spool = parcel_of(made, tmp_path / "spool")
    there = tmp_path / "back"
    there.mkdir()
    (there / "one.txt").write_text("mine")
    with pytest.raises(BadRequest, match=r"one\.txt is there already"):
        unpack_into(there, pieces(spool))
    assert [path.name for path in there.iterdir()] == ["one.txt"], "all or nothing"
    assert (there / "one.txt").read_text() == "mine"
    unpack_into(there, pieces(spool), force=True)
    assert (there / "one.txt").read_text() == "one"


def test_a_link_at_the_holder_leads_nowhere_else(tmp_path: Path, made: Path) -> None:
    spool = parcel_of(made, tmp_path / "spool")
    there, outside = tmp_path / "back", tmp_path / "outside"
    there.mkdir()
    outside.mkdir()
    (there / "deep").symlink_to(outside)
    with pytest.raises(BadRequest):
        unpack_into(there, pieces(spool))
    unpack_into(there, pieces(spool), force=True)
    assert (there / "deep" / "two.bin").is_file()
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("garbage", [b"", b"not gzip", b"\x1f\x8b\x08\x00garbage"])
def test_garbage_is_no_parcel(tmp_path: Path, garbage: bytes) -> None:
    with pytest.raises(PeerBroke):
        unpack_into(tmp_path / "back", iter((garbage,)))


def test_a_parcel_that_is_cut_off_is_refused(tmp_path: Path, made: Path) -> None:
    spool = parcel_of(made, tmp_path / "spool")
    with pytest.raises(PeerBroke):
        unpack_into(tmp_path / "back", iter((spool.data()[:1000],)))
    assert list((tmp_path / "back").iterdir()) == []


def test_what_unpacks_to_much_comes_in_bounded_pieces(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    for _ in range(64):
        spool.add(bytes(1 << 20))
    spool.finish()
    assert spool.size < 1 << 20
    sizes = [len(piece) for piece in unzipped(pieces(spool))]
    assert max(sizes) <= 1 << 18
    assert sum(sizes) == 64 << 20
