"""Petitions of the agent itself: commands that it wants put into a realm's charter, and how each came out.

The node answers a petition to the client that asked; here that client is the agent, and waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from worldos.agent import clock
from worldos.errors import Refused
from worldos.kernel.events import CharterAsked
from worldos.model.ids import ClientId
from worldos.model.local import Answer, Failure, ToClient
from worldos.model.realm import RealmId

AGENT = ClientId("agent")


class Petitions:
    """Those that are under way, by their numbers."""

    def __init__(self, feed: Callable[[CharterAsked], None]) -> None:
        self._feed = feed
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._number = 0

    async def propose(self, realm: RealmId, command: bytes) -> None:
        """Have a command put into a realm's charter; raise Refused with the reason where it is not."""
        self._number += 1
        request = self._number
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[request] = answer
        try:
            now_ns = clock.now_ns()
            self._feed(CharterAsked(now_ns=now_ns, client=AGENT, request=request, realm=realm, command=command))
            await answer
        finally:
            del self._waiting[request]

    def heard(self, message: ToClient) -> None:
        """Take what the node says to the agent."""
        answer = self._waiting.get(message.request) if isinstance(message, Answer | Failure) else None
        if answer is None or answer.done():
            return
        if isinstance(message, Failure):
            answer.set_exception(Refused(message.message, hint=message.hint))
        else:
            answer.set_result(None)
