"""A command in a room finds folders of its own, and leaves none."""

from __future__ import annotations

from pathlib import Path

import pytest

from worldos.errors import BadRequest
from worldos.lanes import wire
from worldos.lanes.room import Room


def test_a_room_is_there_for_one_command(tmp_path: Path) -> None:
    with Room(tmp_path, wire.Room(name="job-1-1")) as room:
        (room.work / "made").write_text("x")
        assert room.env["WOS_CHECKPOINT"] == str(room.checkpoint)
        assert Path(room.env["TMPDIR"]).is_dir()
    assert list(tmp_path.iterdir()) == []


def test_what_lies_in_the_way_of_a_room_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "job-1-1" / "work").mkdir(parents=True)
    (tmp_path / "job-1-1" / "work" / "old").write_text("x")
    with Room(tmp_path, wire.Room(name="job-1-1")) as room:
        assert list(room.work.iterdir()) == []


@pytest.mark.parametrize("name", ["", "..", "a/b", "a" * 97, "a\0b"])
def test_a_room_is_never_outside_of_its_worker(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadRequest):
        Room(tmp_path, wire.Room(name=name))
