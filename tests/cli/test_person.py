"""What is shown to a person and asked of one (the questions themselves: test_devices.py, in a terminal)."""

from __future__ import annotations

import pytest

from worldos.cli.person import show_ticket, sure
from worldos.errors import BadRequest


def test_a_ticket_is_shown_as_a_command_and_a_picture(capsys: pytest.CaptureFixture[str]) -> None:
    show_ticket("wosr-abc", "Do this:", "wos realm join", plain=False)
    said = capsys.readouterr().out
    assert "Do this:" in said
    assert "   wos realm join wosr-abc\n" in said
    assert "█" in said


def test_a_plain_ticket_is_alone(capsys: pytest.CaptureFixture[str]) -> None:
    show_ticket("wosr-abc", "Do this:", "wos realm join", plain=True)
    assert capsys.readouterr().out == "wosr-abc\n"


def test_where_nobody_is_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", open("/dev/null", encoding="utf-8"))  # noqa: SIM115
    with pytest.raises(BadRequest) as caught:
        sure("Burn it all?")
    assert caught.value.hint == "add --yes"
