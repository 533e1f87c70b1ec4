"""Folders as strangers leave them: too deep, too full, with links out of them."""

from __future__ import annotations

import mmap
import os
import subprocess
from pathlib import Path

from worldos.lanes import sweep


def deep(folder: Path, depth: int) -> None:
    """Make folders in folders, deeper than a path is long and than Python's recursion goes."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d" * 20, dir_fd=here)
        below = os.open("d" * 20, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    file = os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here)
    os.write(file, b"x" * 8192)
    os.close(file)
    os.close(here)


def test_what_is_there_is_counted_as_it_lies_on_the_disk(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(b"x" * 100_000)
    with (tmp_path / "hollow").open("wb") as file:
        file.truncate(1 << 40)
    found = sweep.measure(tmp_path)
    assert found.files == 4
    assert 100_000 <= found.size_bytes < 200_000, "a hole takes no room"
    assert not found.is_endless


def test_no_link_is_followed(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "kept").write_bytes(b"x" * 100_000)
    (inside / "link").symlink_to(outside)
    (inside / "loop").symlink_to(inside)
    assert sweep.measure(inside).size_bytes < 100_000
    sweep.remove(inside)
    assert not inside.exists()
    assert (outside / "kept").exists()


def test_files_without_a_name_are_found_while_they_are_open_or_mapped_and_once(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    before = sweep.held([os.getpid()], device).size_bytes
    with (tmp_path / "gone").open("wb+") as file, (tmp_path / "named").open("wb") as named:
        file.write(b"x" * 300_000)
        file.flush()
        named.write(b"x" * 300_000)
        os.unlink(tmp_path / "gone")
        assert 300_000 <= sweep.held([os.getpid()] * 2, device).size_bytes - before < 400_000
        assert sweep.held([os.getpid()], device + 1).size_bytes == 0
        mapped = mmap.mmap(file.fileno(), 4096)
    if os.geteuid() == 0:
        assert 300_000 <= sweep.held([os.getpid()], device).size_bytes - before < 400_000, "by its mapping alone"
    mapped.close()
    assert sweep.held([os.getpid()], device).size_bytes == before


def test_a_tree_that_has_no_end_is_not_walked_to_its_end(tmp_path: Path) -> None:
    for name in range(30):
        (tmp_path / str(name)).mkdir()
    assert sweep.measure(tmp_path, files_max=10).is_endless
    deep(tmp_path, 20)
    assert sweep.measure(tmp_path, depth_max=10).is_endless
    assert not sweep.measure(tmp_path, depth_max=30).is_endless


def test_a_tree_deeper_than_a_path_can_be_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    deep(folder, 1500)
    assert sweep.measure(folder).is_endless
    sweep.remove(folder)
    assert not folder.exists()
    sweep.remove(folder)


def test_what_was_started_over_a_folder_is_ended_and_nothing_else(tmp_path: Path) -> None:
    here, other = (
        subprocess.Popen(["/bin/sh", "-c", "read x", str(tmp_path / name / "disk")], stdin=subprocess.PIPE)
        for name in ("folder", "folder2")
    )
    sweep.end_named(tmp_path / "folder")
    assert here.wait(15) == -9
    assert other.poll() is None
    other.kill()
    other.wait(15)
    for each in (here, other):
        each.stdin.close()


def test_what_cannot_be_looked_into_counts_as_endless_and_goes_all_the_same(tmp_path: Path) -> None:
    long = tmp_path / "long"
    long.mkdir()
    here = os.open(long, os.O_RDONLY)
    for _ in range(30):  # deeper than a path may be long, though not deep
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert sweep.measure(long).is_endless
    shut = tmp_path / "shut"
    (shut / "within").mkdir(parents=True)
    shut.chmod(0)
    assert sweep.measure(shut).is_endless or os.geteuid() == 0
    for folder in (long, shut):
        sweep.remove(folder)
        assert not folder.exists()
