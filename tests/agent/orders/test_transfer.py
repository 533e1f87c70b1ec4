"""The order that hands a machine over: what it refuses (what it does: tests/cli/test_transfer.py)."""

from __future__ import annotations

import pytest
from tests.agent.agents import RunningAgent

from worldos.errors import BadRequest, NotAllowed


def test_what_cannot_be_handed_over_is_refused(pair: tuple[RunningAgent, RunningAgent]) -> None:
    desk, attic = pair
    with pytest.raises(BadRequest, match="no device is called"):
        desk.ask("transfer", device="nobody", ticket="wos-x")
    with pytest.raises(BadRequest, match="this is the machine itself"):
        desk.ask("transfer", device="desk", ticket="wos-x")
    with pytest.raises((BadRequest, NotAllowed)):
        desk.ask("transfer", device="attic", ticket="wos-nonsense")
    assert {row["status"] for row in desk.ask("devices")} == {"active"}
    assert attic.ask("status")["account"] == desk.ask("status")["account"]
