"""The orders about the account, at a running agent and by themselves."""

from __future__ import annotations

import pytest
from tests.agent.agents import RunningAgent
from tests.trust.people import DESK, LAPTOP, PHONE, RECOVERY, household

from worldos.agent.orders.account import account_rows, actor_called
from worldos.errors import BadRequest


def test_rows_say_who_can_act_by_names() -> None:
    log = household()
    shown = account_rows(log, DESK.node_id)
    rows = {row["name"]: row for row in shown["actors"]}
    assert shown["account"] == log.account
    assert shown["recovery"].startswith("by the 24 recovery words")
    assert rows["desk"]["here"]
    assert rows["desk"]["by_name"] == "laptop"
    assert rows["laptop"]["by_name"] == "24 words"
    assert rows["24 words"]["by_name"] == ""


def test_a_key_is_found_by_name_by_id_and_by_its_beginning() -> None:
    log = household()
    assert actor_called(log, "phone").key == PHONE.node_id
    assert actor_called(log, PHONE.node_id[:6]).key == PHONE.node_id
    assert actor_called(log, RECOVERY.node_id).name == "24 words"
    for wrong in ("", "nobody", "ph", LAPTOP.node_id[:3]):
        with pytest.raises(BadRequest, match="no key is called"):
            actor_called(log, wrong)


def test_an_agent_shows_its_account_and_removes_nothing_that_is_not_there(agent: RunningAgent) -> None:
    shown = agent.ask("account_show")
    assert [row["kind"] for row in shown["actors"]] == ["recovery words", "device"]
    with pytest.raises(BadRequest, match="no key is called"):
        agent.ask("account_remove", key="nobody")
    with pytest.raises(BadRequest, match="does not remove itself"):
        agent.ask("account_remove", key="desk")
