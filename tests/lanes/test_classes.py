"""What a machine finds that it can give: by a look, and by a real sandbox that is made and ended."""

from __future__ import annotations

import psutil
import pytest

from worldos.lanes import classes, sandbox
from worldos.lanes.classes import Classes
from worldos.model.isolation import Isolation


@pytest.mark.skipif(not sandbox.bubblewrap(), reason="bubblewrap is not installed")
def test_a_sandbox_is_proved_by_making_one_and_nothing_is_left_of_it() -> None:
    found = Classes()
    found.prove()
    assert found.can(Isolation.SANDBOX)
    assert found.word.split()[:2] == ["process", "sandbox"]
    assert Isolation.SANDBOX not in found.missing
    assert not [each for each in psutil.Process().children(recursive=True) if "bwrap" in each.name()]


def test_without_bubblewrap_the_class_is_missing_and_why_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "bubblewrap", str)
    found = Classes()
    found.prove()
    assert not found.can(Isolation.SANDBOX)
    assert found.can(Isolation.PROCESS)
    assert "sandbox" not in found.word.split()
    assert "apt install bubblewrap" in found.why(Isolation.SANDBOX)


def test_a_bubblewrap_that_does_not_work_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "bubblewrap", lambda: "/bin/false")
    found = Classes()
    assert found.can(Isolation.SANDBOX), "by a look all is well"
    found.prove()
    assert "did not start" in found.why(Isolation.SANDBOX)


def test_a_processor_without_a_filter_gives_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes.seccomp, "MACHINES", {})
    monkeypatch.setattr(sandbox, "bubblewrap", lambda: "/bin/true")
    assert "processor" in Classes().why(Isolation.SANDBOX)
