"""Files by name: what is put comes back, under its name, with its history, as every device sees it."""

from __future__ import annotations

import io
import os
import random
import threading
from pathlib import Path

import pytest
from tests.files.depots import Site, files_of

from worldos.errors import BadRequest, NotThere
from worldos.files.about import Progress
from worldos.files.files import Files

MIB = 1 << 20


def bytes_of(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 70_000, 300_000, 5 * MIB + 17, 9 * MIB])
def test_what_is_put_comes_back(files: Files, size: int) -> None:
    data = bytes_of(size)
    about = files.put(data, "a/b")
    assert (about.name, about.size_bytes) == ("a/b", size)
    assert files.read("a/b") == data
    assert files.stat("a/b").digest == about.digest
    assert [each.name for each in files.list("a")] == ["a/b"]


def test_any_part_can_be_read(files: Files) -> None:
    data = bytes_of(6 * MIB)
    files.put(data, "big")
    for offset, length in ((0, 1), (MIB - 1, 2), (6 * MIB - 5, 100), (3 * MIB, MIB), (7 * MIB, 5), (2 * MIB, 0)):
        assert files.read("big", offset, length) == data[offset : offset + length]
    with files.reader("big") as file:
        file.seek(-10, io.SEEK_END)
        assert file.read() == data[-10:]
        file.seek(100)
        assert file.read(MIB) == data[100 : 100 + MIB]
        assert file.read(MIB) == data[100 + MIB : 100 + 2 * MIB]


def test_text_is_packed_and_comes_back(files: Files) -> None:
    text = b"".join(b"line %d of a log that repeats itself\n" % number for number in range(200_000))
    files.put(text, "log")
    assert files.read("log") == text
    assert files.usage("log").stored_bytes < 5 * len(text) // 2


def test_a_file_has_its_name_when_it_is_closed_and_not_before(files: Files) -> None:
    files.put(b"old", "name")
    with files.writer("name") as file:
        file.write(bytes_of(MIB))
        assert files.read("name") == b"old"
    assert files.read("name") == bytes_of(MIB)
    with pytest.raises(TypeError), files.writer("name") as file:
        file.write([b"half", "and then what is no bytes"])  # type: ignore[arg-type]
    assert files.read("name") == bytes_of(MIB)
    file = files.writer("other")
    file.write(b"something")
    file.discard()  # type: ignore[attr-defined]
    assert not files.exists("other")


def test_names_move_are_copied_and_go(files: Files) -> None:
    files.put(b"one", "a/x")
    files.copy("a", "b")
    files.move("a/x", "c/y")
    assert {each.name for each in files.walk()} == {"a", "b", "b/x", "c", "c/y"}
    with pytest.raises(BadRequest, match="not empty"):
        files.remove("b")
    files.remove("b", recursive=True)
    assert not files.exists("b/x")
    files.undelete("b/x")
    assert files.read("b/x") == b"one"
    with pytest.raises(NotThere):
        files.read("a/x")


def test_history_has_every_version(files: Files) -> None:
    for text in (b"first", b"second", b"third"):
        files.put(text, "note")
    versions = files.history("note")
    assert [each.size_bytes for each in versions] == [5, 6, 5]
    got = io.BytesIO()
    files.get("note", got, version=versions[1].id)
    assert got.getvalue() == b"second"


def test_another_device_sees_the_same(five: Site, tmp_path: Path) -> None:
    data = bytes_of(2 * MIB)
    with files_of(five, tmp_path / "one", 0) as one, files_of(five, tmp_path / "two", 1) as two:
        one.put(data, "shared/big")
        two.refresh()
        assert two.read("shared/big") == data
        two.put(b"from two", "shared/small")
        one.refresh()
        assert one.read("shared/small") == b"from two"


def test_two_programs_of_one_home_write_one_log(five: Site, tmp_path: Path) -> None:
    with files_of(five, tmp_path / "home") as one, files_of(five, tmp_path / "home") as two:
        for number in range(5):
            one.put(b"1", f"one/{number}")
            two.put(b"2", f"two/{number}")
        assert len(one.list("two")) == 5
        assert len(two.list("one")) == 5


def test_many_threads_write_at_once(files: Files) -> None:
    def work(number: int) -> None:
        for turn in range(5):
            files.put(b"%d" % turn, f"t{number}/{turn}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(not each.folder for each in files.walk()) == 40


@pytest.mark.parametrize("name", ["..", "a/../b", "a\0b", "x" * 300, "a//b", "\x1b[31m", "a/" * 80])
def test_a_name_that_cannot_be_is_refused_and_says_why(files: Files, name: str) -> None:
    with pytest.raises(BadRequest):
        files.put(b"x", name)
    assert files.list() == []


def test_both_normal_forms_are_one_name(files: Files) -> None:
    files.put(b"x", "cafe\u0301")
    assert files.read("caf\u00e9") == b"x"


def test_a_name_cannot_be_a_file_and_a_folder(files: Files) -> None:
    files.put(b"x", "a")
    with pytest.raises(BadRequest, match="a file"):
        files.put(b"y", "a/b")
    files.make_folder("f")
    with pytest.raises(BadRequest, match="folder"):
        files.put(b"y", "f")
    with pytest.raises(BadRequest, match="folder"):
        files.writer("f")


def test_a_file_that_keeps_changing_is_refused_and_leaves_what_was_there(files: Files, tmp_path: Path) -> None:
    source = tmp_path / "log"
    source.write_bytes(bytes_of(MIB))
    files.put(source, "log")

    def grow(progress: Progress) -> None:
        with source.open("ab") as file:
            file.write(os.urandom(progress.done_bytes % 7 + 1))

    with pytest.raises(BadRequest, match="changes while it is read"):
        files.put(source, "log", progress=grow)
    assert files.read("log") == bytes_of(MIB)


def test_a_stream_is_put(files: Files) -> None:
    data = bytes_of(3 * MIB)
    files.put(io.BytesIO(data), "stream")
    got = io.BytesIO()
    files.get("stream", got)
    assert got.getvalue() == data


def test_what_is_told_of_storage_adds_up(files: Files) -> None:
    files.put(bytes_of(MIB), "big")
    files.put(b"tiny", "tiny")
    usage = files.usage()
    assert (usage.files, usage.plain_bytes) == (2, MIB + 4)
    status = {each.name: each for each in files.status()}
    assert (status["big"].code, status["big"].survives, status["big"].debt) == ("2-of-5", 3, 0)
    storage = files.storage()
    assert (storage.k, storage.n, storage.survives, storage.below_policy) == (2, 5, 3, False)
    assert sum(row.used_bytes for row in storage.stores) == usage.stored_bytes
    assert len(files.data_at("big")) == 5
