"""What a node keeps of statements comes back after any crash, in its order; damage is named, and takes nothing before it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from worldos.agent.statement_store import MAGIC, StatementStore
from worldos.errors import CorruptFile
from worldos.kernel.effects import Notice, SaveStatements
from worldos.model.statements import Statement, Topic
from worldos.trust.keys import DeviceKey
from worldos.trust.statements import sign_statement, statement_id

KEY = DeviceKey.from_seed(bytes(32))


def said(number: int, size: int = 10) -> Statement:
    return sign_statement(KEY, Topic.SESSION, str(number).encode().ljust(size, b"."))


def keep(*statements: Statement, dropped: tuple[Statement, ...] = ()) -> SaveStatements:
    return SaveStatements(topic=Topic.SESSION, statements=statements, dropped=tuple(map(statement_id, dropped)))


def written(file: Path, *effects: SaveStatements) -> list[Notice]:
    notices: list[Notice] = []

    async def write() -> None:
        store = StatementStore(file, notices.append)
        store.read()
        for effect in effects:
            store.save(effect)
        store.close()

    asyncio.run(write())
    return notices


def read(file: Path) -> tuple[tuple[Statement, ...], list[Notice]]:
    notices: list[Notice] = []
    store = StatementStore(file, notices.append)
    kept = store.read()
    store.close()
    return kept, notices


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "statements"


def test_what_was_kept_comes_back_in_its_order_without_what_was_dropped(file: Path) -> None:
    written(file, keep(said(2)), keep(said(1), said(3)), keep(said(4), dropped=(said(1),)))
    assert read(file) == ((said(2), said(3), said(4)), [])
    assert file.stat().st_mode & 0o777 == 0o600


def test_cut_at_every_byte_it_gives_all_that_was_whole_and_goes_on(file: Path) -> None:
    written(file, keep(said(1)), keep(said(2)), keep(said(3)))
    data = file.read_bytes()
    kept_before = -1
    for size in range(len(data) + 1):
        file.write_bytes(data[:size])
        kept, notices = read(file)
        assert kept == tuple(said(number) for number in range(1, len(kept) + 1))
        assert len(kept) >= kept_before
        assert not notices
        kept_before = len(kept)
        written(file, keep(said(9)))
        assert read(file)[0] == (*kept, said(9))


def test_a_flipped_bit_is_named_or_changes_nothing_and_what_stood_before_it_is_kept(file: Path) -> None:
    written(file, keep(said(1)), keep(said(2)), keep(said(3)))
    data = file.read_bytes()
    for at in range(len(MAGIC), len(data), 7):
        file.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        kept, notices = read(file)
        assert set(kept) <= {said(1), said(2), said(3)}
        assert len(kept) < 3
        torn = at > len(data) - len(data) // 4
        assert notices or torn or len(kept) * (len(data) // 4) <= at
        if notices:
            assert file.with_name("statements.damaged").exists()


def test_another_file_in_its_place_is_left_alone(file: Path) -> None:
    file.write_bytes(b"something else entirely, and long enough")
    with pytest.raises(CorruptFile):
        read(file)
    assert file.read_bytes().startswith(b"something else")


def test_a_file_of_which_most_was_dropped_is_written_anew(file: Path) -> None:
    effects = [keep(said(n, 8000), dropped=(said(n - 1, 8000),)) for n in range(200)]
    written(file, *effects)
    assert file.stat().st_size < 600_000
    assert read(file)[0] == (said(199, 8000),)
