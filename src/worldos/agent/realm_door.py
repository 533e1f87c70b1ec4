"""Joining realms over the network: the door that an invitation opens for a child realm, and the call of the one that joins.

``trust.enrolment`` decides; this carries its bytes, and waits for the two charters. The parent's comes first. Whatever goes wrong
after it leaves a child that the parent knows and that does not know it: harmless, and the same again mends it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from worldos.agent.doorway import FIRST_WORDS_S, READ_BYTES, Invite, TicketDoor, call
from worldos.errors import Refused, Unreachable, WorldError
from worldos.fabric.tcp import Address
from worldos.model.ids import AccountId, NodeId
from worldos.model.parentage import Child, Parent
from worldos.model.realm import RealmId
from worldos.trust.dialogue import Close, Invitation, Send
from worldos.trust.enrolment import (
    HINTS,
    Admit,
    Consider,
    Done,
    Enter,
    Failed,
    Inviter,
    Joiner,
    Output,
    Setback,
    error_of,
)
from worldos.trust.keys import DeviceKey
from worldos.trust.ticket import Guest, Ticket

THINK_S = 660.0  # a person may look at what it would join for the life of a ticket, and a little more
ANSWER_S = 60.0  # a charter needs a majority of its council

Decide = Callable[[Parent], Awaitable[bool]]
"""Shows a person what would be joined, and returns whether it is wanted."""


class Realms(Protocol):
    """The agent, as the door sees it."""

    def parent_record(self, realm: RealmId) -> Parent:
        """Say what a realm is to one that goes below it; raise Refused where that is not known here."""

    def child_record(self, realm: RealmId) -> Child:
        """Say what a realm is to one that it goes below; raise Refused where that is not known here."""

    async def admit_child(self, realm: RealmId, child: Child, node: NodeId) -> None:
        """Have the realm's charter admit a child that ``node`` speaks for; raise WorldError where it does not."""

    async def add_parent(self, realm: RealmId, parent: Parent) -> None:
        """Have the realm's charter take a parent; raise WorldError with the reason where it does not."""


class RealmInvite(Invite[Done]):
    """One open invitation: for which realm, who is told of what came to nothing, and how it ends."""

    def __init__(self, invitation: Invitation, parent: Parent, said: Callable[[str], None]) -> None:
        super().__init__(invitation)
        self.parent = parent
        self.said = said


class RealmDoor(TicketDoor[RealmInvite]):
    """The listening side. Open while there are tickets to honour or to explain."""

    def __init__(self, realms: Realms, key: DeviceKey, account: AccountId, listen: Address) -> None:
        super().__init__(key, listen, self._talk)
        self._realms = realms
        self._account = account

    async def invite(self, realm: RealmId, life_s: int, said: Callable[[str], None]) -> RealmInvite:
        """Make a ticket for one child of a realm and open the door for it."""
        parent = self._realms.parent_record(realm)
        invite = RealmInvite(await self._open(self._account, life_s, Guest.REALM), parent, said)
        self._invites.append(invite)
        return invite

    # -- inside -----------------------------------------------------------------------------------------------------------

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for known in self._invites:
            with suppress(Refused):  # what is not known now was known when the ticket was made
                known.parent = self._realms.parent_record(known.parent.realm)
        machine = Inviter(
            invitations=[(invite.invitation, invite.parent) for invite in self._invites],
            key=self._key,
            site=self._account,
            now_s=int(time.time()),
            seed=secrets.token_bytes(32),
        )
        try:
            while not machine.ended:
                async with asyncio.timeout(FIRST_WORDS_S if machine.invitation is None else THINK_S):
                    data = await reader.read(READ_BYTES)
                outputs = machine.receive(data) if data else machine.closed()
                while outputs:
                    outputs = await self._act(machine, outputs, writer)
        finally:
            invite, child = self._invite_of(machine.invitation), machine.admitted_child
            if invite is not None and child is not None:  # else it has said itself how it went
                _settle(invite, Done(parent=invite.parent, child=child, why="it hung up before it said so"))

    async def _act(self, machine: Inviter, outputs: list[Output], writer: asyncio.StreamWriter) -> list[Output]:
        """Do what the machine says, in order; return what the charter's answer leads to."""
        invite = self._invite_of(machine.invitation)
        follow: list[Output] = []
        for output in outputs:
            if isinstance(output, Send):
                writer.write(output.data)
                await writer.drain()
            elif isinstance(output, Admit) and invite is not None:
                follow += await self._admit(machine, invite, output)
            elif isinstance(output, Done) and invite is not None:
                _settle(invite, output)
            elif isinstance(output, Failed) and invite is not None:
                invite.said(str(error_of(output)))
            elif isinstance(output, Close):
                break
        return follow

    async def _admit(self, machine: Inviter, invite: RealmInvite, wanted: Admit) -> list[Output]:
        realm = invite.parent.realm
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._realms.admit_child(realm, wanted.child, wanted.node)
                invite.parent = self._realms.parent_record(realm)
        except TimeoutError:
            return machine.refuse("the realm's council does not answer")
        except WorldError as error:
            return machine.refuse(str(error))
        return machine.admitted(invite.parent)


def _settle(invite: RealmInvite, done: Done) -> None:
    if not invite.ended.done():
        invite.ended.set_result(done)


async def join(
    ticket: Ticket, key: DeviceKey, account: AccountId, realms: Realms, child: Child, decide: Decide
) -> Parent:
    """Call the inviter, let the person decide, and put ``child`` below what the ticket is for; return that."""
    reader, writer = await call(ticket, "wos realm invite")
    machine = Joiner(ticket=ticket, key=key, site=account, child=child, seed=secrets.token_bytes(32))
    outputs = machine.start()
    try:
        while True:
            while outputs:
                output = outputs.pop(0)
                if isinstance(output, Send):
                    writer.write(output.data)
                    await writer.drain()
                elif isinstance(output, Consider):
                    outputs += machine.confirm() if await decide(output.parent) else machine.decline()
                elif isinstance(output, Enter):
                    return await _enter(machine, writer, realms, output.parent)
                elif isinstance(output, Failed):
                    raise error_of(output)
            async with asyncio.timeout(ANSWER_S + FIRST_WORDS_S):
                data = await reader.read(READ_BYTES)
            outputs = machine.receive(data) if data else machine.closed()
    except (OSError, TimeoutError) as cause:
        raise Unreachable(str(Setback.CUT), hint=HINTS[Setback.CUT]) from cause
    finally:
        writer.close()


async def _enter(machine: Joiner, writer: asyncio.StreamWriter, realms: Realms, parent: Parent) -> Parent:
    """Enter the parent in the child's charter, and tell it how that went; it need not hear it."""
    why = "it was interrupted"
    try:
        async with asyncio.timeout(ANSWER_S):
            await realms.add_parent(machine.child.realm, parent)
        why = ""
    except TimeoutError as cause:
        why = "the council of this realm does not answer"
        raise Unreachable(why, hint="see it with: wos realm tree; then join again with a new ticket") from cause
    except WorldError as error:
        why = str(error) or "no"
        raise
    finally:
        for output in machine.settle(why):
            if isinstance(output, Send):
                with suppress(OSError):
                    writer.write(output.data)
                    await writer.drain()
    return parent
