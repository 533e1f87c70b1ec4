"""``wos demo`` in its parts: what it reads, when it makes trouble, and how it checks the results."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import fails, wos

from worldos.cli import demo
from worldos.cli.demo import Outcome, Photo
from worldos.errors import BadRequest
from worldos.home import Home


class Actor:
    """A node that only notes what is done to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.done: list[str] = []

    def kill(self) -> None:
        self.done.append("killed")

    def sleep(self) -> None:
        self.done.append("asleep")


def outcome(*photos: tuple[str, bytes], sheet: bytes = b"s") -> Outcome:
    made = [Photo(name, data, b"", "n", 0.1) for name, data in photos]
    return Outcome(photos=made, seconds=1.0, submitted=len(made), reruns=0, events={}, sheet=sheet)


def test_one_node_is_killed_and_another_falls_asleep_each_once() -> None:
    actors = [Actor("desk"), Actor("attic"), Actor("laptop")]
    events: dict[str, str] = {}
    said = [demo._make_trouble(actors, part / 100, part / 10, events) for part in range(101)]  # type: ignore[arg-type]
    assert [actor.done for actor in actors] == [[], ["killed"], ["asleep"]]
    assert [line.split()[0] for line in said if line] == ["attic", "laptop"]
    assert "SIGKILL" in events["attic"]


def test_results_are_compared_photo_by_photo() -> None:
    originals = {"a": b"", "b": b""}
    right = outcome(("a", b"1"), ("b", b"2"))
    assert demo._compare(originals, right, right) == []
    assert demo._compare(originals, outcome(("a", b"1")), right) == ["b came 0 times"]
    assert demo._compare(originals, outcome(("a", b"1"), ("a", b"1"), ("b", b"2")), right) == ["a came 2 times"]
    assert demo._compare(originals, outcome(("a", b"x"), ("b", b"2")), right) == ["a differs from one node's"]
    assert len(demo._compare(originals, outcome(("a", b"1"), ("b", b"2"), sheet=b"other"), right)) == 1


def test_photos_are_read_and_repeated_under_names_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "b.JPG").write_bytes(b"b")
    (tmp_path / "a.png").write_bytes(b"a")
    (tmp_path / "notes.txt").write_bytes(b"n")
    assert demo._read(tmp_path, 2) == {"a.png": b"a", "b.JPG": b"b", "a-2.png": b"a", "b-2.JPG": b"b"}


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="holds no photos"):
        demo._read(tmp_path, 1)
    fails(wos(Home(tmp_path / "h"), "demo", str(tmp_path / "none")), 2, "there is no folder", "wos demo FOLDER")


def test_the_source_brings_photos() -> None:
    assert len(demo._read(demo._own_photos(), 1)) >= 6
