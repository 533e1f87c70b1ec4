"""Names in commands: how they are completed, what they become as a target, and which a disk cannot hold together."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from worldos.cli import names
from worldos.errors import BadRequest
from worldos.files.about import About, Progress, Standing


@pytest.mark.parametrize(
    ("written", "called"),
    [
        ("a/b.txt", "b.txt"),
        ("a/b/", "b"),
        ("b", "b"),
        ("/x//", "x"),
        ("wos://a/ü", "ü"),
        ("-n", "-n"),
        ("a b ", "a b "),
    ],
)
def test_the_last_part_of_a_name_is_what_it_is_called(written: str, called: str) -> None:
    assert names.last_part(written) == called


def test_the_folder_that_one_stands_in_is_called_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path / "photos")
    assert names.last_part(".") == "photos"
    assert names.last_part("..") == tmp_path.name


def test_several_things_go_into_what_is_named_as_a_folder() -> None:
    assert names.several(["a", "b", "c/"], "files") == (["a", "b"], "c/")
    assert names.several(["a", "b"], "files") == (["a"], "b")
    with pytest.raises(BadRequest, match="several files go into a folder") as refused:
        names.several(["a", "b", "c"], "files")
    assert "c/" in refused.value.hint


def test_names_that_differ_only_in_case_are_found() -> None:
    found = names.same_but_for_case(["a/B", "a/b", "c", "STRASSE", "straße", "d"])
    assert found == [("a/B", "a/b"), ("STRASSE", "straße")]
    assert names.same_but_for_case(["a", "b"]) == []


def test_a_disk_that_tells_case_apart_is_known(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert names.ignores_case(tmp_path) is (tmp_path / "A").exists()
    assert list(tmp_path.iterdir()) == [tmp_path / "a"], "nothing is left behind"


def test_what_is_told_becomes_json() -> None:
    told = names.plain(
        [About(name="a", digest=b"\x01\xff"), Standing(name="b", k=1, n=4, devices=2, survives=1, nodes=("x",))]
    )
    assert told[0]["digest"] == "01ff"
    assert told[1]["nodes"] == ["x"]


def test_a_time_that_is_not_known_is_blank() -> None:
    assert names.when(0) == ""
    assert names.when(1_000_000_000_000_000_000)[:10] in {"2001-09-08", "2001-09-09"}


def test_a_notice_is_said_where_no_bar_can_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    with names.bar("putting") as progress:
        progress(Progress(name="a", done_bytes=1))
        progress(Progress(name="b", done_bytes=2, notice="b was left out: it is a socket"))
    assert said.getvalue() == "b was left out: it is a socket\n"


def test_nothing_is_completed_where_no_agent_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLDOS_HOME", str(tmp_path))
    assert names.completed("ph") == []
