from __future__ import annotations

import contextlib
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldos.drivers.folder import PARTS_MAX, Folder, parts_of
from worldos.errors import BadRequest, NotAllowed, WorldError

SECRET = b"the owner's diary"


@pytest.fixture
def place(tmp_path):
    """A folder with links of every sort to what lies outside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "diary").write_bytes(SECRET)
    inside = tmp_path / "inside"
    (inside / "sub").mkdir(parents=True)
    (inside / "link").symlink_to(outside)
    (inside / "file").symlink_to(outside / "diary")
    (inside / "sub" / "up").symlink_to("../..")
    (inside / "root").symlink_to("/")
    (inside / "loop").symlink_to("loop")
    os.mkfifo(inside / "pipe")
    (inside / "own").write_bytes(b"mine")
    folder = Folder(str(inside))
    yield folder
    folder.close()


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../outside/diary",
        "a/../../outside",
        "/etc/passwd",
        "/",
        ".",
        "a//b",
        "a/",
        "a\0b",
        "sub/..",
        "\udc80",
        "x" * 256,
        "/".join("a" * (PARTS_MAX + 1)),
    ],
)
def test_a_path_that_could_lead_out_is_no_path(path):
    with pytest.raises(BadRequest):
        parts_of(path)


@pytest.mark.parametrize(
    "path", ["link/diary", "file", "sub/up/outside/diary", "root/etc/passwd", "loop", "link", "own/x", "pipe", "sub"]
)
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_CREAT])
def test_no_link_is_followed_and_nothing_but_files_is_opened(place, path, flags):
    with pytest.raises((NotAllowed, OSError)):
        os.close(place.open(path, flags))


def test_an_error_names_the_path_as_asked_and_not_this_machine(place, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        place.open("sub/absent", os.O_RDONLY)
    assert caught.value.filename == "sub/absent"
    assert str(tmp_path) not in str(caught.value)


def test_removing_a_link_removes_the_link_only(place, tmp_path):
    place.remove("file")
    place.remove("link")
    assert (tmp_path / "outside" / "diary").read_bytes() == SECRET


def test_the_folder_itself_cannot_be_touched(place):
    for call in (lambda: place.open("", os.O_RDONLY), lambda: place.remove(""), lambda: place.rename("own", "")):
        with pytest.raises(BadRequest):
            call()


def test_sizes_count_files_and_no_links(place):
    sizes = list(place.sizes())
    assert sum(sizes) == len(b"mine")
    assert len(sizes) == 8


def test_descriptors_are_given_back_whatever_happens(place):
    before = len(os.listdir("/proc/self/fd"))
    for path in ("own", "sub/absent", "link/diary", "pipe", "../x", "sub/up/x"):
        with contextlib.suppress(WorldError, OSError):
            os.close(place.open(path, os.O_RDONLY))
    place.names("sub")
    assert len(os.listdir("/proc/self/fd")) == before


parts = st.sampled_from(
    ["..", ".", "", "sub", "link", "up", "outside", "diary", "root", "file", "etc", "passwd", "own", "\0"]
)
paths = st.one_of(st.text(max_size=40), st.lists(parts, max_size=6).map("/".join))


@settings(max_examples=300)
@given(path=paths, verb=st.sampled_from(["read", "write", "stat", "list", "make", "rename", "remove"]))
def test_no_path_escapes(tmp_path_factory, path, verb):
    top = tmp_path_factory.mktemp("p", numbered=True)
    outside, inside = top / "outside", top / "inside"
    outside.mkdir()
    (outside / "diary").write_bytes(SECRET)
    (inside / "sub").mkdir(parents=True)
    (inside / "link").symlink_to(outside)
    (inside / "file").symlink_to(outside / "diary")
    (inside / "sub" / "up").symlink_to("../..")
    (inside / "root").symlink_to("/")
    (inside / "own").write_bytes(b"mine")
    folder = Folder(str(inside))
    try:
        seen = do(folder, verb, path)
    except (WorldError, OSError):
        seen = b""
    finally:
        folder.close()
    assert SECRET not in seen
    assert b"root:" not in seen
    assert sorted(entry.name for entry in outside.iterdir()) == ["diary"]
    assert (outside / "diary").read_bytes() == SECRET
    assert sorted(entry.name for entry in top.iterdir()) == ["inside", "outside"]


def do(folder, verb, path):
    if verb == "read":
        descriptor = folder.open(path, os.O_RDONLY)
        data = os.read(descriptor, 1000)
        os.close(descriptor)
        return data
    if verb == "write":
        descriptor = folder.open(path, os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, b"written")
        os.close(descriptor)
    elif verb == "stat":
        size = folder.stat(path).st_size
        assert size != len(SECRET)
    elif verb == "list":
        return " ".join(name for name, _ in folder.names(path)).encode().replace(b"diary", SECRET)
    elif verb == "make":
        folder.make(path)
    elif verb == "rename":
        folder.rename("own", path)
    else:
        folder.remove(path)
    return b""
