"""Orders about other people, asked of a real agent (between two accounts: tests/cli/test_post.py)."""

from __future__ import annotations

import base64

import pytest
from tests.agent.agents import RunningAgent

from worldos.errors import BadRequest, WorldError


def test_a_letter_to_oneself_goes_through_all_orders(agent: RunningAgent) -> None:
    code = agent.ask("account_code")["code"]
    card = agent.ask("account_card", name="Ada")["card"]
    assert agent.ask("contact_add", card=card)["code"] == code
    assert agent.ask("contact_find", to=code)["name"] == "Ada"
    assert [row["ours"] for row in agent.ask("contact_list")] == [True]
    value = base64.b64encode(b"\0binary").decode()
    sent = agent.ask("letter_send", to=code, kind="note", title="t", value=value, note="n")
    assert agent.ask("letter_add", text=sent["text"])["id"] == sent["letter"]
    (row,) = agent.ask("inbox")
    assert (row["value"], row["by"], row["verified"]) == (value, code, True)


def test_what_is_no_letter_is_refused(agent: RunningAgent) -> None:
    code = agent.ask("account_code")["code"]
    agent.ask("account_card")
    good = {"to": code, "kind": "note", "title": "t"}
    for wrong in (
        {"kind": "virus"},
        {"title": "x" * 2000},
        {"note": "\x1b[2J"},
        {"value": "not base64"},
        {"value": base64.b64encode(bytes(5000)).decode()},
        {"to": "wos1nobody"},
    ):
        with pytest.raises(BadRequest):
            agent.ask("letter_send", **{**good, **wrong})
    for order, arguments in (("contact_add", {"card": "wos-card-x"}), ("letter_add", {"text": "wos-letter-x"})):
        with pytest.raises(WorldError):
            agent.ask(order, **arguments)
