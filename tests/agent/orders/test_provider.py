"""Orders about providers, asked of a real agent."""

from __future__ import annotations

import pytest

from worldos import use
from worldos.errors import BadRequest
from worldos.sdk.connection import close, connection


def test_records_are_kept_and_shown() -> None:
    with use("CPU", 1) as cpu:
        own = cpu.nodes[0]
        ask = connection().ask
        assert ask("provider_owner", {"node": own})["own"]
        assert ask("provider_owner", {"node": "stranger"}) == {"own": False, "owner": "", "out": ""}
        assert ask("provider_did", {"node": "stranger"})
        assert "wrong answer" in ask("provider_checked", {"node": "stranger", "right": False})
        assert "wrong answer" in ask("provider_owner", {"node": "stranger"})["out"]
        assert [row["node"] for row in ask("providers")] == ["stranger"]
        with pytest.raises(BadRequest):
            ask("provider_did", {"node": 3})
    close()
