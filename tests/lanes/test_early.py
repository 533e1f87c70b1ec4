"""A nursery may begin before there is anything for it to do, and ends by itself if nothing comes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worldos.lanes import early, nursery


def test_a_nursery_that_was_begun_early_takes_orders_once_it_is_settled(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    early.begin()
    begun = early.take()
    begun.settle(str(folder), [])
    begun.sock.setblocking(True)
    begun.sock.settimeout(90)
    begun.sock.send(nursery.encode(nursery.Bury(pid=2**22 - 1)))
    begun.sock.close()
    assert begun.process.wait(90) == 0
    assert not folder.exists(), "it removes its folder when its host is gone"


def test_a_nursery_that_nobody_takes_ends_and_removes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "precious").touch()
    monkeypatch.chdir(tmp_path)
    early.begin()
    begun = early.take()
    assert begun.process.stdin is not None
    begun.process.stdin.close()
    begun.sock.close()
    assert begun.process.wait(90) == 0
    assert os.listdir(tmp_path) == ["precious"]


def test_what_is_taken_once_is_not_taken_again() -> None:
    early.begin()
    first, second = early.take(), early.take()
    assert first.process.pid != second.process.pid
    for begun in (first, second):
        assert begun.process.stdin is not None
        begun.process.stdin.close()
        begun.sock.close()
        assert begun.process.wait(90) == 0
