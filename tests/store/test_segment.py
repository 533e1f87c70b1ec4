"""Segments: what goes in comes out, what a store sees is random bytes of five sizes, and nothing changed is opened."""

import io
import itertools
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
import zstandard
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import Damaged
from worldos.store import segment
from worldos.store.limits import CHUNK_BYTES_MAX, KIB, MIB, SEGMENT_BYTES
from worldos.store.segment import Part, Sealed, SegmentWriter

GOLDEN = Path(__file__).parent.parent / "golden" / "segment.txt"
NOISE = random.Random(2).randbytes(20 * MIB)
TEXT = b"".join(b"%d bottles of beer on the wall\n" % number for number in range(400_000))


@dataclass
class Lent:
    """A room that fails the test when its second half is used after it was given back."""

    view: memoryview
    out: list["Lent"]

    def release(self) -> None:
        self.out.remove(self)


class Desk:
    """Lends rooms, keeps what is sealed, and gives the same chance each time."""

    def __init__(self, largest: int = 16 * MIB) -> None:
        self.out: list[Lent] = []
        self.sealed: list[Sealed] = []
        self.largest = largest
        self._counter = itertools.count()

    def take(self) -> Lent:
        assert not self.out, "a writer holds one room at a time"
        lent = Lent(memoryview(bytearray(segment.room_bytes(self.largest))), self.out)
        self.out.append(lent)
        return lent

    def chance(self, size: int) -> bytes:
        return blake3(next(self._counter).to_bytes(8, "big")).digest(size)

    def done(self, sealed: Sealed) -> None:
        sealed.room.release()
        self.sealed.append(sealed)

    def write(self, data: bytes, step: int = CHUNK_BYTES_MAX, form: int = segment.FORMAT_AES) -> "Desk":
        writer = SegmentWriter(self.take, self.chance, self.done, largest=self.largest, form=form)
        for start in range(0, len(data), step):
            writer.add(data[start : start + step])
        writer.close()
        assert not self.out
        return self

    def read(self) -> bytes:
        return b"".join(bytes(opened(one, part)) for one in self.sealed for part in one.parts)

    @property
    def stored_bytes(self) -> int:
        return sum(one.size_bytes for one in self.sealed)


def sealed_bytes(one: Sealed, part: Part) -> memoryview:
    return one.room.view[part.offset : part.offset + part.sealed_bytes]


def opened(one: Sealed, part: Part):
    return segment.open_piece(one.id, one.key, part, sealed_bytes(one, part))


SIZES = (1, 100, 65_520, 65_521, 262_128, 300_000, MIB, 3 * MIB, 5 * MIB, 6 * MIB, 17 * MIB, 20 * MIB)


@pytest.mark.parametrize("size", SIZES)
def test_what_is_sealed_is_opened_and_lies_in_classes(size: int) -> None:
    desk = Desk().write(NOISE[:size], MIB)
    assert desk.read() == NOISE[:size]
    assert {one.size_bytes for one in desk.sealed} <= set(SEGMENT_BYTES)
    assert desk.stored_bytes <= max(64 * KIB, size * 5 // 4 + 128 * KIB)


@pytest.mark.parametrize("size", [5_000_000, len(TEXT)])
def test_what_shrinks_is_packed(size: int) -> None:
    desk = Desk().write(TEXT[:size], 2 * MIB)
    assert desk.read() == TEXT[:size]
    assert desk.stored_bytes < size // 2
    assert all(part.packed for one in desk.sealed for part in one.parts)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 120_000)), max_size=12), st.sampled_from([64 * KIB, 256 * KIB]))
def test_any_mixture_of_chunks_comes_out_as_it_went_in(chunks, largest: int) -> None:
    desk = Desk(largest)
    writer = SegmentWriter(desk.take, desk.chance, desk.done, largest=largest)
    expected = io.BytesIO()
    for noise, size in chunks:
        chunk = (NOISE if noise else TEXT)[size : 2 * size]
        writer.add(chunk)
        expected.write(chunk)
    writer.close()
    assert desk.read() == expected.getvalue()
    assert all(one.size_bytes <= largest for one in desk.sealed)
    assert not desk.out


