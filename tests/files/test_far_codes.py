"""Codes between two accounts, each with an agent of its own: what is given away is opened there, written there, and ended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.accounts import two_accounts
from tests.agent.agents import RunningAgent

from worldos.errors import NotThere, Unreachable
from worldos.files.files import Files
from worldos.files.receiving import look_after
from worldos.files.sharing import given_by
from worldos.store.caps import Right

MIB = 1 << 20
WAIT_S = 60


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[RunningAgent, RunningAgent]]:
    """``office`` and ``den``: two accounts below one realm, neither of which lends anything to the other."""
    with two_accounts() as two:
        yield two


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_code_is_all_that_another_account_needs(two: tuple[RunningAgent, RunningAgent], tmp_path: Path) -> None:
    office, den = two
    data = os.urandom(2 * MIB)
    with Files.open(office.home) as mine, Files.open(den.home) as theirs:
        mine.put(data, "plans/house")
        mine.put(b"a note", "plans/note")
        with pytest.raises(NotThere):
            theirs.read("plans/house")
        code, folder_code = mine.share("plans/house", Right.READ), mine.share("plans", Right.READ)
        theirs.open_code(code, tmp_path / "house")
        assert (tmp_path / "house").read_bytes() == data
        theirs.open_code(folder_code, tmp_path / "plans")
        assert (tmp_path / "plans" / "note").read_bytes() == b"a note"
        mine.unshare("plans/house")
        with pytest.raises(NotThere, match="withdrawn"):
            theirs.open_code(code, tmp_path / "again")
        mine.unshare("plans")
        with pytest.raises((NotThere, Unreachable)):
            theirs.open_code(folder_code, tmp_path / "again")
    assert not office.home.given_file.exists(), "nothing is given away: the door is shut to others"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_what_another_account_writes_and_drops_comes_home(two: tuple[RunningAgent, RunningAgent]) -> None:
    office, den = two
    data = os.urandom(MIB)
    with Files.open(office.home) as mine, Files.open(den.home) as theirs:
        mine.put(b"draft" * 3000, "text")
        mine.make_folder("inbox")
        theirs.put_by_code(data, mine.share("text", Right.WRITE))
        theirs.put_by_code(data, mine.share("inbox", Right.APPEND), "cv.pdf")
        theirs.put_by_code(b"hello", mine.share("inbox", Right.APPEND), "hello.txt")
        look_after(mine, given_by(mine.session), 1)
        assert mine.read("text") == data
        assert mine.read("inbox/cv.pdf") == data
        assert mine.read("inbox/hello.txt") == b"hello"
