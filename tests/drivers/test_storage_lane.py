from __future__ import annotations

import os
import shutil
import tempfile

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from worldos.drivers import storage_lane
from worldos.drivers.storage_lane import AT_END, FILES_OPEN_MAX, PIECE_BYTES_MAX, StorageLane
from worldos.errors import BadRequest, NotAllowed, OverQuota, WorldError


@pytest.fixture
def lane(tmp_path):
    lane = StorageLane(str(tmp_path / "lease"), 1000)
    yield lane
    lane.rest()


def write(lane, path, data, mode="w"):
    handle = lane.command("open", path, mode)
    lane.command("write", handle, 0, data)
    lane.command("close", handle)


def test_a_file_is_written_read_listed_and_removed(lane):
    write(lane, "a/b/c", b"hello")
    handle = lane.command("open", "a/b/c", "r")
    assert lane.command("read", handle, 1, 3) == b"ell"
    assert lane.command("read", handle, 5, 3) == b""
    lane.command("close", handle)
    assert lane.command("list", "") == [("a", "folder", 0)]
    assert lane.command("list", "a/b") == [("c", "file", 5)]
    assert lane.command("stat", "a/b/c")["size"] == 5
    lane.command("remove", "a/b/c")
    lane.command("remove", "a/b")
    assert lane.command("list", "a") == []
    assert lane.command("usage") == (0, 1000)


def test_the_quota_is_exact_and_a_refused_piece_changes_nothing(lane):
    write(lane, "a", b"x" * 1000)
    handle = lane.command("open", "b", "w")
    with pytest.raises(OverQuota, match="leased 1000 bytes, used 1000"):
        lane.command("write", handle, 0, b"y")
    assert lane.command("size", handle) == 0
    again = lane.command("open", "a", "r+")
    assert lane.command("write", again, 0, b"z" * 1000) == 1000, "in place nothing grows"
    with pytest.raises(OverQuota):
        lane.command("truncate", again, 1001)
    lane.command("truncate", again, 999)
    assert lane.command("write", handle, 0, b"y") == 1


def test_a_hole_counts_as_what_it_pretends_to_be(lane):
    handle = lane.command("open", "a", "w")
    with pytest.raises(OverQuota):
        lane.command("write", handle, 1000, b"x")
    lane.command("write", handle, 999, b"x")
    assert lane.command("usage") == (1000, 1000)


def test_a_removed_file_counts_until_its_last_handle_is_closed(lane):
    write(lane, "a", b"x" * 600)
    handles = [lane.command("open", "a", "r") for _ in range(2)]
    lane.command("remove", "a")
    assert lane.command("usage")[0] == 600
    assert lane.command("read", handles[0], 0, 3) == b"xxx"
    lane.command("close", handles[0])
    assert lane.command("usage")[0] == 600
    lane.command("close", handles[1])
    assert lane.command("usage")[0] == 0


def test_opening_to_write_anew_frees_what_was_there(lane):
    write(lane, "a", b"x" * 900)
    write(lane, "a", b"y" * 800)
    assert lane.command("usage")[0] == 800


def test_renaming_over_a_file_frees_it(lane):
    write(lane, "a", b"x" * 400)
    write(lane, "b", b"y" * 500)
    lane.command("rename", "a", "b")
    assert lane.command("usage")[0] == 400
    lane.command("rename", "b", "b")
    assert lane.command("usage")[0] == 400
    lane.command("rename", "b", "deep/er/b")
    assert lane.command("list", "deep/er") == [("b", "file", 400)]


def test_appending_goes_to_the_end_whoever_else_writes(lane):
    one, two = (lane.command("open", "log", "a") for _ in range(2))
    assert lane.command("write", one, AT_END, b"1") == 1
    assert lane.command("write", two, AT_END, b"2") == 2
    assert lane.command("write", one, AT_END, b"3") == 3
    assert lane.command("read", lane.command("open", "log", "r"), 0, 9) == b"123"


def test_a_lane_that_starts_again_finds_what_is_there(tmp_path):
    first = StorageLane(str(tmp_path / "lease"), 1000)
    write(first, "a/b", b"x" * 700)
    second = StorageLane(str(tmp_path / "lease"), 1000)
    assert second.command("usage") == (700, 1000)
    with pytest.raises(OverQuota):
        write(second, "c", b"x" * 301)


