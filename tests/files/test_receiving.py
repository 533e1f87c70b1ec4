"""What others write where they may comes to the owner; what they may not write changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.files.depots import Site, files_of
from tests.files.homes import Family

from worldos.agent.home import open_key
from worldos.errors import NotThere
from worldos.files.files import Files
from worldos.files.receiving import SharingLoop, look_after, take_drops
from worldos.files.roots import make_first, own_roots
from worldos.files.sharing import given_by, known_given, remember
from worldos.store import given as records
from worldos.store import keys
from worldos.store.caps import Right
from worldos.store.entry import sign_entry
from worldos.store.given import Given

SECOND_NS = 1_000_000_000


def looked(files: Files, now_ns: int = 1) -> None:
    look_after(files, given_by(files.session), now_ns)


@pytest.mark.parametrize("size", [3, 200_000])
def test_what_somebody_wrote_with_a_code_becomes_a_version_of_the_owners(mine: Files, theirs: Files, size: int) -> None:
    mine.put(b"draft" * 2000, "text")
    code = mine.share("text", Right.WRITE)
    data = os.urandom(size)
    theirs.put_by_code(data, code)
    looked(mine)
    assert mine.read("text") == data
    assert len(mine.history("text")) == 2
    looked(mine)
    assert len(mine.history("text")) == 2
    theirs.remove("sent", recursive=True)
    assert mine.read("text") == data


def test_owner_and_writer_take_turns(mine: Files, theirs: Files, tmp_path: Path) -> None:
    mine.put(b"one" * 2000, "text")
    code = mine.share("text", Right.WRITE)
    theirs.put_by_code(b"two" * 2000, code)
    looked(mine)
    mine.put(b"three" * 2000, "text")
    looked(mine)
    theirs.open_code(code, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b"three" * 2000
    theirs.put_by_code(b"four" * 2000, code)
    looked(mine)
    assert mine.read("text") == b"four" * 2000


@pytest.mark.parametrize("size", [3, 200_000])
def test_what_is_dropped_is_copied_in_once_and_replaces_nothing(mine: Files, theirs: Files, size: int) -> None:
    mine.put(b"mine", "inbox/cv.pdf")
    code = mine.share("inbox", Right.APPEND)
    first, second = os.urandom(size), os.urandom(size)
    theirs.put_by_code(first, code, "cv.pdf")
    theirs.put_by_code(second, code, "cv.pdf")
    looked(mine)
    looked(mine)
    assert mine.read("inbox/cv.pdf") == b"mine"
    assert {mine.read(f"inbox/cv ({number}).pdf") for number in (2, 3)} == {first, second}
    assert len(mine.list("inbox")) == 3


def test_with_a_code_to_write_a_file_in_a_folder_is_replaced(mine: Files, theirs: Files) -> None:
    mine.put(b"old", "plan/text")
    theirs.put_by_code(b"new", mine.share("plan", Right.WRITE), "text")
    looked(mine)
    assert mine.read("plan/text") == b"new"
    assert len(mine.history("plan/text")) == 2


def test_a_file_that_cannot_be_had_yet_is_taken_later(mine: Files, theirs: Files, stores: Site) -> None:
    mine.make_folder("inbox")
    theirs.put_by_code(os.urandom(200_000), mine.share("inbox", Right.APPEND), "big")
    (given,) = given_by(mine.session)
    for depot in stores.depots[1:]:
        depot.end()
    before = {name.name for name in mine.list("inbox")}
    assert before == set()
    for depot in stores.depots[1:]:
        depot.start()
    assert take_drops(mine, given) == 1
    assert mine.stat("inbox/big").size_bytes == 200_000


def test_garbage_in_a_box_is_passed_over_once(mine: Files) -> None:
    mine.make_folder("inbox")
    mine.share("inbox", Right.APPEND)
    (given,) = given_by(mine.session)
    append = keys.append_of(given.write)
    junk = sign_entry(keys.drop_signer(append), keys.drop_log(append), 9, b"garbage")
    for store in mine.session.stores.reachable():
        store.link().append((junk,)).result(15)
    assert take_drops(mine, given) == 1
    assert take_drops(mine, given_by(mine.session)[0]) == 0
    assert mine.list("inbox") == []


def test_what_is_over_ends_by_itself(mine: Files, theirs: Files, tmp_path: Path) -> None:
    mine.put(b"x" * 9000, "note")
    code = mine.share("note", Right.READ, 50)
    looked(mine, 49)
    theirs.open_code(code, tmp_path / "got")
    looked(mine, 50)
    with pytest.raises(NotThere, match="withdrawn"):
        theirs.open_code(code, tmp_path / "got")
    assert mine.share("note", Right.READ) != code


def test_what_is_gone_holds_nothing_up(mine: Files, theirs: Files, tmp_path: Path) -> None:
    mine.put(b"x" * 9000, "gone")
    mine.put(b"y" * 9000, "stays")
    codes = [mine.share(name, Right.READ) for name in ("gone", "stays")]
    mine.remove("gone")
    mine.put(b"z" * 9000, "stays")
    looked(mine)
    theirs.open_code(codes[1], tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b"z" * 9000


def test_the_keeper_looks_where_there_is_something_and_opens_nothing_else(tmp_path: Path, stores: Site) -> None:
    family = Family(tmp_path / "family")
    home, reach = family.homes[0], stores.stores()
    opened: list[Files] = []

    def open_files() -> Files:
        opened.append(files_of(stores, tmp_path / "keeper"))
        return opened[-1]

    loop = SharingLoop(home, reach, open_files)
    assert loop.step(0) == 15 * SECOND_NS
    make_first(home)
    assert loop.step(0) == 15 * SECOND_NS
    assert opened == []
    roots = own_roots(home)
    assert roots is not None
    with files_of(stores, home.path) as files:
        files.session._roots = lambda: roots
        files.session.key = open_key(home)
        given = Given(write=b"w" * 32, path="note", kind="file", maker=files.session.key.public)
        remember(files.session, [given])
        assert loop.step(0) == 3 * SECOND_NS
        assert len(opened) == 1
        remember(files.session, [replace(given, ended=True)])
        assert loop.step(0) == 15 * SECOND_NS
    loop.close()
    reach.close()


def test_only_devices_of_the_account_say_what_is_given(mine: Files, theirs: Files) -> None:
    key = mine.session.roots.directory_keys[0]
    stranger, planted = theirs.session.key, Given(write=b"t" * 32, path="diary", kind="file", maker=b"m" * 32)
    log = records.given_log(key, mine.session.key.public)
    body = records.encode_given((planted,), key, b"n" * 12)
    for store in mine.session.stores.reachable():
        store.link().append((sign_entry(stranger, log, 99, body, register=True),)).result(15)
    assert known_given(mine.session.stores.reachable(), (key,), [mine.session.key.public]) == ()
