from __future__ import annotations

import io
import random

import pytest

from worldos.drivers.remote_file import PIECE_BYTES, RemoteFile, open_remote
from worldos.drivers.storage_lane import StorageLane
from worldos.errors import BadRequest, OverQuota, PeerBroke


@pytest.fixture
def lane(tmp_path):
    lane = StorageLane(str(tmp_path / "lease"), 4 * PIECE_BYTES)
    yield lane
    assert not lane._open, "a file was left open"


def test_bytes_of_many_pieces_come_back_as_they_were(lane):
    data = random.Random(1).randbytes(3 * PIECE_BYTES + 17)
    with open_remote(lane.command, "a/b", "wb") as file:
        assert file.write(data) == len(data)
    with open_remote(lane.command, "a/b", "rb") as file:
        assert file.read() == data
        assert file.seek(-5, io.SEEK_END) == len(data) - 5
        assert file.read(100) == data[-5:]
        file.seek(PIECE_BYTES - 2)
        assert file.read(4) == data[PIECE_BYTES - 2 : PIECE_BYTES + 2]


def test_text_is_text_with_lines_and_umlauts(lane):
    with open_remote(lane.command, "notes", "w") as file:
        print("grün", "blau", sep="\n", file=file)
    with open_remote(lane.command, "notes", "a") as file:
        file.write("rot\n")
    with open_remote(lane.command, "notes") as file:
        assert list(file) == ["grün\n", "blau\n", "rot\n"]


def test_reading_and_writing_one_file_at_once(lane):
    with open_remote(lane.command, "a", "w+b") as file:
        file.write(b"hello world")
        file.seek(6)
        file.write(b"there")
        file.seek(0)
        assert file.read() == b"hello there"
        assert file.truncate(5) == 5
    with open_remote(lane.command, "a", "r+b") as file:
        assert file.read() == b"hello"


def test_what_does_not_fit_is_an_error_at_the_latest_when_closed(lane):
    file = open_remote(lane.command, "a", "wb")
    with pytest.raises(OverQuota, match="leased"):  # noqa: PT012 - in which of the two does not matter
        file.write(b"x" * (4 * PIECE_BYTES + 1))
        file.close()
    assert file.closed


def test_wrong_uses_fail_as_those_of_any_file(lane):
    with pytest.raises(FileNotFoundError):
        open_remote(lane.command, "absent")
    with pytest.raises(BadRequest):
        open_remote(lane.command, "a", "rw")
    with pytest.raises(BadRequest):
        open_remote(lane.command, "a", "wbt")
    with RemoteFile(lane.command, "a", "w") as file:
        with pytest.raises(io.UnsupportedOperation):
            file.read()
        with pytest.raises(ValueError, match="before the start"):
            file.seek(-1)
        with pytest.raises(ValueError, match="whence"):
            file.seek(0, 7)
    with RemoteFile(lane.command, "a", "r") as file, pytest.raises(io.UnsupportedOperation):
        file.write(b"x")
    with pytest.raises(ValueError, match="closed"):
        file.tell()


def test_a_piece_that_is_sent_twice_does_no_harm(lane):
    def twice(name, *args):
        if name not in {"open"}:
            lane.command(name, *args)
        return lane.command(name, *args)

    with open_remote(twice, "a", "wb") as file:
        file.write(b"abc" * PIECE_BYTES)
    with open_remote(twice, "a", "rb") as file:
        assert file.read() == b"abc" * PIECE_BYTES


def test_more_bytes_than_were_asked_for_are_the_other_sides_fault():
    file = RemoteFile(lambda name, *_: 1 if name in {"open", "close"} else b"toomany", "a")
    with pytest.raises(PeerBroke):
        file.readinto(bytearray(3))
    file.close()


def test_written_data_can_be_made_safe(lane):
    with RemoteFile(lane.command, "a", "w") as file:
        file.write(b"x")
        file.sync()