def test_modes_mean_what_they_mean_in_python(lane):
    with pytest.raises(FileNotFoundError):
        lane.command("open", "a", "r")
    lane.command("open", "a", "x")
    with pytest.raises(FileExistsError):
        lane.command("open", "a", "x")
    with pytest.raises(OSError, match="Bad file descriptor"):
        lane.command("write", lane.command("open", "a", "r"), 0, b"x")
    lane.command("mkdir", "d")
    with pytest.raises(NotAllowed, match="regular"):
        lane.command("open", "d", "r")
    with pytest.raises(IsADirectoryError):
        lane.command("open", "d", "r+")


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("open", ("a", "rw")),
        ("open", ("../a", "w")),
        ("open", ("", "w")),
        ("read", (1, 0, PIECE_BYTES_MAX + 1)),
        ("read", (1, -1, 1)),
        ("read", (1, 1 << 63, 1)),
        ("read", (1, 0, -1)),
        ("read", (99, 0, 1)),
        ("write", (1, -2, b"x")),
        ("write", (1, 0, b"x" * (PIECE_BYTES_MAX + 1))),
        ("truncate", (1, -1)),
        ("mkdir", ("a/../b",)),
        ("remove", ("",)),
        ("format", ()),
    ],
)
def test_what_makes_no_sense_is_refused(lane, name, args):
    assert lane.command("open", "file", "w+") == 1
    with pytest.raises(BadRequest):
        lane.command(name, *args)


def test_open_files_and_names_are_bounded(lane, monkeypatch):
    for _ in range(FILES_OPEN_MAX):
        lane.command("open", "a", "w")
    with pytest.raises(OverQuota, match="open files"):
        lane.command("open", "a", "r")
    lane.rest()
    monkeypatch.setattr(storage_lane, "ENTRIES_MAX", 3)
    lane.command("open", "b", "w")
    lane.command("mkdir", "c")
    for refused in (("open", "d", "w"), ("mkdir", "d"), ("open", "c/d/e", "w")):
        with pytest.raises(OverQuota, match="files and folders"):
            lane.command(*refused)
    lane.command("remove", "c")
    lane.command("open", "d", "w")
    assert [name for name, _, _ in lane.command("list", "")] == ["a", "b", "d"]


def test_a_link_that_somebody_put_there_is_not_followed(lane, tmp_path):
    (tmp_path / "diary").write_text("secret")
    (tmp_path / "lease" / "link").symlink_to(tmp_path / "diary")
    for mode in ("r", "r+", "w", "a"):
        with pytest.raises(NotAllowed):
            lane.command("open", "link", mode)
    assert (tmp_path / "diary").read_text() == "secret"


def test_resting_closes_everything_and_the_files_stay(lane):
    before = len(os.listdir("/proc/self/fd"))
    write(lane, "a", b"x")
    lane.command("open", "a", "r")
    lane.rest()
    assert len(os.listdir("/proc/self/fd")) == before
    assert lane.command("stat", "a")["size"] == 1


QUOTA = 100
names = st.sampled_from(["a", "b", "d/a", "d/b", "d", "../a", ""])


class Leases(RuleBasedStateMachine):
    """Any sequence of commands keeps the quota, and the lane's count is what is really on the disk."""

    def __init__(self):
        super().__init__()
        self.top = tempfile.mkdtemp(prefix="wos-lane-")
        self.lane = StorageLane(os.path.join(self.top, "lease"), QUOTA)
        self.handles = []

    def teardown(self):
        self.lane.rest()
        shutil.rmtree(self.top)

    def say(self, *command):
        try:
            return self.lane.command(*command)
        except (WorldError, OSError):
            return None

    @rule(path=names, mode=st.sampled_from(list(storage_lane.MODES)))
    def open(self, path, mode):
        handle = self.say("open", path, mode)
        if handle is not None:
            self.handles.append(handle)

    @rule(pick=st.integers(0, 5), offset=st.integers(-1, 120), data=st.binary(max_size=60))
    def write(self, pick, offset, data):
        if self.handles:
            self.say("write", self.handles[pick % len(self.handles)], offset, data)

    @rule(pick=st.integers(0, 5), size=st.integers(0, 120))
    def truncate(self, pick, size):
        if self.handles:
            self.say("truncate", self.handles[pick % len(self.handles)], size)

    @rule(pick=st.integers(0, 5))
    def close(self, pick):
        if self.handles:
            self.say("close", self.handles.pop(pick % len(self.handles)))

    @rule(path=names)
    def remove(self, path):
        self.say("remove", path)

    @rule(old=names, new=names)
    def rename(self, old, new):
        self.say("rename", old, new)

    @invariant()
    def the_count_is_true_and_within_the_quota(self):
        sizes = {}
        entries = 0
        for folder, folders, files in os.walk(os.path.join(self.top, "lease")):
            entries += len(folders) + len(files)
            for name in files:
                entry = os.stat(os.path.join(folder, name))
                sizes[entry.st_ino] = entry.st_size
        for file in self.lane._open.values():
            entry = os.fstat(file.descriptor)
            sizes[entry.st_ino] = entry.st_size
        assert self.lane.used_bytes == sum(sizes.values()) <= QUOTA
        assert self.lane._entries == entries
        assert os.listdir(self.top) == ["lease"]


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=60, stateful_step_count=40)
