"""A doorway for those who bring a ticket: it listens while there are tickets to honour or to explain, and no longer.

Few may stand in it at one time; who says nothing is put out by whoever talks to it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from worldos.agent.addresses import reachable_addresses
from worldos.errors import Unreachable
from worldos.fabric.tcp import Address, parse_address
from worldos.model.ids import AccountId
from worldos.trust.dialogue import Invitation
from worldos.trust.keys import DeviceKey
from worldos.trust.ticket import SECRET_BYTES as TICKET_SECRET_BYTES
from worldos.trust.ticket import Guest, Ticket, new_ticket

E = TypeVar("E")

TICKETS_MAX = 16
CALLERS_MAX = 8
FIRST_WORDS_S = 10.0
KEPT_S = 300
CONNECT_S = 5.0
READ_BYTES = 65536

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Doorway:
    """A listening socket at any port of an address. ``tickets`` says which tickets there are now."""

    def __init__(self, listen: Address, talk: Talk, tickets: Callable[[], list[Ticket]]) -> None:
        self._listen = listen
        self._talk = talk
        self._tickets = tickets
        self._server: asyncio.Server | None = None
        self._callers = 0

    async def open(self, life_s: int) -> tuple[str, ...]:
        """Listen for the life of a ticket, and a while after; return where others can call."""
        if self._server is None:
            self._server = await asyncio.start_server(self._called, self._listen[0] or None, 0)
        port = self._server.sockets[0].getsockname()[1]
        asyncio.get_running_loop().call_later(life_s + KEPT_S, self.close_if_idle)
        return reachable_addresses(self._listen[0], port)

    def close_if_idle(self) -> None:
        """Close where no ticket is left to honour or to explain."""
        if not any(remembered(ticket, time.time() + 1) for ticket in self._tickets()):
            self.close()

    def close(self) -> None:
        """Close the door."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _called(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._callers >= CALLERS_MAX:
            writer.close()
            return
        self._callers += 1
        try:
            with suppress(OSError, TimeoutError):
                await self._talk(reader, writer)
        finally:
            self._callers -= 1
            writer.close()


class Invite(Generic[E]):
    """One open invitation, and how it ends."""

    def __init__(self, invitation: Invitation) -> None:
        self.invitation = invitation
        self.ended: asyncio.Future[E] = asyncio.get_running_loop().create_future()


Kept = TypeVar("Kept", bound=Invite[Any])


class TicketDoor(Generic[Kept]):
    """Tickets and the doorway for those who bring them; what is said there is the matter of each kind of door."""

    def __init__(self, key: DeviceKey, listen: Address, talk: Talk) -> None:
        self._key = key
        self._invites: list[Kept] = []
        self._doorway = Doorway(listen, talk, lambda: [invite.invitation.ticket for invite in self._invites])

    def withdraw(self, invite: Kept) -> None:
        """Take a ticket back before its time."""
        if invite in self._invites:
            self._invites.remove(invite)
        invite.ended.cancel()
        self._doorway.close_if_idle()

    def close(self) -> None:
        """Close the door."""
        self._doorway.close()

    async def _open(self, account: AccountId, life_s: int, guest: Guest = Guest.DEVICE) -> Invitation:
        """Make a ticket, and open the door for it."""
        now_s = int(time.time())
        self._invites = [i for i in self._invites if remembered(i.invitation.ticket, now_s)][-TICKETS_MAX + 1 :]
        ticket = new_ticket(
            addresses=await self._doorway.open(life_s),
            secret=secrets.token_bytes(TICKET_SECRET_BYTES),
            inviter=self._key.node_id,
            account=account,
            expires_s=now_s + life_s,
            guest=guest,
        )
        return Invitation(ticket=ticket)

    def _invite_of(self, invitation: Invitation | None) -> Kept | None:
        return next((invite for invite in self._invites if invite.invitation is invitation), None)


def remembered(ticket: Ticket, now_s: float) -> bool:
    """Tell whether a ticket, spent or late as it may be, is still known, so that its holder is told why."""
    return ticket.expires_s + KEPT_S > now_s


async def call(ticket: Ticket, command: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to whoever made a ticket, at the first of its addresses that answers. ``command`` makes a new ticket."""
    problems: list[str] = []
    for address in ticket.addresses:
        host, port = parse_address(address)
        try:
            async with asyncio.timeout(CONNECT_S):
                return await asyncio.open_connection(host, port)
        except (OSError, TimeoutError) as error:
            problems.append(f"{address}: {str(error) or 'no answer'}")
    hint = f"is the ticket older than 10 minutes, or the other machine on another network? make a new one: {command}"
    raise Unreachable(f"the machine that made this ticket does not answer ({'; '.join(problems)})", hint=hint)
