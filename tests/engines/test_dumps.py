"""Dumps: kept under one name, never over what another kept, and never lost when the files refuse."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, new_home, running, until

from worldos.engines.dumps import Dumps
from worldos.errors import Unreachable, WorldError
from worldos.files.files import Files

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def agent() -> Iterator[RunningAgent]:
    with tempfile.TemporaryDirectory(prefix="wos-g-") as folder, running(new_home(Path(folder) / "d")) as agent:
        yield agent


@pytest.fixture
def home(agent: RunningAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLDOS_HOME", str(agent.home.path))


def read(name: str) -> bytes:
    with Files.open() as files:
        return files.read(name)


@pytest.mark.usefixtures("home")
def test_what_was_kept_is_what_comes_next(tmp_path: Path) -> None:
    first = Dumps("one", tmp_path)
    assert first.last() is None
    assert first.keep(lambda: iter([b"ab", b"cd"])) == "databases/one.dump"
    first.close()
    second = Dumps("one", tmp_path)
    last = second.last()
    assert last is not None
    assert last.read() == b"abcd"
    assert second.keep(lambda: iter([b"newer"])) == "databases/one.dump"
    second.close()
    assert read("databases/one.dump") == b"newer"


@pytest.mark.usefixtures("home")
def test_what_another_kept_meanwhile_is_never_overwritten(tmp_path: Path) -> None:
    mine, other = Dumps("two", tmp_path), Dumps("two", tmp_path)
    assert (mine.last(), other.last()) == (None, None)
    assert mine.keep(lambda: iter([b"mine"])) == "databases/two.dump"
    beside = other.keep(lambda: iter([b"other"]))
    assert beside != "databases/two.dump"
    assert other.keep(lambda: iter([b"other again"])) == beside
    mine.close()
    other.close()
    assert (read("databases/two.dump"), read(beside)) == (b"mine", b"other again")


@pytest.mark.usefixtures("home")
def test_dumps_are_kept_again_and_again_until_the_end(tmp_path: Path) -> None:
    dumps = Dumps("three", tmp_path)
    dumps.last()
    dumps.keep_every(0.05, lambda: iter([b"beat"]))
    until(lambda: dumps.kept >= 3, 20)
    dumps.stop()
    kept = dumps.kept
    dumps.close()
    assert dumps.kept == kept
    assert read("databases/three.dump") == b"beat"


@pytest.mark.usefixtures("home")
def test_a_dump_that_fails_half_way_keeps_the_one_before(tmp_path: Path) -> None:
    dumps = Dumps("four", tmp_path)
    dumps.last()
    dumps.keep(lambda: iter([b"whole"]))

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise Unreachable("the node is gone")

    with pytest.raises(Unreachable):
        dumps.keep(broken)
    dumps.close()
    assert read("databases/four.dump") == b"whole"


@pytest.mark.usefixtures("home")
def test_the_last_dump_is_rescued_into_a_folder_here_where_the_files_refuse_it(tmp_path: Path) -> None:
    dumps = Dumps("five", tmp_path / "rescued")
    dumps.last()
    dumps.path = "databases/no\nname.dump"
    with pytest.raises(WorldError, match="could not be kept in the files") as refused:
        dumps.keep_or_rescue(lambda: iter([b"the last"]))
    dumps.close()
    (file,) = (tmp_path / "rescued").iterdir()
    assert file.read_bytes() == b"the last"
    assert file.stat().st_mode & 0o777 == 0o600
    assert str(file) in refused.value.hint
