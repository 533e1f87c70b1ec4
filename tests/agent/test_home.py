"""A home on disk: one agent at a time, whole files or the old ones, damage named and never overwritten."""

from __future__ import annotations

import fcntl
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from worldos.agent import home as homes
from worldos.errors import AlreadyRunning, CorruptFile, DiskFull, NotAllowed
from worldos.home import Home
from worldos.model.ids import NodeId


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_a_folder_is_made_for_this_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    homes.make_folder(folder)
    folder.chmod(0o755)
    homes.make_folder(folder)
    assert mode(folder) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    with pytest.raises(NotAllowed, match="belongs to another user"):
        homes.make_folder(folder)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskFull, match="file/home cannot be made"):
        homes.make_folder(tmp_path / "file" / "home")


def test_a_file_is_replaced_as_a_whole_and_is_private(home: Home) -> None:
    file = home.path / "thing"
    homes.write_durably(file, b"one")
    homes.write_durably(file, b"two")
    assert file.read_bytes() == b"two"
    assert mode(file) == 0o600
    assert list(home.path.iterdir()) == [file]


def test_where_writing_fails_the_old_file_stays_and_nothing_else(home: Home) -> None:
    target = home.path / "folder"
    target.mkdir()
    (target / "inside").touch()
    with pytest.raises(DiskFull):
        homes.write_durably(target, b"data")  # a folder is not replaced by a file
    assert list(home.path.iterdir()) == [target]


def test_a_home_has_one_agent(home: Home) -> None:
    lock = homes.lock(home)
    assert homes.running_pid(home) == os.getpid()
    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"):
        homes.lock(home)
    os.close(lock)
    assert homes.running_pid(home) is None
    os.close(homes.lock(home))


def test_who_only_looks_keeps_no_agent_from_starting_and_is_taken_for_none(home: Home) -> None:
    os.close(homes.lock(home))
    looking = os.open(home.lock_file, os.O_RDWR)
    fcntl.flock(looking, fcntl.LOCK_SH)
    assert homes.running_pid(home) is None, "two who look do not see each other"
    with ThreadPoolExecutor(1) as other:
        starting = other.submit(homes.lock, home)
        assert not starting.done()
        os.close(looking)
        os.close(starting.result(10))


def test_an_agent_that_has_just_begun_is_seen_by_its_number(home: Home) -> None:
    lock = homes.lock(home)
    os.ftruncate(lock, 0)  # as between taking the lock and saying who has it
    with ThreadPoolExecutor(1) as other:
        looking = other.submit(homes.running_pid, home)
        os.pwrite(lock, b"4711\n", 0)
        assert looking.result(10) == 4711
    os.close(lock)


def test_no_agent_runs_where_there_is_no_home(home: Home) -> None:
    assert homes.running_pid(Home(home.path / "none")) is None


def test_a_key_is_made_once_and_kept_private(home: Home) -> None:
    key = homes.open_key(home)
    home.key_file.chmod(0o644)
    assert homes.open_key(home).node_id == key.node_id
    assert mode(home.key_file) == 0o600


@pytest.mark.parametrize("seed", [b"", b"x" * 31, b"x" * 33])
def test_a_damaged_key_is_named_and_left_as_it_is(home: Home, seed: bytes) -> None:
    home.key_file.write_bytes(seed)
    with pytest.raises(CorruptFile, match=r"device\.key has \d+ bytes, not 32") as caught:
        homes.open_key(home)
    assert "wos join" in caught.value.hint
    assert home.key_file.read_bytes() == seed


def test_what_is_remembered_comes_back(home: Home) -> None:
    assert homes.read_remembered(home).boot == 0
    remembered = homes.Remembered(boot=3, peers={NodeId("b"): ("10.0.0.2:7370",)}, speed_mips=9)
    homes.write_remembered(home, remembered)
    assert homes.read_remembered(home) == remembered


def test_a_key_log_comes_back(home: Home) -> None:
    assert homes.read_keylog(home) == ()
    homes.write_keylog(home, ((b"body", b"signature"),))
    assert homes.read_keylog(home) == ((b"body", b"signature"),)


@pytest.mark.parametrize("data", [b"", b"garbage", homes.STATE_MAGIC, homes.STATE_MAGIC + os.urandom(200)])
def test_a_damaged_state_is_named_with_what_to_do(home: Home, data: bytes) -> None:
    home.state_file.write_bytes(data)
    with pytest.raises(CorruptFile, match="state is damaged") as caught:
        homes.read_remembered(home)
    assert f"mv {home.state_file}" in caught.value.hint
    assert home.state_file.read_bytes() == data


def test_a_file_that_cannot_be_read_is_named(home: Home) -> None:
    home.keylog_file.mkdir()
    with pytest.raises(NotAllowed, match="keylog cannot be read"):
        homes.read_keylog(home)
    home.key_file.mkdir()
    with pytest.raises(NotAllowed, match=r"device\.key cannot be read"):
        homes.open_key(home)
