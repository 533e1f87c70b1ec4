"""Each task of a resident finds a folder of its own, and what it leaves there is told apart from what others left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from worldos.lanes import workplace
from worldos.lanes.workplace import CHECKPOINT, TASK, Workplace

ONE, OTHER = (1, 1), (2, 1)


@pytest.fixture(params=["told", "not told"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    """With the kernel's word for what changes, and as where it gives none."""
    monkeypatch.chdir(tmp_path)
    if request.param == "not told":
        monkeypatch.setattr(workplace, "_CHANGES", 0)  # nothing to be told of is refused
    (tmp_path / "data.csv").write_text("1,2")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "x").write_text("x")
    (tmp_path / "deep" / "__pycache__").mkdir()
    (tmp_path / "deep" / "__pycache__" / "module.pyc").touch()
    return Workplace(tmp_path)


def done(place: Workplace, task: tuple[int, int], what: Callable[[], object] = lambda: None) -> tuple[bool, bool]:
    what()
    return place.end(task)


def files(folder: Path, task: tuple[int, int]) -> dict[str, str]:
    return {name: path.read_text() for name, path in workplace.files(workplace.made_of(folder, task), folder)}


def found() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*"))


AT_FIRST = ["data.csv", "deep", "deep/er", "deep/er/x"]


def test_a_task_that_makes_nothing_leaves_its_folder_to_the_next(place: Workplace) -> None:
    at = os.stat(".").st_ino
    for number in range(3):
        assert done(place, (number, 1), lambda: Path("deep/er/x").read_text()) == (False, False)
    assert (os.stat(".").st_ino, found()) == (at, AT_FIRST)


@pytest.mark.parametrize("name", ["made", "deep/er/made", "data.csv"])
def test_what_one_makes_is_its_own(place: Workplace, tmp_path: Path, name: str) -> None:
    def makes() -> None:
        Path("fresh").write_text("new")
        os.replace("fresh", name)

    assert done(place, ONE, makes) == (True, False)
    assert files(tmp_path, ONE) == {name: "new"}
    assert (found(), Path("data.csv").read_text()) == (AT_FIRST, "1,2")
    assert done(place, OTHER) == (False, False)


@pytest.mark.parametrize(
    "what",
    [
        lambda: Path("empty").mkdir(),
        lambda: Path("data.csv").unlink(),
        lambda: shutil.rmtree(Path.cwd()),
        lambda: os.chdir("/"),
    ],
)
def test_whatever_one_does_to_its_folder_the_next_finds_it_whole(place: Workplace, what: Callable[[], object]) -> None:
    assert done(place, ONE, what) == (False, False)
    assert found() == AT_FIRST
    assert Path.cwd().name == TASK


def test_a_folder_that_came_along_may_be_lost(place: Workplace) -> None:
    assert done(place, ONE, lambda: shutil.rmtree("deep")) == (False, False)
    assert found() == AT_FIRST


def test_a_file_that_came_and_went_is_none(place: Workplace, tmp_path: Path) -> None:
    def passing() -> None:
        Path("passing").touch()
        Path("passing").unlink()

    assert done(place, ONE, passing) == (False, False)
    assert not workplace.made_of(tmp_path, ONE).exists()


def test_a_change_is_seen_however_soon_it_comes(place: Workplace) -> None:
    for number in range(200):
        makes = number % 3 == 1
        assert done(place, (number, 1), Path("made").touch if makes else lambda: None) == (makes, False)


def test_a_checkpoint_is_of_one_task(place: Workplace, tmp_path: Path) -> None:
    assert done(place, ONE, lambda: (tmp_path / CHECKPOINT / "n").write_text("17")) == (False, True)
    os.rename(workplace.left_of(tmp_path, ONE), workplace.from_of(tmp_path, OTHER))
    assert done(place, (3, 1), lambda: os.listdir(tmp_path / CHECKPOINT)) == (False, False)
    place.go_on(OTHER)
    assert (tmp_path / CHECKPOINT / "n").read_text() == "17"
    assert place.end(OTHER) == (False, True), "it is there again if it makes way again"
    assert (os.listdir(tmp_path / CHECKPOINT), os.listdir(workplace.left_of(tmp_path, OTHER))) == ([], ["n"])


def test_what_a_dead_resident_leaves_is_its_tasks(place: Workplace, tmp_path: Path) -> None:
    Path("half").write_text("half")
    (tmp_path / CHECKPOINT / "n").write_text("17")
    workplace.abandon(tmp_path, ONE)
    assert files(tmp_path, ONE) == {"half": "half"}
    assert os.listdir(workplace.left_of(tmp_path, ONE)) == ["n"]
    Workplace(tmp_path)
    assert found() == AT_FIRST


def test_one_stopped_before_its_turn_leaves_the_checkpoint_that_it_came_with(place: Workplace, tmp_path: Path) -> None:
    workplace.from_of(tmp_path, OTHER).mkdir()
    (workplace.from_of(tmp_path, OTHER) / "n").write_text("17")
    workplace.abandon(tmp_path, OTHER)
    assert os.listdir(workplace.left_of(tmp_path, OTHER)) == ["n"]


def test_what_came_along_is_for_reading_only(place: Workplace) -> None:
    assert [path.stat().st_mode & 0o222 for path in (Path("data.csv"), Path("deep/er/x"))] == [0, 0]
