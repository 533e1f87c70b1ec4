"""What behaviour sees and narrows, asked of a real agent; statements of another device of the account move it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, until
from tests.agent.sites import node_of, running_site

from worldos.errors import BadRequest, NotAllowed

WHO = "a" * 52


@pytest.fixture(scope="module")
def site() -> Iterator[list[RunningAgent]]:
    with (
        tempfile.TemporaryDirectory(prefix="wos-so-") as name,
        running_site(Path(name), "desk", "attic", "loft") as agents,
    ):
        yield agents


def test_at_first_nobody_asked_for_anything(agent: RunningAgent) -> None:
    assert agent.ask("security") == {"principals": [], "narrowings": []}


@pytest.mark.parametrize("order", ["security_free", "security_learn"])
def test_somebody_who_never_came_is_neither_freed_nor_learnt_anew(agent: RunningAgent, order: str) -> None:
    with pytest.raises(BadRequest):
        agent.ask(order, who=WHO)


def test_a_revocation_by_command_narrows_on_all_devices_and_another_device_gives_it_back(
    site: list[RunningAgent],
) -> None:
    desk, attic, loft = site
    plan = {"approvers": [{"who": "desk", "owner": "anna"}], "witnesses": [{"who": "desk", "owner": "anna"}]}
    desk.ask("guard_roll", plan={**plan, "nodes": ["desk"]})
    row = desk.ask("guard_propose", action=["revoke", node_of(loft)])
    desk.ask("guard_approve", command=row["id"])
    for agent in site:
        until(lambda agent=agent: agent.ask("security")["narrowings"], "it is narrowed there")
    (held,) = attic.ask("security")["narrowings"]
    assert (held["name"], held["class"], held["by_name"]) == ("loft", "reversible", "desk")
    with pytest.raises(NotAllowed, match="itself"):
        loft.ask("security_free", who="loft")
    assert attic.ask("security_free", who="loft")["freed"] == [held["id"]]
    for agent in site:
        until(lambda agent=agent: not agent.ask("security")["narrowings"], "it is given back there")
