"""Opening after a cut: what was whole is there, what was torn is not, and a torn copy harms nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worldos.depot.block_store import BlockStore
from worldos.depot.packs import Packs
from worldos.depot.replay import open_index
from worldos.store import pack


def name(number: int) -> bytes:
    return number.to_bytes(32, "big")


def opened(folder: Path, *, pack_bytes: int = 1 << 30) -> BlockStore:
    return BlockStore(folder, capacity_bytes=1 << 34, pack_bytes=pack_bytes)


def spoil(file: Path, at: int) -> None:
    with file.open("r+b") as out:
        out.seek(at)
        byte = out.read(1)
        out.seek(at)
        out.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize("lose_index", [False, True])
def test_a_torn_end_is_cut_off_and_a_torn_middle_set_aside(tmp_path: Path, lose_index: bool) -> None:
    with opened(tmp_path) as store:
        store.put(name(0), bytes(1000))
    index = (tmp_path / "index").read_bytes()
    with opened(tmp_path) as store:
        rows = []
        for number in (1, 2, 3):
            store.put(name(number), bytes([number]) * 1000)
            row = store._index.share(name(number))
            assert row is not None
            rows.append(row)
    file = tmp_path / "packs" / "00000000.wpk"
    for torn in (rows[0], rows[2]):
        spoil(file, torn.offset + 64 + torn.meta_bytes + 500)
    if lose_index:
        (tmp_path / "index").unlink()
    else:
        (tmp_path / "index").write_bytes(index)  # as it was committed before
    with opened(tmp_path) as store:
        assert store.have([name(number) for number in range(4)]) == [1000, -1, 1000, -1]
        assert store.usage().damaged == 1
        for number in (1, 3):
            store.put(name(number), bytes([number]) * 1000)
        assert store.scrub().bad == ()
    with opened(tmp_path) as store:
        assert store.have([name(number) for number in range(4)]) == [1000] * 4


def test_a_copy_that_was_torn_while_a_pack_was_compacted_harms_nothing(tmp_path: Path) -> None:
    data = os.urandom(3000)
    with opened(tmp_path) as store:
        store.put(name(1), data)
        row = store._index.share(name(1))
        assert row is not None
        head = store._packs.read(0, row.offset, 64 + row.meta_bytes)
        meta = bytes(head[64:])
        end, key = store._packs.end, store._packs.key
    at = pack.start_of(end, 0)
    header = pack.Header(
        kind=pack.Kind.SHARE, order=row.order, id=name(1), meta_bytes=len(meta), body_bytes=3000, offset=at
    )
    copy = pack.frame_head(key, 0, header, meta) + bytes(3000) + pack.trailer_of(name(1), data)  # its bytes never came
    with (tmp_path / "packs" / "00000000.wpk").open("r+b") as file:
        file.truncate(end)
        file.seek(at)
        file.write(copy)
        second = pack.start_of(at + len(copy), 0)
        meta = pack.encode_meta(pack.ShareMeta("", "share", 4))
        header = pack.Header(
            kind=pack.Kind.SHARE, order=99, id=name(3), meta_bytes=len(meta), body_bytes=4, offset=second
        )
        file.seek(second)
        file.write(pack.frame_head(key, 0, header, meta) + b"good" + pack.trailer_of(name(3), b"good"))
    with opened(tmp_path) as store:
        assert store.get(name(1)) == data
        assert store.get(name(3)) == b"good"


def test_an_index_is_opened_from_packs_alone_and_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path, pack_bytes=10_000) as store:
        for number in range(20):
            store.put(name(number), os.urandom(1000))
    (tmp_path / "index").unlink()
    packs = Packs(tmp_path, new_key=bytes(32), pack_bytes=10_000)
    index = open_index(packs, tmp_path)
    assert index.sizes([name(number) for number in range(20)]) == [1000] * 20
    assert packs.active == packs.numbers()[-1]
    assert index.indexed == (packs.active, packs.end)
    index.close()
    packs.close()


def test_what_is_put_after_a_half_made_pack_was_taken_away_is_read_again(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.put(name(1), b"before")
    (tmp_path / "packs" / "00000001.wpk").write_bytes(b"")
    opened(tmp_path).close()
    index = (tmp_path / "index").read_bytes()
    with opened(tmp_path) as store:
        store.put(name(2), b"after")
    (tmp_path / "index").write_bytes(index)  # the power was cut before the index learnt of it
    with opened(tmp_path) as store:
        assert store.get(name(2)) == b"after"
