"""A leased disk has files as Python's own, and an exact quota."""

from __future__ import annotations

import pytest

from worldos import BadRequest, NotAllowed, OverQuota, use
from worldos.sdk.storage import Entry


def test_a_file_is_written_read_listed_and_removed() -> None:
    with use("Storage", "1MB") as disk:
        with disk.open("a/b.txt", "w") as file:
            file.write("hello\nworld\n")
        with disk.open("a/b.txt") as file:
            assert file.readlines() == ["hello\n", "world\n"]
        assert disk.list() == [Entry("a", "folder", 0)]
        assert disk.list("a") == [Entry("b.txt", "file", 12)]
        about = disk.stat("a/b.txt")
        assert (about.type, about.size) == ("file", 12)
        disk.rename("a/b.txt", "c/d.txt")
        disk.remove("a")
        disk.mkdir("e/f")
        assert [entry.name for entry in disk.list()] == ["c", "e"]
        assert disk.usage() == (12, 10**6)


def test_bytes_come_back_from_any_place() -> None:
    data = bytes(range(256)) * 2000
    with use("Storage", "1MB") as disk:
        with disk.open("large", "wb") as file:
            file.write(data)
        with disk.open("large", "rb") as file:
            file.seek(1000)
            assert file.read(500) == data[1000:1500]
            file.seek(0)
            assert file.read() == data


def test_the_quota_is_exact() -> None:
    with use("Storage", 1000) as disk:
        with disk.open("a", "wb") as file:
            file.write(b"x" * 1000)
        over = disk.open("b", "wb")
        with pytest.raises(OverQuota):
            over.raw.write(b"x")  # type: ignore[attr-defined]
        assert disk.usage() == (1000, 1000)


def test_nothing_leads_out_of_the_folder() -> None:
    with use("Storage", "1MB") as disk:
        for path in ("../up", "/etc/passwd", "a//b"):
            with pytest.raises((BadRequest, NotAllowed)):
                disk.open(path)
        with pytest.raises(FileNotFoundError):
            disk.open("missing")
