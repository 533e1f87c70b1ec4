"""A realm joins another over a real connection: both charters, a person's no, and every end in the middle."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import pytest

from worldos.agent.doorway import CALLERS_MAX
from worldos.agent.realm_door import RealmDoor, RealmInvite, join
from worldos.errors import NotAllowed, Refused, Unreachable, WorldError
from worldos.fabric.tcp import parse_address
from worldos.model.ids import AccountId, NodeId
from worldos.model.parentage import Child, Parent
from worldos.model.realm import Contact, Level, RealmId
from worldos.trust.keys import DeviceKey
from worldos.trust.roots import root_certificate

ACME, HOME = RealmId("acme-id"), RealmId("home-id")


class Site:
    """One machine with its own account, and the two charters that it may write."""

    def __init__(self, name: str) -> None:
        self.key = DeviceKey.from_seed(secrets.token_bytes(32))
        self.account = AccountId(DeviceKey.from_seed(secrets.token_bytes(32)).node_id)
        self.name = name
        self.children: dict[RealmId, Child] = {}
        self.parents: dict[RealmId, Parent] = {}
        self.refusal: WorldError | None = None
        self.before_answer: Callable[[], Awaitable[None]] | None = None
        self.said: list[str] = []
        self.door = RealmDoor(self, self.key, self.account, ("127.0.0.1", 0))

    @property
    def contact(self) -> Contact:
        return Contact(
            node=self.key.node_id,
            name=self.name,
            site=RealmId(self.account),
            root_cert=root_certificate(self.key),
            addresses=("127.0.0.1:7370",),
        )

    def parent_record(self, realm: RealmId) -> Parent:
        if realm != ACME:
            raise NotAllowed("this node stands for no such realm")
        return Parent(
            realm=ACME,
            name="acme",
            level=Level.ENTERPRISE,
            path="earth/acme",
            lineage=(ACME,),
            council=(self.contact,),
        )

    def child_record(self, realm: RealmId) -> Child:
        return Child(realm=realm, name="home", level=Level.HOME, council=(self.contact,))

    async def admit_child(self, realm: RealmId, child: Child, node: NodeId) -> None:
        assert realm == ACME
        assert node in {contact.node for contact in child.council}
        await self._answer()
        self.children[child.realm] = child

    async def add_parent(self, realm: RealmId, parent: Parent) -> None:
        assert realm == HOME
        await self._answer()
        self.parents[parent.realm] = parent

    async def _answer(self) -> None:
        if self.before_answer is not None:
            await self.before_answer()
        if self.refusal is not None:
            raise self.refusal

    async def invite(self, life_s: int = 60) -> RealmInvite:
        return await self.door.invite(ACME, life_s, self.said.append)


async def yes(_: Parent) -> bool:
    return True


async def no(_: Parent) -> bool:
    return False


async def joins(site: Site, invite: RealmInvite, decide: Callable[[Parent], Awaitable[bool]] = yes) -> Parent:
    async with asyncio.timeout(45):
        return await join(invite.invitation.ticket, site.key, site.account, site, site.child_record(HOME), decide)


def told(story: Callable[[Site, Site], Awaitable[None]]) -> None:
    async def whole() -> None:
        acme, home = Site("office"), Site("den")
        try:
            async with asyncio.timeout(90):
                await story(acme, home)
        finally:
            acme.door.close()

    asyncio.run(whole())


def test_both_charters_have_it_the_parents_first() -> None:
    async def story(acme: Site, home: Site) -> None:
        async def look() -> None:
            assert HOME in acme.children

        home.before_answer = look
        shown: list[str] = []

        async def decide(parent: Parent) -> bool:
            shown.append(f"{parent.name} ({parent.level.name.lower()}) at {parent.path}")
            return True

        invite = await acme.invite()
        parent = await joins(home, invite, decide)
        assert shown == ["acme (enterprise) at earth/acme"]
        assert parent.council == (acme.contact,)
        assert home.parents == {ACME: parent}
        assert acme.children == {HOME: home.child_record(HOME)}
        done = await invite.ended
        assert (done.child.name, done.why) == ("home", "")

    told(story)


def test_a_no_leaves_both_as_they_were_and_the_ticket_good() -> None:
    async def story(acme: Site, home: Site) -> None:
        invite = await acme.invite()
        with pytest.raises(NotAllowed, match="nothing was joined"):
            await joins(home, invite, no)
        assert not acme.children
        assert not home.parents
        await joins(home, invite)
        assert acme.said == ["the other side does not want to join"]

    told(story)


def test_what_the_parent_refuses_the_child_is_told_and_may_mend() -> None:
    async def story(acme: Site, home: Site) -> None:
        invite = await acme.invite()
        acme.refusal = Refused("there is a home in acme already")
        with pytest.raises(NotAllowed, match="there is a home in acme already"):
            await joins(home, invite)
        assert not home.parents
        assert not invite.ended.done()
        acme.refusal = None
        await joins(home, invite)
        assert ACME in home.parents

    told(story)


def test_what_the_child_cannot_write_down_is_told_and_may_be_repeated() -> None:
    async def story(acme: Site, home: Site) -> None:
        home.refusal = Unreachable("no majority of the council")
        invite = await acme.invite()
        with pytest.raises(Unreachable, match="no majority"):
            await joins(home, invite)
        assert HOME in acme.children
        assert not home.parents
        assert (await invite.ended).why == "no majority of the council"
        home.refusal = None
        await joins(home, await acme.invite())
        assert ACME in home.parents

    told(story)


def test_a_child_that_dies_before_it_is_told_is_admitted_and_harmless() -> None:
    async def story(acme: Site, home: Site) -> None:
        asked, answer = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            asked.set()
            await answer.wait()

        acme.before_answer = wait
        invite = await acme.invite()
        joining = asyncio.ensure_future(joins(home, invite))
        await asked.wait()
        joining.cancel()
        await asyncio.wait([joining])
        answer.set()
        assert (await invite.ended).why == "it hung up before it said so"
        assert HOME in acme.children
        assert not home.parents
        await joins(home, await acme.invite())
        assert ACME in home.parents

    told(story)


def test_a_ticket_is_good_once_and_the_second_is_told() -> None:
    async def story(acme: Site, home: Site) -> None:
        invite = await acme.invite()
        await joins(home, invite)
        with pytest.raises(NotAllowed, match="used already") as caught:
            await joins(Site("third"), invite)
        assert "wos realm invite" in caught.value.hint

    told(story)


def test_a_ticket_that_was_taken_back_is_worth_nothing() -> None:
    async def story(acme: Site, home: Site) -> None:
        taken, other = await acme.invite(), await acme.invite()
        acme.door.withdraw(taken)
        with pytest.raises(Unreachable, match="does not know this ticket"):
            await joins(home, taken)
        acme.door.withdraw(other)  # the last one: the door closes
        with pytest.raises(Unreachable, match="does not answer"):
            await joins(home, other)

    told(story)


def test_only_a_realm_that_this_node_knows_is_invited_to() -> None:
    async def story(acme: Site, home: Site) -> None:
        with pytest.raises(NotAllowed):
            await acme.door.invite(HOME, 60, acme.said.append)

    told(story)


def test_strangers_get_nothing_and_are_limited() -> None:
    async def story(acme: Site, home: Site) -> None:
        invite = await acme.invite()
        address = parse_address(invite.invitation.ticket.addresses[0])
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\x40" + secrets.token_bytes(1 << 20)):
            reader, writer = await asyncio.open_connection(*address)
            try:
                writer.write(garbage)
                assert await reader.read() == b""
            except ConnectionError:
                pass
            finally:
                writer.close()
        silent = [await asyncio.open_connection(*address) for _ in range(CALLERS_MAX)]
        reader, writer = await asyncio.open_connection(*address)
        assert await reader.read() == b""
        for _, waiting in [*silent, (reader, writer)]:
            waiting.close()
        while not home.parents:
            try:
                await joins(home, invite)
            except Unreachable:
                continue

    told(story)
