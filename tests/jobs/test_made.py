"""Two that did the same have the same digest; what differs in what counts has another."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from worldos.errors import PeerBroke
from worldos.jobs.logs import Log
from worldos.jobs.made import digest_of
from worldos.jobs.outputs import Spool, packed
from worldos.kernel.line.votes import PRINT_BYTES

Make = Callable[[Path], None]


def digest(folder: Path, make: Make, output: bytes = b"", noise: bytes = b"") -> bytes:
    folder.mkdir()
    make(folder)
    spool, log = Spool(folder.with_suffix(".spool")), Log(folder.with_suffix(".log"))
    log.digest_output()
    packed(sorted(folder.iterdir()), folder, spool)
    log.write(noise)
    log.put_out(output)
    return digest_of(spool, log)


def usual(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "b").write_bytes(b"two")
    (folder / "a").write_bytes(b"one")
    (folder / "link").symlink_to("a")


def later(folder: Path) -> None:
    usual(folder)
    os.utime(folder / "a", (1, 1))
    (folder / "a").chmod(0o640)


def other_text(folder: Path) -> None:
    usual(folder)
    (folder / "sub" / "b").write_bytes(b"Two")


def other_name(folder: Path) -> None:
    usual(folder)
    (folder / "sub" / "b").rename(folder / "sub" / "B")


def other_link(folder: Path) -> None:
    usual(folder)
    (folder / "link").unlink()
    (folder / "link").symlink_to("sub")


def executable(folder: Path) -> None:
    usual(folder)
    (folder / "a").chmod(0o755)


def nothing(folder: Path) -> None:
    del folder


def test_times_and_standard_error_do_not_matter(tmp_path: Path) -> None:
    first = digest(tmp_path / "1", usual, b"out", b"took 3 s")
    assert first == digest(tmp_path / "2", later, b"out", b"took 4 s")
    assert len(first) == 2 * PRINT_BYTES


@pytest.mark.parametrize("make", [other_text, other_name, other_link, executable, nothing])
def test_what_the_files_are_matters(tmp_path: Path, make: Make) -> None:
    first, second = digest(tmp_path / "1", usual), digest(tmp_path / "2", make)
    assert first[:PRINT_BYTES] != second[:PRINT_BYTES]
    assert first[PRINT_BYTES:] == second[PRINT_BYTES:]


def test_what_is_put_out_matters_by_itself(tmp_path: Path) -> None:
    first, second = digest(tmp_path / "1", usual, b"a"), digest(tmp_path / "2", usual, b"b")
    assert first[:PRINT_BYTES] == second[:PRINT_BYTES]
    assert first[PRINT_BYTES:] != second[PRINT_BYTES:]


def test_what_is_no_parcel_is_refused(tmp_path: Path) -> None:
    spool, log = Spool(tmp_path / "spool"), Log(tmp_path / "log")
    log.digest_output()
    spool.add(b"no tar at all" * 100)
    spool.finish()
    with pytest.raises(PeerBroke):
        digest_of(spool, log)
