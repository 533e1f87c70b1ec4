"""A command in a room finds folders of its own, and finds them empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from worldos.lanes.room import Room


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def parts(room: Room) -> list[Path]:
    return [room.work, room.checkpoint, room.tmp]


def test_a_command_is_told_where_to_leave_what(room: Room) -> None:
    assert room.env == {"TMPDIR": str(room.tmp), "WOS_CHECKPOINT": str(room.checkpoint)}


def test_the_next_command_finds_nothing_of_the_one_before(room: Room, tmp_path: Path) -> None:
    for folder in parts(room):
        (folder / "deep" / "deeper").mkdir(parents=True)
        (folder / "deep" / "file").write_text("x")
        (folder / "file").write_text("x")
        (folder / "link").symlink_to(tmp_path)
    before = parts(room)
    room.clear()
    assert parts(room) == before
    assert [list(folder.iterdir()) for folder in parts(room)] == [[], [], []]
    assert tmp_path.is_dir()


def test_a_room_that_was_broken_gives_way_to_another(room: Room, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").write_text("x")
    room.work.rmdir()
    room.work.symlink_to(outside)
    broken = room.work
    room.clear()
    assert room.work != broken
    assert list(room.work.iterdir()) == []
    assert (outside / "mine").exists(), "what a link leads to is not ours to clear"


def test_a_room_that_is_gone_gives_way_to_another(room: Room) -> None:
    room.tmp.rmdir()
    room.clear()
    assert [list(folder.iterdir()) for folder in parts(room)] == [[], [], []]
