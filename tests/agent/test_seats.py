"""Seats on disk: what was written is there in the next life, whatever the realm is called; a dropped seat leaves nothing."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from worldos.agent.seats import Seats, has_seats
from worldos.kernel.effects import Persist
from worldos.kernel.stored import Recovered
from worldos.model.ids import NodeId
from worldos.model.raft import Config, Entry, Vote
from worldos.model.realm import RealmId


async def written(folder: Path, realm: RealmId) -> list[tuple[RealmId, int]]:
    """Write a vote and an entry for a realm, and wait until that is on disk."""
    done: list[tuple[RealmId, int]] = []
    safe = asyncio.Event()

    def note(of: RealmId, number: int) -> None:
        done.append((of, number))
        safe.set()

    seats = Seats(folder, note, lambda of, why: pytest.fail(f"{of}: {why}"))
    entry = Entry(term=2, index=1, config=Config(voters=(NodeId("a"),)))
    seats.append(Persist(realm=realm, number=1, vote=Vote(term=2, voted=NodeId("a")), entries=(entry,), snapshot=None))
    async with asyncio.timeout(30):
        await safe.wait()
    seats.close()
    return done


async def recovered(folder: Path) -> dict[RealmId, Recovered]:
    seats = Seats(folder, lambda *_: None, lambda *_: None)
    found = seats.open_all()
    seats.close()
    return found


@pytest.mark.parametrize("name", ["acme", "../../etc", ".", "a/b", "täter", "x" * 64])
def test_a_seat_is_there_in_the_next_life_and_never_outside_its_folder(tmp_path: Path, name: str) -> None:
    folder, realm = tmp_path / "council", RealmId(name)
    assert not has_seats(folder)
    assert asyncio.run(written(folder, realm)) == [(realm, 1)]
    assert has_seats(folder)
    found = asyncio.run(recovered(folder))
    assert list(found) == [realm]
    assert found[realm].vote == Vote(term=2, voted=NodeId("a"))
    assert not found[realm].damaged
    assert {path.name for path in tmp_path.iterdir()} == {"council", "council-witness"}


def test_a_folder_from_an_old_backup_is_known_as_such(tmp_path: Path) -> None:
    folder, realm = tmp_path / "council", RealmId("acme")
    asyncio.run(written(folder, realm))
    shutil.copytree(folder, tmp_path / "backup")
    asyncio.run(recovered(folder))
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "backup", folder)
    assert asyncio.run(recovered(folder))[realm].damaged


def test_a_dropped_seat_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "council"

    async def drop() -> None:
        seats = Seats(folder, lambda *_: None, lambda *_: None)
        seats.open_all()
        seats.drop(RealmId("acme"))
        seats.drop(RealmId("unknown"))
        seats.close()

    asyncio.run(written(folder, RealmId("acme")))
    asyncio.run(drop())
    assert list(folder.iterdir()) == []


def test_a_seat_that_cannot_be_written_is_named_and_others_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "council"
    folder.mkdir()
    (folder / "r-bad").write_text("a file where a folder belongs")
    failed: list[tuple[RealmId, str]] = []

    async def go() -> None:
        seats = Seats(folder, lambda *_: None, lambda realm, why: failed.append((realm, why)))
        seats.append(Persist(realm=RealmId("bad"), number=1, vote=Vote(term=1), entries=(), snapshot=None))
        seats.close()

    asyncio.run(go())
    assert failed[0][0] == "bad"
    assert list(asyncio.run(written(folder, RealmId("good")))) == [(RealmId("good"), 1)]
