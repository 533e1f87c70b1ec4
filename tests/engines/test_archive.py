"""The archive: base and log are found again to the last beat, without a gap, in bounded room, whatever failed in between."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.engines.log_files import START, LogFiles, page
from tests.files.depots import Site, files_of, site
from tests.patience import until

from worldos.engines import archive as archives
from worldos.engines.archive import Archive, Behind, find, read_front
from worldos.engines.limits import TAIL_BYTES_MAX
from worldos.engines.wal import PAGE_BYTES, SEGMENT_BYTES
from worldos.errors import Damaged, PeerBroke, WorldError
from worldos.files.files import Files

pytestmark = pytest.mark.slow


@pytest.fixture
def stores() -> Iterator[Site]:
    with site(3) as made:
        yield made


@pytest.fixture
def files(stores: Site, tmp_path: Path) -> Iterator[Files]:
    with files_of(stores, tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[LogFiles]:
    with tempfile.TemporaryDirectory(prefix="wos-g-") as folder:
        monkeypatch.chdir(folder)
        made = LogFiles()
        made.write(1)
        yield made


@pytest.fixture
def kept(files: Files, log: LogFiles) -> Iterator[Archive]:
    made = archive(files, log)
    yield made
    made.stop()


def archive(files: Files, log: LogFiles, told: list[Behind] | None = None) -> Archive:
    return Archive("shop", files, log, (told if told is not None else []).append, find(files, "shop"))


def found(files: Files) -> tuple[bytes, bytes]:
    """What a use would begin from now: the base, and the log from the segment that it began in."""
    left = find(files, "shop")
    assert left is not None
    log = b""
    first: tuple[str, int] | None = None
    for name, offset, data in left.log():
        first = first or (name, offset)
        assert offset == len(log) % SEGMENT_BYTES
        log += data
    assert first is not None
    assert first[1] == 0
    return b"".join(left.base()).rstrip(b"."), log


def share_bytes(stores: Site) -> int:
    owned = [row for depot in stores.depots if depot.store is not None for row in depot.store.usage().owned]
    return sum(row.size_bytes for row in owned if row.kind == "share")


def test_what_was_kept_is_found_to_the_last_beat_and_on_its_last_page(
    files: Files, log: LogFiles, kept: Archive
) -> None:
    assert find(files, "shop") is None
    kept.beat()
    assert found(files) == (b"base 1", bytes(log.all))
    log.write(2)
    kept.beat()
    log.write_on(b"and more of it")
    kept.beat()
    assert found(files) == (b"base 1", bytes(log.all))
    assert log.bases == 1


def test_a_beat_without_news_writes_nothing(files: Files, log: LogFiles, kept: Archive) -> None:
    kept.beat()
    before = (kept._tape._seq, kept._count)
    kept.beat()
    assert (kept._tape._seq, kept._count) == before
    log.write_on(b"news")
    kept.beat()
    assert found(files)[1] == bytes(log.all)


def test_a_long_log_lies_in_parts_and_goes_over_segments(files: Files, log: LogFiles, kept: Archive) -> None:
    kept.beat()
    log.write(TAIL_BYTES_MAX // PAGE_BYTES + 5, b"")
    kept.beat()
    assert found(files)[1] == bytes(log.all)
    log.put(bytes(START + SEGMENT_BYTES - log.end))  # the rest of a segment that was closed early
    log.write(3)
    kept.beat()
    assert found(files)[1] == bytes(log.all)
    left = find(files, "shop")
    assert left is not None
    assert [piece.position for piece in left.front.pieces][:1] == [START]
    assert left.front.position == START + SEGMENT_BYTES
    assert not list(Path().glob("*1"))  # what is kept is let go at the server


def test_the_next_use_ends_what_it_came_from_once_it_can_stand_in_for_it(
    files: Files, log: LogFiles, kept: Archive, stores: Site
) -> None:
    kept.beat()
    kept.stop()
    first = find(files, "shop")
    second = archive(files, log)
    assert found(files) == (b"base 1", bytes(log.all))
    log.write(1)
    second.beat()
    assert found(files) == (b"base 2", bytes(log.all))
    assert first is not None
    assert first.tape.front() is None
    with pytest.raises(WorldError):
        b"".join(first.base())
    second.end()
    assert find(files, "shop") is None
    assert [about.name for about in files.list("databases")] == []
    assert share_bytes(stores) == 0


def test_a_use_that_was_too_short_for_a_beat_ends_what_it_came_from_too(
    files: Files, log: LogFiles, kept: Archive, stores: Site
) -> None:
    kept.beat()
    archive(files, log).end()
    assert find(files, "shop") is None
    assert files.list("databases") == []
    assert share_bytes(stores) == 0


def test_two_uses_of_one_name_are_kept_beside_each_other(files: Files, log: LogFiles, kept: Archive) -> None:
    kept.beat()
    other = archive(files, log)
    other.beat()
    log.write(1)
    kept.beat()  # sees that the name leads elsewhere
    assert kept.path != other.path
    kept.beat()  # and has a base of its own there
    assert {about.name for about in files.list("databases")} == {kept.path, other.path}
    assert found(files) == (b"base 2", bytes(log.all[:PAGE_BYTES]))
    kept.end()
    assert [about.name for about in files.list("databases")] == [other.path]


def test_a_name_that_was_removed_leads_to_it_again(files: Files, log: LogFiles, kept: Archive) -> None:
    kept.beat()
    files.remove(kept.path)
    log.write(1)
    kept.beat()
    assert found(files) == (b"base 1", bytes(log.all))


def test_a_log_that_outgrew_its_base_begins_anew_and_what_lay_before_is_taken_back(
    files: Files, log: LogFiles, kept: Archive, stores: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "LOG_BYTES_MIN", SEGMENT_BYTES)
    monkeypatch.setattr(archives, "LOG_PER_BASE", 0)
    kept.beat()
    log.put(bytes(START + SEGMENT_BYTES - log.end))
    log.write(TAIL_BYTES_MAX // PAGE_BYTES + 5, b"")
    kept.beat()
    assert log.bases == 1
    before = share_bytes(stores)
    log.write(1)
    kept.beat()
    assert log.bases == 2
    assert found(files) == (b"base 2", log.from_segment_of(log.end))
    assert share_bytes(stores) <= before


def test_what_cannot_be_kept_is_told_and_comes_when_it_can(
    files: Files, log: LogFiles, stores: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Behind] = []
    kept = archive(files, log, told)
    kept.beat()
    log.write(3)
    for depot in stores.depots:
        depot.end()
    kept.keep_every(0.05)
    until(lambda: told and told[-1].why, "it is told that it is behind")
    assert "store" in told[-1].why
    for depot in stores.depots:
        depot.start()
    until(lambda: not told[-1].why, "it is whole again", 20)
    kept.stop()
    assert found(files)[1] == bytes(log.all)


def test_stores_that_are_full_are_told_and_what_was_kept_before_counts(log: LogFiles, tmp_path: Path) -> None:
    told: list[Behind] = []
    with site(2, capacity_bytes=2_000_000) as stores, files_of(stores, tmp_path / "full") as files:
        kept = archive(files, log, told)
        kept.beat()
        before = found(files)
        kept.keep_every(0.05)
        for _ in range(4_000_000 // PAGE_BYTES):
            log.put(page(log.end, os.urandom(8000)))
        until(lambda: told and told[-1].why, "it is told that it is behind")
        kept.stop()
        assert found(files)[0] == before[0]
        assert bytes(log.all).startswith(found(files)[1])


def test_what_waits_too_long_is_let_go_and_a_new_base_closes_the_gap(
    files: Files, log: LogFiles, kept: Archive, stores: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "LAG_BYTES_MAX", SEGMENT_BYTES // 2)
    kept.beat()
    before = bytes(log.all)
    log.put(bytes(START + SEGMENT_BYTES - log.end))
    log.write(2)
    assert kept._fall_behind() > SEGMENT_BYTES // 2
    assert not Path("000000010000000000000001").exists()
    assert found(files) == (b"base 1", before)  # it counts until there is a new one
    kept.beat()
    assert found(files) == (b"base 2", log.from_segment_of(log.end))


def test_what_was_kept_counts_until_the_base_that_closes_a_gap_has_its_log(
    files: Files, log: LogFiles, kept: Archive
) -> None:
    kept.beat()
    before = bytes(log.all)
    log.put(bytes(START + SEGMENT_BYTES - log.end))
    log.write(2)
    Path("000000010000000000000001").unlink()
    with pytest.raises(Damaged):
        kept.beat()
    received = log.end
    log.end += 3 * PAGE_BYTES
    base = log.base()
    log.end = received
    log.base = lambda: base  # type: ignore[method-assign]
    kept.beat()
    assert found(files) == (b"base 1", before)
    log.write(3)
    kept.beat()
    assert found(files) == (b"base 2", log.from_segment_of(log.end))


def test_a_part_of_the_log_that_is_gone_at_the_server_is_a_gap_too(files: Files, log: LogFiles, kept: Archive) -> None:
    kept.beat()
    log.put(bytes(START + SEGMENT_BYTES - log.end))
    log.write(2)
    Path("000000010000000000000001").unlink()
    with pytest.raises(Damaged, match="a part of the log is gone"):
        kept.beat()
    kept.beat()
    assert found(files) == (b"base 2", log.from_segment_of(log.end))


def test_a_log_that_is_not_received_is_told_though_there_is_no_news(log: LogFiles, files: Files) -> None:
    told: list[Behind] = []
    kept = archive(files, log, told)
    kept.keep_every(0.05)
    until(lambda: told[-1].why == "", "it is kept")
    assert told[0].why == "its base backup is being made"
    log.ended = "pg_receivewal ended"
    until(lambda: told[-1].why == "pg_receivewal ended", "it is told")
    kept.stop()


def test_a_base_counts_only_with_the_log_up_to_its_end(files: Files, log: LogFiles, kept: Archive) -> None:
    there = log.end
    log.end += 3 * PAGE_BYTES  # the base ends in a page that was not received yet
    base = log.base()
    log.end = there
    log.base = lambda: base  # type: ignore[method-assign]
    kept.beat()
    assert find(files, "shop") is None
    assert kept._unwritten
    log.write(3)
    kept.beat()
    assert found(files) == (b"base 1", bytes(log.all))


def test_a_front_with_a_gap_or_of_another_kind_is_not_believed(files: Files, log: LogFiles, kept: Archive) -> None:
    kept.beat()
    log.write(TAIL_BYTES_MAX // PAGE_BYTES + 5, b"")
    kept.beat()
    left = find(files, "shop")
    assert left is not None
    front = left.front
    change = msgspec.structs.replace
    for broken in (
        change(front, pieces=()),
        change(front, pieces=front.pieces * 2),
        change(front, position=front.position + PAGE_BYTES),
        change(front, tail=b"", base=change(front.base, end=1 << 40)),
        change(front, base=change(front.base, start=0)),
    ):
        with pytest.raises(PeerBroke, match="a gap"):
            read_front(msgspec.msgpack.encode(broken))
    for said in (b"", b"\x00", os.urandom(100), msgspec.msgpack.encode({"format": 2})):
        with pytest.raises(PeerBroke):
            read_front(said)
    files.put(b"by hand", "databases/other.wal")
    with pytest.raises(PeerBroke, match="no archive"):
        find(files, "other")
