"""A tape: its front says the last that was written, its parts stay until they are taken back, and nothing of it has a name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.files.depots import Site, files_of

from worldos.errors import Unreachable
from worldos.files.files import Files
from worldos.files.tape import Tape

SECRET = b"s" * 32


def alive_bytes(site: Site) -> int:
    """Return what the shares in all stores take, without what is in their trash."""
    owned = [row for depot in site.depots if depot.store is not None for row in depot.store.usage().owned]
    return sum(row.size_bytes for row in owned if row.kind == "share")


def test_the_last_front_counts_and_a_part_is_what_was_kept(five: Site, files: Files, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    tape = Tape(files.session, SECRET)
    assert tape.front() is None
    assert tape.keep(0, iter([data[:1000], data[1000:]])) == len(data)
    for said in (b"one", b"two", b"x" * 300_000):
        tape.write_front(said)
    with files_of(five, tmp_path / "other") as others:
        again = Tape(others.session, SECRET)
        assert again.front() == b"x" * 300_000
        assert b"".join(bytes(part) for part in again.read(0)) == data
        assert others.list() == []
        assert Tape(others.session, b"t" * 32).front() is None
        again.write_front(b"and on")
    assert tape.front() == b"and on"


def test_small_parts_are_kept_too(files: Files) -> None:
    tape = Tape(files.session, SECRET)
    tape.keep(7, [b"few"])
    assert b"".join(bytes(part) for part in tape.read(7)) == b"few"


def test_a_part_that_fails_half_way_leaves_nothing(files: Files, five: Site) -> None:
    tape = Tape(files.session, SECRET)
    before = alive_bytes(five)

    def broken():
        yield os.urandom(2_000_000)
        raise Unreachable("the machine is gone")

    with pytest.raises(Unreachable, match="the machine is gone"):
        tape.keep(1, broken())
    assert alive_bytes(five) == before


def test_what_was_taken_back_takes_no_room_and_the_rest_stays(files: Files, five: Site) -> None:
    tape = Tape(files.session, SECRET)
    before = alive_bytes(five)
    for number in range(3):
        tape.keep(number, [os.urandom(200_000)])
    tape.write_front(b"three")
    full = alive_bytes(five)
    tape.take_back([0, 1, 9])
    assert before < alive_bytes(five) < before + (full - before) / 2
    assert len(b"".join(bytes(part) for part in tape.read(2))) == 200_000
    tape.end([0, 1, 2])
    assert alive_bytes(five) - before < 10_000
    assert tape.front() is None
    fresh = Tape(files.session, SECRET)
    assert fresh.front() is None
    fresh.write_front(b"another")  # goes on from the number of the one before
    assert tape.front() == b"another"
