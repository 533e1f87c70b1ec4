"""What a killed host left is removed; what a living one has is not."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

from worldos.lanes import leftovers


def test_a_folder_goes_when_nobody_holds_its_lock() -> None:
    begin = f"{leftovers.RUN_PREFIX}{os.getuid()}-test"
    alive, dead, bare = (Path(tempfile.mkdtemp(prefix=begin, dir=leftovers.temporary())) for _ in range(3))
    for folder in (alive, dead):
        (folder / "lock").write_bytes(b"")
        (folder / "room" / "disk").mkdir(parents=True)
    fd = os.open(alive / "lock", os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        leftovers.clear()
        assert alive.exists(), "its host lives"
        assert not dead.exists()
        assert bare.exists(), "its host is about to make the lock"
    finally:
        os.close(fd)
        leftovers.clear()
        bare.rmdir()
    assert not alive.exists()


def test_a_run_folder_stays_while_who_made_it_lives() -> None:
    folder, lock = leftovers.run_folder("test")
    leftovers.clear()
    assert folder.exists()
    os.close(lock)
    leftovers.clear()
    assert not folder.exists()


def test_run_folders_leave_room_for_the_path_of_a_door(tmp_path: Path) -> None:
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path / ("deep" * 10))
    try:
        assert leftovers.temporary() == Path("/tmp")
    finally:
        tempfile.tempdir = before
