"""The files of a depot: frames are found again, past damage too; room is taken ahead and given back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from worldos.depot.packs import Packs
from worldos.errors import AlreadyRunning, CorruptFile
from worldos.store import pack
from worldos.store.pack import HEADER_BYTES, Header, Kind

KEY = b"k" * 32
SIZES = (0, 10, 5000, 70_000, 3, 300_000, 64, 65_537, 1)


@pytest.fixture
def packs(tmp_path: Path) -> Iterator[Packs]:
    opened = Packs(tmp_path, new_key=KEY, pack_bytes=1 << 20)
    yield opened
    opened.close()


def share_id(number: int) -> bytes:
    return bytes([number]) * 32


def write(packs: Packs, sizes: tuple[int, ...] = SIZES, *, first: int = 1) -> list[Header]:
    """Write frames of these sizes, one group."""
    number, end = packs.make_room(sum(sizes) + 8192 * len(sizes), control=False)
    parts: list[bytes] = []
    headers = []
    for turn, size in enumerate(sizes, first):
        start = pack.start_of(end, size)
        header = Header(kind=Kind.SHARE, order=turn, id=share_id(turn), meta_bytes=2, body_bytes=size, offset=start)
        body = bytes([turn]) * size
        parts += [pack.zeros(start - end), pack.frame_head(packs.key, number, header, b"mm"), body]
        parts.append(pack.trailer_of(header.id, body))
        end = header.end
        headers.append(header)
    packs.write(parts, end)
    packs.sync(end)
    return headers


def test_a_walk_meets_every_frame_from_the_end_of_any(packs: Packs) -> None:
    headers = write(packs) + write(packs, first=len(SIZES) + 1)
    for at, start in enumerate([0, *(header.end for header in headers)]):
        found = [(it.header, bytes(it.body), it.good) for it in packs.walk(0, start)]
        assert found == [(it, it.id[:1] * it.body_bytes, True) for it in headers[at:]]


@pytest.mark.parametrize("spoilt", range(len(SIZES)))
def test_a_walk_looks_past_a_damaged_header(packs: Packs, spoilt: int) -> None:
    headers = write(packs)
    data = bytearray(packs.file(0).read_bytes())
    data[headers[spoilt].offset + 20] ^= 1
    packs.file(0).write_bytes(data)
    assert [it.header for it in packs.walk(0)] == headers[:spoilt] + headers[spoilt + 1 :]


def test_a_damaged_body_is_met_and_called_so(packs: Packs) -> None:
    headers = write(packs)
    data = bytearray(packs.file(0).read_bytes())
    data[headers[2].body_at] ^= 1
    packs.file(0).write_bytes(data)
    assert [it.good for it in packs.walk(0)] == [number != 2 for number in range(len(SIZES))]
    assert not packs.frame(0, headers[2].offset).good
    with pytest.raises(CorruptFile):
        packs.frame(0, headers[2].offset + 64)


@pytest.mark.parametrize("cut", [1, 15, 16, 17, 100, 65_540])
def test_a_pack_that_ends_inside_of_a_frame_ends_with_the_one_before(packs: Packs, cut: int) -> None:
    headers = write(packs)
    data = packs.file(0).read_bytes()[: headers[-1].end - cut]
    packs.file(0).write_bytes(data)
    met = [it.header for it in packs.walk(0)]
    assert met == headers[: len(met)]
    assert met[-1].end <= len(data)


def test_a_full_pack_is_followed_by_another_and_gives_back_what_it_took_ahead(tmp_path: Path) -> None:
    packs = Packs(tmp_path, new_key=KEY, pack_bytes=400_000)
    first = write(packs)
    assert packs.file(0).stat().st_size > first[-1].end
    write(packs)
    assert packs.numbers() == [0, 1]
    assert packs.sealed() == [0]
    assert packs.file(0).stat().st_size == packs.size(0) == first[-1].end
    packs.remove(0)
    assert packs.numbers() == [1]
    with pytest.raises(CorruptFile):
        packs.read(0, 0, 1)
    packs.close()


def test_a_pack_that_was_given_up_is_never_written_again(packs: Packs) -> None:
    headers = write(packs)
    packs.abandon()
    assert packs.sealed() == [0]
    write(packs)
    assert packs.active == 1
    assert packs.size(0) == headers[-1].end


def test_one_goes_on_where_the_last_one_ended_and_cuts_off_the_rest(tmp_path: Path) -> None:
    packs = Packs(tmp_path, new_key=KEY)
    headers = write(packs)
    packs.close()
    packs = Packs(tmp_path, new_key=b"another key that is not taken..")
    assert packs.key == KEY
    packs.resume(0, headers[3].end)
    more = write(packs, (9, 9), first=40)
    assert [it.header for it in packs.walk(0)] == headers[:4] + more
    packs.close()


def test_holes_give_back_whole_pages_inside_of_a_body(packs: Packs) -> None:
    (header,) = write(packs, (300_000,))
    before = packs.disk_bytes(0)
    freed = packs.punch(0, header.body_at, header.body_bytes)
    assert 286_000 < freed <= 300_000
    assert packs.punch(0, header.body_at, header.body_bytes) == 0
    assert (
        abs(before - packs.disk_bytes(0) - freed) <= 8192
    )  # the file system may want a block for its own list of them
    assert [(it.header, it.good) for it in packs.walk(0)] == [(header, False)]
    assert packs.punch(0, header.body_at, 4095) == 0


def test_a_folder_has_one_process(tmp_path: Path, packs: Packs) -> None:
    with pytest.raises(AlreadyRunning):
        Packs(tmp_path, new_key=KEY)


def test_the_key_survives_in_the_packs_and_is_never_guessed(tmp_path: Path) -> None:
    packs = Packs(tmp_path, new_key=KEY)
    write(packs, (5,))
    packs.close()
    (tmp_path / "key").write_bytes(b"short")
    packs = Packs(tmp_path, new_key=b"x" * 32)
    assert packs.key == KEY
    packs.close()
    (tmp_path / "key").unlink()
    packs.file(0).write_bytes(bytes(HEADER_BYTES))
    with pytest.raises(CorruptFile):
        Packs(tmp_path, new_key=b"x" * 32)
