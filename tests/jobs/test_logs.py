"""A log keeps its beginning and its end, whatever is written to it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from worldos.jobs.limits import LOG_END_BYTES, LOG_HEAD_BYTES
from worldos.jobs.logs import Log


def whole(log: Log) -> bytes:
    return b"".join(log.pieces())


def test_a_short_log_needs_no_file(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    log.write(b"one\n")
    log.write(b"two\n")
    assert whole(log) == b"one\ntwo\n"
    assert log.tail(4) == b"two\n"
    assert not (tmp_path / "log").exists()


def test_a_log_without_end_takes_eight_megabytes(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    line = b"x" * 999_999 + b"\n"
    for _ in range(40):
        log.write(line)
    log.write(b"the end\n")
    text = whole(log)
    assert (tmp_path / "log").stat().st_size == LOG_HEAD_BYTES + LOG_END_BYTES
    assert text.endswith(b"the end\n")
    assert b"bytes are cut out here" in text
    assert len(text) < LOG_HEAD_BYTES + LOG_END_BYTES + 100
    log.close()
    assert not (tmp_path / "log").exists()


def test_a_follower_hears_each_byte_once(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", head_bytes=100_000, end_bytes=200_000)
    heard = bytearray()
    for number in range(200):
        log.write(b"line %05d\n" % number * 100)
        start, data = log.read(len(heard), 1 << 20)
        assert start == len(heard)
        heard += data
    assert bytes(heard) == b"".join(b"line %05d\n" % number * 100 for number in range(200))
    log.close()


@given(
    st.lists(st.integers(0, 40), max_size=30),
    st.integers(0, 500),
    st.integers(1, 500),
)
def test_what_is_kept_is_the_beginning_and_the_end(sizes: list[int], offset: int, size: int) -> None:
    log = Log(Path("/nonexistent/never-made"), head_bytes=1 << 20)
    small = _Small()
    told = bytearray()
    for number, length in enumerate(sizes):
        data = bytes([number % 251]) * length
        told += data
        log.write(data)
        small.log.write(data)
    assert whole(log) == bytes(told)
    start, data = small.log.read(offset, size)
    assert data == bytes(told[start : start + len(data)])
    kept = small.log.head + small.log.end
    if len(told) > kept:
        assert small.log.cut_bytes == len(told) - kept
        assert whole_small(small.log) == bytes(told[: small.log.head]) + bytes(told[-small.log.end :])
    small.close()


class _Small:
    """A log of 16 bytes at the beginning and 40 at the end, with a file of its own."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.log = _SizedLog(Path(self._folder.name) / "log", 16, 40)

    def close(self) -> None:
        self.log.close()
        self._folder.cleanup()


class _SizedLog(Log):
    def __init__(self, path: Path, head: int, end: int) -> None:
        super().__init__(path, head, end)
        self.head, self.end = head, end


def whole_small(log: Log) -> bytes:
    return b"".join(piece for piece in log.pieces() if b"are cut out here" not in piece)