def test_a_file_that_half_shrinks_is_cut_well_at_the_end_of_a_segment() -> None:
    data = b"".join(
        NOISE[start : start + 700_000] + TEXT[start : start + 700_000] for start in range(0, 9_000_000, 700_000)
    )
    desk = Desk(4 * MIB).write(data, 1_200_000)
    assert desk.read() == data
    for one in desk.sealed[:-3]:
        assert one.parts[-1].offset + one.parts[-1].sealed_bytes > one.size_bytes * 15 // 16


def test_a_chunk_packed_elsewhere_is_taken_as_it_is() -> None:
    desk = Desk()
    writer = SegmentWriter(desk.take, desk.chance, desk.done)
    packed = segment.Packer().pack(TEXT[:MIB])
    writer.add(TEXT[:MIB], packed)
    writer.close()
    assert desk.read() == TEXT[:MIB]
    assert desk.sealed[0].parts[0].sealed_bytes == len(packed or b"") + 16


def test_a_store_sees_neither_lengths_nor_zeros() -> None:
    zeros = Desk().write(bytes(1000))
    small, large = Desk().write(NOISE[:10]), Desk().write(NOISE[:60_000])
    assert {one.size_bytes for desk in (zeros, small, large) for one in desk.sealed} == {64 * KIB}
    for desk in (zeros, small, large):
        seen = bytes(desk.sealed[0].room.view[: 64 * KIB])
        assert len(zstandard.compress(seen)) >= 64 * KIB
        assert max(seen.count(byte) for byte in range(256)) < 400


def test_two_segments_of_one_file_share_neither_id_nor_key() -> None:
    desk = Desk(64 * KIB).write(NOISE[:MIB])
    assert len({one.id for one in desk.sealed}) == len({one.key for one in desk.sealed}) == len(desk.sealed) > 15


def test_a_whole_class_without_room_for_a_tag_is_filled_up() -> None:
    for rest in (0, 1, 15, 16, 17):
        desk = Desk().write(NOISE[: 64 * KIB - 16 - rest])
        assert [one.size_bytes for one in desk.sealed] == [64 * KIB]
        assert desk.read() == NOISE[: 64 * KIB - 16 - rest]


@pytest.mark.parametrize("form", [segment.FORMAT_AES, segment.FORMAT_CHACHA])
def test_the_bytes_are_those_of_the_day_they_were_frozen(form: int) -> None:
    assert golden_line(form) in GOLDEN.read_text().splitlines()


def golden_line(form: int) -> str:
    desk = Desk(256 * KIB).write(NOISE[:50_000] + TEXT[:3000] + NOISE[:60_000], 50_000, form)
    parts = [",".join(map(str, map(int, part))) for one in desk.sealed for part in one.parts]
    seen = [blake3(one.room.view[: one.size_bytes]).hexdigest(16) for one in desk.sealed]
    return " ".join([f"{form:#x}", *(one.id.hex() for one in desk.sealed), *parts, *seen])


@given(st.integers(0, 30_000), st.integers(1, 255), st.booleans())
def test_a_changed_byte_is_never_accepted(place: int, change: int, packs: bool) -> None:
    one = Desk(64 * KIB).write((TEXT if packs else NOISE)[:20_000]).sealed[0]
    part = one.parts[0]
    data = bytearray(sealed_bytes(one, part))
    data[place % len(data)] ^= change
    with pytest.raises(Damaged):
        segment.open_piece(one.id, one.key, part, data)


