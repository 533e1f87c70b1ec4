"""What is put: opened with words of ours, read to its end and no further, and looked at again afterwards."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from worldos.errors import BadRequest, NotThere
from worldos.files import source
from worldos.files.files import Files


def test_what_cannot_be_opened_is_said_in_our_words(tmp_path: Path) -> None:
    with pytest.raises(NotThere):
        source.open_source(tmp_path / "nothing")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadRequest):
        source.open_source(tmp_path / "file" / "below")


def test_a_look_tells_of_every_change(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"one")
    before = source.seen(file.stat())
    assert source.seen(file.stat()) == before
    os.utime(file, ns=(1, 1))
    assert source.seen(file.stat()) != before
    after = source.seen(file.stat())
    file.chmod(0o600 if file.stat().st_mode & 0o077 else 0o644)
    assert source.seen(file.stat()) != after


def test_no_more_is_read_than_there_was_said_to_be(files: Files, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(10_000))
    descriptor = os.open(file, os.O_RDONLY)
    upload = files.session.uploads.begin()
    told: list[int] = []
    assert source.pour(descriptor, upload, "file", -1, told.append) == 10_000
    assert told[-1] == 10_000
    upload.abandon()
    os.lseek(descriptor, 0, os.SEEK_SET)
    upload = files.session.uploads.begin()
    assert source.pour(descriptor, upload, "file", 5, lambda _: None) > 5, (
        "it is larger than 5: that is seen, and enough"
    )
    upload.abandon()
    os.close(descriptor)


class OnlyRead:
    """A stream that has no ``readinto``."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, count: int) -> bytes:
        return self._file.read(min(count, 777))


@pytest.mark.parametrize("kind", [io.BytesIO, OnlyRead])
def test_streams_of_both_kinds_are_read_to_their_end(files: Files, kind: type) -> None:
    data = os.urandom(20_000)
    files.put(kind(data), "stream")
    assert files.read("stream") == data


def test_media_are_guessed_by_the_name() -> None:
    assert source.media_of("a/b.html") == "text/html"
    assert source.media_of("a/b") == ""
