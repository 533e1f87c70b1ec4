"""The bar of a put or get: it comes when something takes long, and leaves no trace."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from worldos.cli import bar
from worldos.files.about import Progress


def drawn(patience_s: float, monkeypatch: pytest.MonkeyPatch, *told: Progress) -> str:
    monkeypatch.setattr(bar, "PATIENCE_S", patience_s)
    out = io.StringIO()
    with bar.Bar("putting", Console(file=out, force_terminal=True, width=100)) as follow:
        for far in told:
            follow.follow(far)
    return out.getvalue()


def test_what_is_quick_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn(60, monkeypatch, Progress(name="a", done_bytes=1, total_bytes=2)) == ""


def test_what_takes_long_says_what_and_how_far(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "photos/" + "x" * 60 + ".jpg"
    said = drawn(-1, monkeypatch, Progress(name=name, done_bytes=500_000, total_bytes=2_000_000, done_files=3))
    assert "putting 3 files, ..." in said
    assert "x.jpg" in said
    assert "0.5/2.0 MB" in said


def test_a_notice_stands_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "s was left out" in drawn(-1, monkeypatch, Progress(name="a", done_bytes=1, notice="s was left out [x]"))