def test_a_piece_at_another_place_or_of_another_segment_is_refused() -> None:
    one = Desk(64 * KIB).write(NOISE[:40_000], 10_000).sealed[0]
    first, second = one.parts[:2]
    wrong = [
        (one.id, one.key, first, sealed_bytes(one, second)),
        (one.id, one.key, second._replace(number=0), sealed_bytes(one, second)),
        (one.id, one.key, first._replace(packed=True), sealed_bytes(one, first)),
        (one.id, one.key, first._replace(plain_bytes=9_999), sealed_bytes(one, first)),
        (one.id, one.key, first._replace(sealed_bytes=9, plain_bytes=1), b"too short"),
        (one.id, bytes(32), first, sealed_bytes(one, first)),
        (one.id[:-1] + b"\0", one.key, first, sealed_bytes(one, first)),
        (b"\x11" + one.id[1:], one.key, first, sealed_bytes(one, first)),
    ]
    for case in wrong:
        with pytest.raises(Damaged):
            segment.open_piece(*case)


@pytest.mark.parametrize(
    "name", [b"", b"\x20" + bytes(15), b"\x10" + bytes(16)], ids=["none", "a later format", "too long"]
)
def test_a_segment_of_another_format_is_refused(name: bytes) -> None:
    with pytest.raises(Damaged, match="unknown format"):
        segment.open_piece(name, bytes(32), Part(0, 0, 20, 4, False), bytes(20))


def test_a_piece_is_opened_in_place() -> None:
    one = Desk().write(TEXT[:100_000] + NOISE[:100_000], 100_000).sealed[0]
    for part in one.parts:
        into = bytearray(part.plain_bytes)
        assert segment.open_piece(one.id, one.key, part, sealed_bytes(one, part), into) is into
        assert into == opened(one, part)
        with pytest.raises(ValueError, match="do not fit"):
            segment.open_piece(one.id, one.key, part, sealed_bytes(one, part), bytearray(part.plain_bytes + 1))


def test_a_small_frame_that_would_unpack_to_much_is_refused() -> None:
    bomb = zstandard.compress(bytes(CHUNK_BYTES_MAX + 1))
    for said in (1000, CHUNK_BYTES_MAX + 1):
        with pytest.raises(Damaged):
            segment.unpack(bomb, said)


@given(st.binary(max_size=300), st.integers(-1, 1 << 40))
def test_garbage_is_not_unpacked(data: bytes, said: int) -> None:
    with pytest.raises(Damaged):
        segment.unpack(data, said)


def test_a_frame_with_a_tail_is_refused() -> None:
    with pytest.raises(Damaged):
        segment.unpack(zstandard.compress(b"abc") + b"tail", 3)


def test_padding_is_little_of_the_segment_or_of_the_file() -> None:
    assert segment.class_for(1, 1) == 64 * KIB
    assert segment.class_for(MIB, MIB) == MIB
    assert segment.class_for(4 * MIB * 4 // 5 + 1, 4 * MIB) == 4 * MIB
    assert segment.class_for(3 * MIB, 3 * MIB) == MIB, "filled first, and the rest after it"
    assert segment.class_for(3 * MIB, 16 * MIB) == MIB
    assert segment.class_for(3 * MIB, 32 * MIB) == 4 * MIB, "little of a file that is large"


def test_what_is_not_written_after_all_gives_its_room_back() -> None:
    desk = Desk()
    writer = SegmentWriter(desk.take, desk.chance, desk.done)
    writer.add(b"something")
    assert len(desk.out) == 1
    writer.abandon()
    writer.close()
    assert not desk.out
    assert not desk.sealed


@pytest.mark.parametrize("chunk", [b"", bytes(CHUNK_BYTES_MAX + 1)], ids=["empty", "too long"])
def test_a_chunk_of_no_length_of_a_chunk_is_refused(chunk: bytes) -> None:
    desk = Desk()
    with pytest.raises(ValueError, match="a chunk has"):
        SegmentWriter(desk.take, desk.chance, desk.done).add(chunk)


if __name__ == "__main__":
    GOLDEN.write_text("".join(golden_line(form) + "\n" for form in (segment.FORMAT_AES, segment.FORMAT_CHACHA)))
