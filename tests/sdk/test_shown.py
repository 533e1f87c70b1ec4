"""A program without a grant shows none; one whose grant cannot be read does not go on without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from worldos.errors import BadRequest
from worldos.sdk.shown import VARIABLE, shown_grant
from worldos.trust.grant_text import grant_text


def test_nothing_is_shown_where_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert shown_grant() == b""


def test_the_grant_of_the_file_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "g").write_text(grant_text(b"grant") + "\n")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "g"))
    assert shown_grant() == b"grant"


def test_a_file_that_is_not_there_or_no_grant_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("no grant")
    for name in ("missing", "bad"):
        monkeypatch.setenv(VARIABLE, str(tmp_path / name))
        with pytest.raises(BadRequest):
            shown_grant()
