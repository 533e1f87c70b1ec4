"""Folders come back as they were: modes, times, links; what cannot be kept is named; what is unchanged is not read again."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import pytest
from tests.files.depots import Site, files_of

from worldos.errors import BadRequest, NotAllowed, NotThere
from worldos.files.about import Progress
from worldos.files.files import Files

MIB = 1 << 20


def fill(folder: Path, count: int = 60) -> None:
    dice = random.Random(7)
    for number in range(count):
        below = folder / f"f{number % 5}" / f"g{number % 3}"
        below.mkdir(parents=True, exist_ok=True)
        file = below / f"n{number}"
        file.write_bytes(dice.randbytes(dice.choice((0, 10, 4096, 5000, 90_000))))
        file.chmod(dice.choice((0o600, 0o644, 0o755)))
        os.utime(file, ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789 + number))
    (folder / "empty").mkdir()
    (folder / "big").write_bytes(dice.randbytes(2 * MIB))
    (folder / "link").symlink_to("f0/g0/n0")
    (folder / "astray").symlink_to("../nowhere")


def picture(folder: Path) -> dict[str, object]:
    """Everything that must be the same."""
    seen: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            seen[name] = ("link", os.readlink(path))
        elif path.is_dir():
            seen[name] = "folder"
        else:
            about = path.stat()
            seen[name] = (path.read_bytes(), stat.S_IMODE(about.st_mode), about.st_mtime_ns)
    return seen


def test_a_folder_comes_back_as_it_was(files: Files, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    fill(source)
    files.put(source, "kept")
    files.get("kept", tmp_path / "back")
    assert picture(tmp_path / "back") == picture(source)
    assert files.read("kept/f0/g0/n0") == (source / "f0/g0/n0").read_bytes()
    assert files.usage("kept").files == 63


def test_what_is_unchanged_is_not_kept_again(files: Files, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    fill(source)
    files.put(source, "kept")
    before = files.session.catalog
    with before.look() as directory:
        heads = directory.heads()
    files.put(source, "kept")
    with before.look() as directory:
        assert directory.heads() == heads, "not one entry was written"
    (source / "f1/g1/n1").write_bytes(b"new")
    (source / "f0/g0/n0").chmod(0o400)
    files.put(source, "kept")
    assert files.read("kept/f1/g1/n1") == b"new"
    assert files.stat("kept/f0/g0/n0").mode == 0o400
    assert len(files.history("kept/f1/g1/n1")) == 2


def test_what_is_no_file_is_left_out_and_named(files: Files, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "good").write_bytes(b"x")
    os.mkfifo(source / "pipe")
    Path(os.fsdecode(os.fsencode(source) + b"/bad\xff")).write_bytes(b"x")
    (source / "line\nbreak").write_bytes(b"x")
    notices: list[str] = []
    files.put(source, "kept", progress=lambda told: notices.append(told.notice) if told.notice else None)
    assert [each.name for each in files.list("kept")] == ["kept/good"]
    assert len(notices) == 3
    assert all("left out" in notice for notice in notices)


def test_a_put_that_is_interrupted_leaves_whole_files(five: Site, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(6):
        (source / f"n{number}").write_bytes(bytes([number]) * (MIB + MIB // 2))

    def stop(told: Progress) -> None:
        if told.done_files == 3:
            raise KeyboardInterrupt

    with files_of(five, tmp_path / "home") as files:
        with pytest.raises(KeyboardInterrupt):
            files.put(source, "kept", progress=stop)
        there = files.list("kept")
        assert 3 <= len(there) < 6
        for each in there:
            assert files.read(each.name) == (source / Path(each.name).name).read_bytes()


def test_a_get_leaves_nothing_half_done(files: Files, tmp_path: Path) -> None:
    files.put(bytes(3 * MIB), "big")
    target = tmp_path / "out"
    target.write_bytes(b"what was there")

    def stop(told: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.get("big", target, progress=stop)
    assert target.read_bytes() == b"what was there"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_nothing_is_written_through_a_link(files: Files, tmp_path: Path) -> None:
    files.put(b"x", "tree/a/file")
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "a").symlink_to(elsewhere)
    with pytest.raises(NotAllowed, match="link"):
        files.get("tree", out)
    assert list(elsewhere.iterdir()) == []


def test_what_is_not_there_cannot_be_put(files: Files, tmp_path: Path) -> None:
    with pytest.raises(NotThere):
        files.put(tmp_path / "nothing", "x")
    with pytest.raises(BadRequest):
        files.get("nothing", tmp_path / "x")
