"""The site's work over real agents: asked anywhere, kept by a majority, there after anything ended."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
import pytest
from tests.agent.agents import RunningAgent, running, until

from worldos.agent.start import make_account
from worldos.errors import BadRequest, PeerBroke
from worldos.home import Home
from worldos.kernel.work.look import read_queue, read_queues
from worldos.kernel.work.words import decode_answers, encode_command
from worldos.model.work import (
    Applied,
    LineCommand,
    Message,
    Put,
    QueueCommand,
    QueueMade,
    Refused,
    WorkAnswer,
    WorkCommand,
)
from worldos.model.work_wire import WORK_BYTES_MAX


def said(agent: RunningAgent, *said: LineCommand | QueueCommand, wait_ms: int = 0) -> tuple[WorkAnswer, ...]:
    return decode_answers(agent.ask("work", command=encode_command(WorkCommand(said=said)), wait_ms=wait_ms))


def put(number: int) -> Put:
    return Put(queue="q", messages=(Message(number.to_bytes(8, "big"), b"%d" % number),))


def waiting(agent: RunningAgent) -> int:
    view = read_queue(agent.ask("work_look", what="queue q"))
    return view.waiting if view is not None else -1


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.path.mkdir(mode=0o700)
    make_account(home, "home")
    return home


def test_work_is_there_after_an_agent_was_killed(home: Home) -> None:
    with running(home) as agent:
        assert said(agent, QueueMade(queue="q"), put(1), put(2)) == (Applied(),) * 3
        agent.process.kill()
        agent.process.wait()
        agent.code = 0
    with running(home) as agent:
        assert waiting(agent) == 2
        assert [view.queue for view in read_queues(agent.ask("work_look", what="queues"))] == ["q"]


def test_a_site_without_work_has_no_log_of_it(home: Home) -> None:
    with running(home) as agent:
        until(lambda: agent.ask("realm_tree"), "it has a center", 20)
    assert [each.name for each in home.council_folder.iterdir() if each.name.endswith("work")] == []


def test_what_is_no_command_is_refused_in_a_sentence(home: Home) -> None:
    with running(home) as agent:
        with pytest.raises(BadRequest, match="not one of ours"):
            agent.ask("work", command=b"\xc1")
        with pytest.raises(BadRequest, match="at most"):
            agent.ask("work", command=bytes(WORK_BYTES_MAX + 1))
        with pytest.raises(BadRequest, match="no look"):
            agent.ask("work_look", what="moon")
        with pytest.raises(BadRequest):
            agent.ask("runner_told", request=1, piece=b"\xc1")
        (answer,) = said(agent, put(1))
        assert isinstance(answer, Refused)
        assert answer.hint


def test_garbage_of_a_program_does_not_reach_the_log(home: Home) -> None:
    with running(home) as agent:
        said(agent, QueueMade(queue="q"))
        for _ in range(20):
            with pytest.raises((BadRequest, PeerBroke)):
                agent.ask("work", command=msgspec.msgpack.encode({"type": "work", "said": [os.urandom(9)]}))
        assert said(agent, put(1)) == (Applied(),)


def test_the_work_of_a_site_that_was_left_is_no_seat_in_a_council(home: Home) -> None:
    with running(home) as agent:
        said(agent, QueueMade(queue="q"))
    (kept,) = [each for each in home.council_folder.iterdir() if each.name.endswith("work")]
    shutil.copytree(kept, kept.with_name("r-other%2Fwork"))
    with running(home) as agent:
        assert waiting(agent) == 0
        until(lambda: agent.ask("realm_tree"), "it has a center, and no other seat that stands in its way", 20)
