"""A doorway: open while there are tickets, and not for many at one time (who is let in: test_claims.py, test_realm_door.py)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from tests.fabric.fabrics import until

from worldos.agent.doorway import CALLERS_MAX, KEPT_S, Doorway, call, remembered
from worldos.errors import Unreachable
from worldos.model.ids import AccountId, NodeId
from worldos.trust.ticket import Ticket, new_ticket


def ticket(address: str, ends_in_s: int = 60) -> Ticket:
    return new_ticket(
        addresses=(address,),
        secret=b"s" * 16,
        inviter=NodeId("a" * 52),
        account=AccountId("b" * 52),
        expires_s=int(time.time()) + ends_in_s,
    )


class Hall:
    """A doorway behind which everybody waits until they are let go."""

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []
        self.inside = 0
        self.go = asyncio.Event()
        self.doorway = Doorway(("127.0.0.1", 0), self.talk, lambda: self.tickets)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.inside += 1
        await self.go.wait()
        writer.write(b"bye")
        await writer.drain()


def told(story: Callable[[Hall], Awaitable[None]]) -> None:
    async def whole() -> None:
        hall = Hall()
        try:
            async with asyncio.timeout(60):
                await story(hall)
        finally:
            hall.doorway.close()

    asyncio.run(whole())


def test_so_many_stand_in_it_and_no_more() -> None:
    async def story(hall: Hall) -> None:
        (address,) = await hall.doorway.open(60)
        callers = [await call(ticket(address), "wos invite") for _ in range(CALLERS_MAX)]
        await until(lambda: hall.inside == CALLERS_MAX)
        reader, writer = await call(ticket(address), "wos invite")
        assert await reader.read() == b"", "one too many"
        writer.close()
        hall.go.set()
        for reader, writer in callers:
            assert await reader.read() == b"bye"
            writer.close()

    told(story)


def test_it_stays_open_for_tickets_that_are_late_and_closes_when_all_are_forgotten() -> None:
    async def story(hall: Hall) -> None:
        (address,) = await hall.doorway.open(60)
        hall.tickets = [ticket(address, -KEPT_S // 2)]
        hall.doorway.close_if_idle()
        _, writer = await call(ticket(address), "wos invite")
        writer.close()
        hall.tickets = [ticket(address, -KEPT_S)]
        assert not remembered(hall.tickets[0], time.time())
        hall.doorway.close_if_idle()
        with pytest.raises(Unreachable) as caught:
            await call(ticket(address), "wos invite")
        assert "wos invite" in caught.value.hint
        hall.go.set()

    told(story)


def test_it_opens_once() -> None:
    async def story(hall: Hall) -> None:
        assert await hall.doorway.open(60) == await hall.doorway.open(60)

    told(story)
