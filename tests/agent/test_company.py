"""What devices of one account keep together, by the agent's own part of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.agent.agents import new_home, running
from tests.agent.company import Group

from worldos.errors import NotAllowed


def test_a_device_whose_key_lives_twice_stops_and_does_not_begin_again(tmp_path: Path) -> None:
    group = Group(tmp_path, 1).whole()
    device = group.devices[0]
    assert device.company.step()
    device.node.clones.cloned[device.id] = "it lived twice"
    assert not device.home.copied_file.exists()
    assert not device.company.step()
    assert device.stopped == "it lived twice"
    with pytest.raises(NotAllowed, match="lives twice") as refused:
        device.company.begin()
    for boot in (2, 9):
        with pytest.raises(NotAllowed, match="lives twice"):
            device.again(boot).begin()
    assert "wos leave" in refused.value.hint


def test_a_session_is_read_again_in_the_next_life_of_an_agent(folder: Path) -> None:
    home = new_home(folder / "desk")
    with running(home) as agent:
        agent.ask("session_start", name="kept")
        agent.ask("session_say", session="kept", text="first life")
    with running(home) as agent:
        shown = agent.ask("session_show", session="kept")
        assert [op["text"] for op in shown["ops"]] == ["kept", "first life"]
        agent.ask("session_say", session="kept", text="second life")
        assert agent.ask("session_show", session="kept")["fence"] == 2


def test_a_device_that_lost_count_of_its_lives_goes_on_where_it_told_it_was(folder: Path) -> None:
    home = new_home(folder / "desk")
    for life in (1, 2):
        with running(home) as agent:
            assert agent.ask("status")["life"] == life
    home.state_file.unlink()
    with running(home) as agent:
        assert agent.ask("status")["life"] == 3
        assert agent.ask("session_start", name="all is well")["open"]
