"""Claiming over a real connection: two people, one code, and every way in which one of the two does not go on."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import pytest

from worldos.agent.claims import ClaimDoor, Confirmations, Invite, join
from worldos.agent.doorway import CALLERS_MAX
from worldos.errors import BadRequest, NotAllowed, Unreachable, WorldError
from worldos.fabric.tcp import parse_address
from worldos.trust.keylog import KeyLog, SignedEntry, accept_claim, add_device, new_account
from worldos.trust.keys import DeviceKey
from worldos.trust.pairing import PeerHint, ShowCode
from worldos.trust.roots import root_certificate


class Owner:
    """An account with one device that lets others in."""

    def __init__(self) -> None:
        seed = secrets.token_bytes(32)
        self.key = DeviceKey.from_seed(secrets.token_bytes(32))
        self.log = KeyLog()
        self.log.merge([new_account(seed)])
        claim = accept_claim(self.key, self.log.account, "desk", root_certificate(self.key), secrets.token_bytes(32))
        self.log.merge([add_device(self.log, DeviceKey.from_seed(seed), claim)])
        self.door = ClaimDoor(self, self.key, "desk", self.log, ("127.0.0.1", 0))

    def admit(self, entry: SignedEntry) -> None:
        self.log.merge([entry])

    def hints(self) -> tuple[PeerHint, ...]:
        return ()

    @property
    def names(self) -> list[str]:
        return sorted(device.name for device in self.log.members().active)

    async def invite(self, decide: Callable[[ShowCode], Awaitable[bool]], life_s: int = 60) -> Invite:
        return await self.door.invite(self.log.account, life_s, decide)


async def yes(_: ShowCode) -> bool:
    return True


async def no(_: ShowCode) -> bool:
    return False


async def joins(
    invite: Invite, decide: Callable[[ShowCode], Awaitable[bool]] = yes, name: str = "attic"
) -> WorldError | None:
    """Join by a ticket; return why it failed, if it did."""
    key = DeviceKey.from_seed(secrets.token_bytes(32))
    try:
        async with asyncio.timeout(45):
            await join(invite.invitation.ticket, key, name, decide)
    except WorldError as error:
        return error
    return None


def told(story: Callable[[Owner], Awaitable[None]]) -> None:
    async def whole() -> None:
        owner = Owner()
        try:
            await story(owner)
        finally:
            owner.door.close()

    asyncio.run(whole())


def test_both_see_the_same_code_and_the_device_is_in() -> None:
    async def story(owner: Owner) -> None:
        codes: list[str] = []

        async def compare(shown: ShowCode) -> bool:
            codes.append(shown.code)
            return True

        invite = await owner.invite(compare)
        assert await joins(invite, compare) is None
        assert (await invite.ended).name == "attic"
        assert len(codes) == 2
        assert len(set(codes)) == 1
        assert owner.names == ["attic", "desk"]

    told(story)


@pytest.mark.parametrize(("here", "there"), [(no, yes), (yes, no)])
def test_one_no_on_either_side_ends_it_on_both(here, there) -> None:
    async def story(owner: Owner) -> None:
        invite = await owner.invite(here)
        assert isinstance(await joins(invite, there), WorldError)
        with pytest.raises(WorldError):
            await asyncio.wait_for(invite.ended, 30)
        assert owner.names == ["desk"]

    told(story)


def test_a_joiner_that_hangs_up_while_codes_are_compared_ends_the_invitation() -> None:
    async def story(owner: Owner) -> None:
        asked = asyncio.Event()
        answer = asyncio.Event()

        async def compare(_: ShowCode) -> bool:
            asked.set()
            await answer.wait()
            return True

        invite = await owner.invite(compare)
        joining = asyncio.ensure_future(joins(invite))
        await asyncio.wait_for(asked.wait(), 30)
        joining.cancel()
        await asyncio.wait([joining])
        answer.set()
        with pytest.raises(Unreachable) as caught:
            await asyncio.wait_for(invite.ended, 30)
        assert "wos invite" in caught.value.hint
        assert owner.names == ["desk"]

    told(story)


def test_a_ticket_that_was_taken_back_is_worth_nothing() -> None:
    async def story(owner: Owner) -> None:
        taken, other = await owner.invite(yes), await owner.invite(yes)
        owner.door.withdraw(taken)
        assert isinstance(await joins(taken), WorldError)
        assert await joins(other) is None
        assert owner.names == ["attic", "desk"]

    told(story)


def test_who_comes_when_the_door_is_shut_is_told_what_to_do() -> None:
    async def story(owner: Owner) -> None:
        invite = await owner.invite(yes)
        owner.door.withdraw(invite)  # the only one: the door closes
        error = await joins(invite)
        assert isinstance(error, Unreachable)
        assert "wos invite" in error.hint

    told(story)


def test_callers_that_say_nothing_are_limited() -> None:
    async def story(owner: Owner) -> None:
        invite = await owner.invite(yes)
        address = parse_address(invite.invitation.ticket.addresses[0])
        silent = [await asyncio.open_connection(*address) for _ in range(CALLERS_MAX)]
        reader, writer = await asyncio.open_connection(*address)
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()
        for _, waiting in silent:
            waiting.close()
        async with asyncio.timeout(30):
            while await joins(invite) is not None:
                pass
        assert owner.names == ["attic", "desk"]

    told(story)


def test_a_code_is_confirmed_once() -> None:
    async def story() -> None:
        waiting = Confirmations()
        number, answer = waiting.begin()
        waiting.answer(number, yes=True)
        assert await answer
        with pytest.raises(BadRequest, match="nobody waits"):
            waiting.answer(number, yes=True)
        number, answer = waiting.begin()
        waiting.give_up(number)
        assert not await answer

    asyncio.run(story())


def test_a_ticket_is_good_once() -> None:
    async def story(owner: Owner) -> None:
        invite = await owner.invite(yes)
        assert await joins(invite) is None
        second = await joins(invite)
        assert isinstance(second, NotAllowed | BadRequest), second
        assert "used" in str(second)

    told(story)
