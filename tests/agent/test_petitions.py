"""What the agent itself wants in a charter is asked of its node, and each answer finds who waits for it."""

from __future__ import annotations

import asyncio

import pytest

from worldos.agent.petitions import AGENT, Petitions
from worldos.errors import Refused
from worldos.kernel.events import CharterAsked
from worldos.model.local import Answer, Failure
from worldos.model.realm import RealmId

REALM = RealmId("r")


def test_each_answer_finds_who_asked_and_a_no_says_why() -> None:
    async def story() -> None:
        asked: list[CharterAsked] = []
        petitions = Petitions(asked.append)
        first = asyncio.ensure_future(petitions.propose(REALM, b"one"))
        second = asyncio.ensure_future(petitions.propose(REALM, b"two"))
        await asyncio.sleep(0)
        assert [(event.client, event.command) for event in asked] == [(AGENT, b"one"), (AGENT, b"two")]
        petitions.heard(Failure(request=asked[1].request, error="Refused", message="not yours", hint="ask"))
        petitions.heard(Answer(request=asked[0].request, value=None))
        await first
        with pytest.raises(Refused, match="not yours"):
            await second

    asyncio.run(story())


def test_an_answer_that_nobody_waits_for_any_more_changes_nothing() -> None:
    async def story() -> None:
        asked: list[CharterAsked] = []
        petitions = Petitions(asked.append)
        waiting = asyncio.ensure_future(petitions.propose(REALM, b"one"))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        petitions.heard(Answer(request=asked[0].request, value=None))

    asyncio.run(story())
