"""Giving away: a code opens what it is for, follows what its owner does, and ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.files.depots import Site, files_of

from worldos.errors import BadRequest, NotThere
from worldos.files.files import Files
from worldos.files.sharing import end, given_by, newest, show
from worldos.store import keys
from worldos.store.caps import Right, read_code
from worldos.store.manifest import Contents

MIB = 1 << 20


def opened(files: Files, code: str, folder: Path) -> bytes:
    folder.mkdir(exist_ok=True)
    return (folder / files.open_code(code, folder).name).read_bytes()


@pytest.mark.parametrize("size", [0, 5, 4096, 4097, 2 * MIB + 3])
def test_a_code_of_sixty_characters_opens_a_file_for_another_account(
    mine: Files, theirs: Files, tmp_path: Path, size: int
) -> None:
    data = os.urandom(size)
    mine.put(data, "photos/one.jpg")
    code = mine.share("photos/one.jpg", Right.READ)
    assert len(code) == 60
    about = theirs.open_code(code.upper(), tmp_path)
    assert (about.name, about.size_bytes) == ("one.jpg", size)
    assert (tmp_path / "one.jpg").read_bytes() == data


def test_a_file_that_lies_in_a_pack_with_others_gives_away_itself_alone(
    mine: Files, theirs: Files, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    data = {f"{number}.bin": os.urandom(9000) for number in range(4)}
    for name, content in data.items():
        (folder / name).write_bytes(content)
    mine.put(folder, "pile")
    assert mine.ref("pile/2.bin").packed
    code = mine.share("pile/2.bin", Right.READ)
    assert opened(theirs, code, tmp_path / "out") == data["2.bin"]
    shown = theirs.session.shelf.manifest(read_code(code).read_secret)
    assert shown.contents.size_bytes == sum(piece.plain_bytes for piece in shown.contents.pieces) == 9000


def test_the_code_shows_the_newest_version_once_it_was_looked_after(mine: Files, theirs: Files, tmp_path: Path) -> None:
    mine.put(b"first" * 1000, "note")
    code = mine.share("note", Right.READ)
    assert opened(theirs, code, tmp_path / "a") == b"first" * 1000
    (given,) = given_by(mine.session)
    assert not show(mine, given)
    mine.put(b"second" * 1000, "note")
    assert show(mine, given)
    assert opened(theirs, code, tmp_path / "a") == b"second" * 1000
    assert mine.share("note", Right.READ) == code


def test_the_secret_of_a_code_is_none_of_the_owners_own(mine: Files) -> None:
    mine.put(os.urandom(MIB), "film")
    cap = read_code(mine.share("film", Right.READ))
    own = keys.read_of(mine.ref("film").write)
    assert cap.secret != own
    assert keys.verify_of(cap.secret) != keys.verify_of(own)


def test_a_code_that_was_taken_back_opens_nothing_and_the_owner_loses_nothing(
    mine: Files, theirs: Files, tmp_path: Path
) -> None:
    data = os.urandom(MIB)
    mine.put(data, "film")
    mine.copy("film", "film 2")
    code = mine.share("film", Right.READ)
    assert opened(theirs, code, tmp_path / "a") == data
    mine.unshare("film")
    with pytest.raises(NotThere, match="withdrawn by its owner"):
        theirs.open_code(code, tmp_path)
    assert mine.read("film") == mine.read("film 2") == data
    with pytest.raises(BadRequest, match="no code leads to film"):
        mine.unshare("film")
    again = mine.share("film", Right.READ)
    assert again != code
    assert opened(theirs, again, tmp_path / "b") == data


def test_a_store_that_slept_through_the_end_does_not_bring_the_code_back(
    mine: Files, theirs: Files, stores: Site, tmp_path: Path
) -> None:
    mine.put(b"x" * 10_000, "note")
    code = mine.share("note", Right.READ)
    stores.depots[3].end()
    mine.unshare("note")
    stores.depots[3].start()
    with pytest.raises(NotThere):
        theirs.open_code(code, tmp_path)


def test_a_folder_is_opened_with_all_that_is_in_it(mine: Files, theirs: Files, tmp_path: Path) -> None:
    data = {"a.txt": b"small", "deep/er/b.bin": os.urandom(MIB), "deep/c.bin": os.urandom(9000), "empty": b""}
    for name, content in data.items():
        mine.put(content, f"trip/{name}")
    mine.make_folder("trip/nothing")
    code = mine.share("trip", Right.READ)
    about = theirs.open_code(code, tmp_path / "trip")
    assert (about.folder, about.size_bytes) == (True, sum(map(len, data.values())))
    for name, content in data.items():
        assert (tmp_path / "trip" / name).read_bytes() == content
    assert (tmp_path / "trip" / "nothing").is_dir()


def test_a_folder_follows_its_owner_and_ends_as_a_whole(mine: Files, theirs: Files, tmp_path: Path) -> None:
    mine.put(os.urandom(9000), "trip/a")
    mine.put(os.urandom(9000), "trip/b")
    code = mine.share("trip", Right.READ)
    (given,) = given_by(mine.session)
    assert not show(mine, given)
    fresh = os.urandom(9000)
    mine.put(fresh, "trip/a")
    mine.put(b"new", "trip/c")
    mine.remove("trip/b")
    assert show(mine, given)
    theirs.open_code(code, tmp_path / "t")
    assert {file.name for file in (tmp_path / "t").iterdir()} == {"a", "c"}
    assert (tmp_path / "t" / "a").read_bytes() == fresh
    rows = newest(mine.session.stores, given.cap(Right.READ).secret).value
    assert isinstance(rows, tuple)
    mine.unshare("trip")
    for row in rows:
        if row.read:
            assert newest(theirs.session.stores, row.read).value is None
    with pytest.raises(NotThere):
        theirs.open_code(code, tmp_path / "t")


def test_another_device_of_the_account_can_take_a_code_back(
    mine: Files, theirs: Files, stores: Site, tmp_path: Path
) -> None:
    mine.put(b"x" * 9000, "note")
    code = mine.share("note", Right.READ)
    with files_of(stores, tmp_path / "phone", 2) as phone:
        phone.refresh()
        assert phone.share("note", Right.READ) == code
        phone.unshare("note")
    with pytest.raises(NotThere):
        theirs.open_code(code, tmp_path)
    assert all(given.ended for given in given_by(mine.session))


def test_what_cannot_be_given_so_is_told(mine: Files, tmp_path: Path) -> None:
    mine.put(b"x", "file")
    with pytest.raises(BadRequest, match="is a file: others can add to folders"):
        mine.share("file", Right.APPEND)
    with pytest.raises(NotThere):
        mine.share("nothing", Right.READ)
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "link").symlink_to("/etc/passwd")
    mine.put(folder, "links")
    with pytest.raises(BadRequest, match="is a link"):
        mine.share("links/link", Right.READ)
    code = mine.share("links", Right.READ)
    mine.open_code(code, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_rights_of_one_file_come_of_one_secret_and_each_opens_what_it_may(mine: Files, tmp_path: Path) -> None:
    mine.put(b"x" * 9000, "note")
    caps = {right: read_code(mine.share("note", right)) for right in (Right.READ, Right.VERIFY, Right.WRITE)}
    assert caps[Right.WRITE].narrow(Right.READ) == caps[Right.READ]
    assert caps[Right.READ].narrow(Right.VERIFY) == caps[Right.VERIFY]
    (given,) = given_by(mine.session)
    assert given.writes
    shown = newest(mine.session.stores, caps[Right.READ].secret)
    assert isinstance(shown.value, Contents)
    assert shown.value.name == "note"
    end(mine.session, given)
    assert given_by(mine.session)[0].ended
