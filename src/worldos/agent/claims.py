"""Claiming a device over the network: the door that an invitation opens, and the call of the machine that joins.

``trust.pairing`` decides; this carries its bytes. The door listens only while a ticket is good, and a while after, so that who
holds a spent one is told why. Who cannot show a ticket at once gets no byte back.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from worldos.agent.doorway import FIRST_WORDS_S, READ_BYTES, Invite, TicketDoor, call
from worldos.errors import BadRequest, Unreachable
from worldos.fabric.tcp import Address
from worldos.model.ids import AccountId
from worldos.trust.keylog import KeyLog, SignedEntry
from worldos.trust.keys import DeviceKey
from worldos.trust.pairing import (
    Admitted,
    Close,
    Failed,
    Failure,
    Invitation,
    Inviter,
    Joined,
    Joiner,
    Output,
    PeerHint,
    Send,
    ShowCode,
    Ticket,
    error_of,
)

Decide = Callable[[ShowCode], Awaitable[bool]]
"""Shows a code to the person here, and returns whether it is the one on the other machine."""


class Owner(Protocol):
    """The agent, as the door sees it."""

    def admit(self, entry: SignedEntry) -> None:
        """Take in the admission and make it durable before this returns."""

    def hints(self) -> tuple[PeerHint, ...]:
        """Say where the other devices were last seen."""


class DeviceInvite(Invite[Admitted]):
    """One open invitation: who is told of a caller, and how it ends."""

    def __init__(self, invitation: Invitation, decide: Decide) -> None:
        super().__init__(invitation)
        self.decide = decide


class ClaimDoor(TicketDoor[DeviceInvite]):
    """The listening side. Open while there are tickets to honour or to explain."""

    def __init__(self, owner: Owner, key: DeviceKey, name: str, keylog: KeyLog, listen: Address) -> None:
        super().__init__(key, listen, self._talk)
        self._owner = owner
        self._name = name
        self._keylog = keylog

    async def invite(self, account: AccountId, life_s: int, decide: Decide) -> DeviceInvite:
        """Make a ticket and open the door for it."""
        invite = DeviceInvite(await self._open(account, life_s), decide)
        self._invites.append(invite)
        return invite

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        machine = Inviter(
            invitations=[invite.invitation for invite in self._invites],
            key=self._key,
            name=self._name,
            log=self._keylog,
            peers=self._owner.hints(),
            now_s=int(time.time()),
            seed=secrets.token_bytes(32),
        )
        invite: DeviceInvite | None = None
        try:
            while not machine.ended:
                async with asyncio.timeout(FIRST_WORDS_S if invite is None else None):
                    data = await reader.read(READ_BYTES)
                outputs = machine.receive(data) if data else machine.closed()
                if invite is None:
                    invite = self._invite_of(machine.invitation)
                while outputs:
                    outputs = await self._act(machine, outputs, writer, invite)
        finally:
            if invite is not None and not invite.ended.done():  # it hung up while the person here compared the codes
                hint = "make a new ticket and try again: wos invite"
                invite.ended.set_exception(Unreachable(str(Failure.CUT), hint=hint))

    async def _act(
        self, machine: Inviter, outputs: list[Output], writer: asyncio.StreamWriter, invite: DeviceInvite | None
    ) -> list[Output]:
        """Do what the machine says, in order; return what its person's answer leads to."""
        follow: list[Output] = []
        for output in outputs:
            if isinstance(output, Send):
                writer.write(output.data)
                await writer.drain()
            elif isinstance(output, ShowCode) and invite is not None:
                follow += machine.confirm() if await invite.decide(output) else machine.reject()
            elif isinstance(output, Admitted):
                self._owner.admit(output.entry)
                if invite is not None and not invite.ended.done():
                    invite.ended.set_result(output)
            elif isinstance(output, Failed):
                if invite is not None and not invite.ended.done():
                    invite.ended.set_exception(error_of(output))
            elif isinstance(output, Close):
                break
        return follow


async def join(ticket: Ticket, key: DeviceKey, name: str, decide: Decide) -> Joined:
    """Call the inviter, prove the ticket, let the person compare the code, and return what it leads to."""
    reader, writer = await call(ticket, "wos invite")
    machine = Joiner(ticket=ticket, key=key, name=name, seed=secrets.token_bytes(32))
    joined: Joined | None = None
    try:
        outputs = machine.start()
        while True:
            while outputs:
                output = outputs.pop(0)
                if isinstance(output, Send):
                    writer.write(output.data)
                    await writer.drain()
                elif isinstance(output, ShowCode):
                    outputs += machine.confirm() if await decide(output) else machine.reject()
                elif isinstance(output, Joined):
                    joined = output
                elif isinstance(output, Failed):
                    raise error_of(output)
            if joined is not None or machine.ended:
                break
            data = await reader.read(READ_BYTES)
            outputs = machine.receive(data) if data else machine.closed()
    except OSError as cause:
        raise Unreachable(str(Failure.CUT), hint="make a new ticket and try again: wos invite") from cause
    finally:
        writer.close()
    if joined is None:
        raise Unreachable(str(Failure.CUT), hint="make a new ticket and try again: wos invite")
    return joined


class Confirmations:
    """Codes that wait for the yes or no of a person, by number."""

    def __init__(self) -> None:
        self._number = 0
        self._waiting: dict[int, asyncio.Future[bool]] = {}

    def begin(self) -> tuple[int, asyncio.Future[bool]]:
        """Begin to wait for an answer."""
        self._number += 1
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = future
        return self._number, future

    def answer(self, number: int, *, yes: bool) -> None:
        """Give the answer."""
        future = self._waiting.pop(number, None)
        if future is None or future.done():
            raise BadRequest("nobody waits for this answer (any more)", hint="make a new ticket: wos invite")
        future.set_result(yes)

    def give_up(self, number: int) -> None:
        """Answer no for a person who is gone."""
        future = self._waiting.pop(number, None)
        if future is not None and not future.done():
            future.set_result(False)
