"""Opening codes: what is wrong with one is told, and what it leads to lands where it may."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worldos.errors import BadRequest, NotAllowed, NotThere, Unreachable
from worldos.files.files import Files
from worldos.files.opening import SENT
from worldos.store.caps import Cap, Right


def test_a_code_that_is_cut_or_leads_nowhere_is_told(theirs: Files, tmp_path: Path) -> None:
    code = Cap(right=Right.READ, secret=bytes(32)).code()
    with pytest.raises(BadRequest, match="1 of 60 characters are missing"):
        theirs.open_code(code[:-1], tmp_path)
    with pytest.raises(Unreachable, match="no store that can be reached knows what this code leads to") as caught:
        theirs.open_code(code, tmp_path)
    assert "must be on" in caught.value.hint


def test_codes_to_verify_and_to_append_bring_nothing(mine: Files, theirs: Files, tmp_path: Path) -> None:
    mine.put(b"x" * 9000, "in/note")
    with pytest.raises(NotAllowed, match="does not let you read"):
        theirs.open_code(mine.share("in", Right.VERIFY), tmp_path)
    with pytest.raises(NotAllowed, match="add files and read none") as caught:
        theirs.open_code(mine.share("in", Right.APPEND), tmp_path)
    assert "wos put" in caught.value.hint


def test_a_file_lands_under_its_name_or_under_the_one_that_was_said(mine: Files, theirs: Files, tmp_path: Path) -> None:
    mine.put(b"x" * 9000, "a/note.txt")
    code = mine.share("a/note.txt", Right.READ)
    assert theirs.open_code(code, tmp_path).name == "note.txt"
    assert theirs.open_code(code, tmp_path / "mine.txt").name == "mine.txt"
    assert (tmp_path / "note.txt").read_bytes() == (tmp_path / "mine.txt").read_bytes() == b"x" * 9000


def test_a_folder_is_not_written_through_a_link(mine: Files, theirs: Files, tmp_path: Path) -> None:
    mine.put(b"x" * 9000, "trip/deep/note")
    code = mine.share("trip", Right.READ)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "deep").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotAllowed, match="is a link"):
        theirs.open_code(code, tmp_path / "out")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_reader_writes_nothing(mine: Files, theirs: Files, tmp_path: Path) -> None:
    mine.put(b"x", "trip/note")
    with pytest.raises(NotAllowed, match="lets you read, not write"):
        theirs.put_by_code(b"y", mine.share("trip", Right.READ), "note")
    with pytest.raises(BadRequest, match="no name for one file"):
        theirs.put_by_code(b"y", mine.share("trip", Right.APPEND), "deep/note")
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadRequest, match="files go one by one"):
        theirs.put_by_code(tmp_path / "folder", mine.share("trip", Right.APPEND))


def test_what_is_sent_stays_the_senders_own_until_removed(mine: Files, theirs: Files) -> None:
    mine.make_folder("inbox")
    data = os.urandom(9000)
    theirs.put_by_code(data, mine.share("inbox", Right.APPEND), "cv.pdf")
    assert theirs.read(f"{SENT}/cv.pdf") == data


def test_into_what_was_withdrawn_nothing_is_put(mine: Files, theirs: Files) -> None:
    mine.put(b"x" * 9000, "note")
    code = mine.share("note", Right.WRITE)
    mine.unshare("note")
    with pytest.raises(NotThere, match="withdrawn"):
        theirs.put_by_code(b"y", code)
    assert not theirs.exists(SENT)
