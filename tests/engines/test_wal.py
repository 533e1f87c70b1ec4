"""The log as files: names, positions, and what of a segment is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engines.log_files import START, LogFiles, page

from worldos.engines import wal
from worldos.engines.wal import PAGE_BYTES, SEGMENT_BYTES, News
from worldos.errors import PeerBroke


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LogFiles:
    monkeypatch.chdir(tmp_path)
    return LogFiles()


def test_positions_and_names_are_those_of_postgresql() -> None:
    assert wal.position_of("0/3032F00") == 0x3032F00
    assert wal.position_of("1A/F0000028") == 0x1AF0000028
    assert wal.segment_name(0x3032F00) == "000000010000000000000003"
    assert wal.segment_name(0x1AF0000028) == "000000010000001A000000F0"
    for position in (0x3032F00, 0x1AF0000028, START):
        assert wal.named_start(wal.segment_name(position)) == wal.segment_start(position)
    for said in ("", "0", "0/G", "0/123456789", "-1/0"):
        with pytest.raises(PeerBroke):
            wal.position_of(said)


def test_pages_that_are_not_written_are_no_news_also_where_an_old_segment_lies_below(log: LogFiles) -> None:
    log.write(3)
    with Path(wal.segment_name(START) + wal.PARTIAL).open("r+b") as opened:
        opened.seek(3 * PAGE_BYTES)
        opened.write(page(START - SEGMENT_BYTES + 3 * PAGE_BYTES, b"of a segment that was used again"))
    assert wal.news(START, 1 << 20) == News(data=bytes(log.all), whole=False)
    assert wal.news(START + 2 * PAGE_BYTES, 1 << 20).data == bytes(log.all[-PAGE_BYTES:])
    assert wal.news(log.end, 1 << 20) == News(data=b"")
    assert wal.waiting_bytes(START) == 3 * PAGE_BYTES
    assert wal.waiting_bytes(log.end) == 0


def test_a_segment_is_whole_when_it_has_its_name_and_never_read_beyond(log: LogFiles) -> None:
    log.put(b"".join(page(START + at) for at in range(0, SEGMENT_BYTES, PAGE_BYTES)))
    log.write(1)
    last = wal.news(START + SEGMENT_BYTES - PAGE_BYTES, 1 << 20)
    assert (len(last.data), last.whole) == (PAGE_BYTES, True)
    assert not wal.news(START, 1 << 20).whole
    assert wal.news(START + SEGMENT_BYTES, 1 << 20).data == page(START + SEGMENT_BYTES, b"some records")
    assert wal.waiting_bytes(START) == SEGMENT_BYTES + PAGE_BYTES
    wal.let_go(START + SEGMENT_BYTES - 1)
    assert Path(wal.segment_name(START)).exists()
    wal.let_go(START + SEGMENT_BYTES)
    assert [file.name for file in Path().iterdir()] == [wal.segment_name(START + SEGMENT_BYTES) + ".partial"]
    assert wal.news(START, 1 << 20) == News(data=b"", gone=True)
    assert wal.news(log.end + SEGMENT_BYTES, 1 << 20) == News(data=b"")
