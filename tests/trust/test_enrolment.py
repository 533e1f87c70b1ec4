"""A realm joins another: the two machines in memory, every order that is out of turn, and everything that a liar may say."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest
from tests.trust.people import ACCOUNT, DESK, LAPTOP

from worldos.errors import BadRequest, NotAllowed, PeerBroke, Unreachable
from worldos.model.parentage import Child, Parent, unfit
from worldos.model.realm import DEPTH_MAX, Contact, Level, RealmId
from worldos.trust.dialogue import Close, Invitation, Send
from worldos.trust.enrolment import (
    Accepted,
    Admit,
    Asked,
    Consider,
    Done,
    Enter,
    Failed,
    Inviter,
    Joiner,
    Offered,
    Output,
    Setback,
    Settled,
    check_child,
    check_parent,
    error_of,
)
from worldos.trust.keys import DeviceKey
from worldos.trust.roots import root_certificate
from worldos.trust.ticket import Guest, Ticket, new_ticket

HOME = "b" * 52
NOW_S = 1_800_000_000


def contact(key: DeviceKey, site: str) -> Contact:
    return Contact(
        node=key.node_id,
        name="desk",
        site=RealmId(site),
        root_cert=root_certificate(key),
        addresses=("192.168.1.7:7370",),
    )


ACME = Parent(
    realm=RealmId("acme-id"),
    name="acme",
    level=Level.ENTERPRISE,
    path="earth/acme",
    lineage=(RealmId("earth-id"), RealmId("acme-id")),
    council=(contact(DESK, ACCOUNT),),
)
MINE = Child(realm=RealmId(HOME), name="home", level=Level.HOME, council=(contact(LAPTOP, HOME),))


def ticket(secret: bytes = b"s" * 16, inviter: DeviceKey = DESK) -> Ticket:
    return new_ticket(
        addresses=("192.168.1.7:7447",),
        secret=secret,
        inviter=inviter.node_id,
        account=ACCOUNT,
        expires_s=NOW_S + 600,
        guest=Guest.REALM,
    )


class Talk:
    """Both sides, and the bytes between them, moved in pieces of any size."""

    def __init__(self, invitation: Invitation | None = None, *, child: Child = MINE, **changed: object) -> None:
        self.invitation = invitation or Invitation(ticket=ticket())
        given = {"invitations": [(self.invitation, ACME)], "key": DESK, "site": ACCOUNT, "now_s": NOW_S, **changed}
        self.inviter = Inviter(seed=b"i" * 32, **given)  # type: ignore[arg-type]
        self.joiner = Joiner(ticket=ticket(), key=LAPTOP, site=HOME, child=child, seed=b"j" * 32)
        self.here: list[Output] = []  # what the inviter's shell is told
        self.there: list[Output] = []  # ... and the joiner's
        self.piece = 1 << 20
        self.move(self.joiner.start(), at=self.joiner)

    def move(self, outputs: list[Output], *, at: Inviter | Joiner) -> None:
        """Carry what one side says to the other, and so on until both are silent."""
        far, told = (self.inviter, self.there) if at is self.joiner else (self.joiner, self.here)
        for output in outputs:
            if isinstance(output, Send):
                for start in range(0, len(output.data), self.piece):
                    self.move(far.receive(output.data[start : start + self.piece]), at=far)
            else:
                told.append(output)

    def confirm(self) -> None:
        self.move(self.joiner.confirm(), at=self.joiner)

    def admitted(self, parent: Parent = ACME) -> None:
        self.move(self.inviter.admitted(parent), at=self.inviter)


def failure(outputs: list[Output]) -> Failed:
    *_, failed, close = outputs
    assert isinstance(failed, Failed)
    assert isinstance(close, Close)
    return failed


def test_the_parent_admits_first_and_then_the_child_enters_it() -> None:
    talk = Talk()
    assert talk.there == [Consider(parent=ACME)]
    assert talk.here == []
    assert not talk.invitation.used, "looking costs nothing"
    talk.confirm()
    assert talk.here == [Admit(child=MINE, node=LAPTOP.node_id)]
    assert talk.invitation.used
    newer = msgspec.structs.replace(ACME, council=(contact(DESK, ACCOUNT), contact(LAPTOP, HOME)))
    talk.admitted(newer)
    assert talk.there[1:] == [Enter(parent=newer)]
    talk.move(talk.joiner.settle(), at=talk.joiner)
    assert talk.here[1:] == [Done(parent=newer, child=MINE), Close()]
    assert talk.there[2:] == [Done(parent=newer, child=MINE), Close()]


def test_bytes_may_come_one_by_one() -> None:
    talk = Talk()
    talk.piece = 1
    talk.confirm()
    talk.admitted()
    assert isinstance(talk.there[-1], Enter)


def test_a_child_that_cannot_write_it_down_says_so() -> None:
    talk = Talk()
    talk.confirm()
    talk.admitted()
    talk.move(talk.joiner.settle("no majority of the council"), at=talk.joiner)
    assert talk.here[-2] == Done(parent=ACME, child=MINE, why="no majority of the council")


def test_a_no_of_the_person_ends_it_and_leaves_the_ticket() -> None:
    talk = Talk()
    talk.move(talk.joiner.decline(), at=talk.joiner)
    assert failure(talk.there).why is Setback.DECLINED_HERE
    assert failure(talk.here).why is Setback.DECLINED_THERE
    again = Talk(talk.invitation)
    again.confirm()
    assert isinstance(again.here[0], Admit)


def test_a_refusal_of_the_charter_is_told_and_leaves_the_ticket() -> None:
    talk = Talk()
    talk.confirm()
    talk.move(talk.inviter.refuse("the name home is taken in acme"), at=talk.inviter)
    failed = failure(talk.there)
    assert failed == Failed(why=Setback.REFUSED, detail="the name home is taken in acme")
    assert isinstance(error_of(failed), NotAllowed)
    assert not talk.invitation.used


def test_a_ticket_is_good_for_one_realm() -> None:
    first = Talk()
    second = Talk(first.invitation)
    first.confirm()
    second.confirm()  # it was shown the parent while the ticket was good
    assert failure(second.here).why is Setback.TICKET_USED
    assert "used already" in failure(second.there).detail
    assert failure(Talk(first.invitation).there).why is Setback.TICKET_USED


def test_a_ticket_is_good_for_so_long() -> None:
    talk = Talk(now_s=NOW_S + 600)
    assert failure(talk.there).why is Setback.TICKET_EXPIRED
    assert "wos realm invite" in error_of(failure(talk.there)).hint


def test_who_has_no_ticket_hears_nothing() -> None:
    talk = Talk(Invitation(ticket=ticket(b"another secret!!")))
    assert failure(talk.here).why is Setback.STRANGER
    assert talk.there == []
    assert failure(talk.joiner.closed()).why is Setback.NO_ANSWER
    assert isinstance(error_of(Failed(why=Setback.NO_ANSWER)), Unreachable)


@pytest.mark.parametrize("garbage", [b"\0" * 200, b"\x16\x03\x01\x02\x00", b"\xff" * 9, b"\0\0\0\0", b"\0\0\0\x01x"])
def test_garbage_is_a_stranger(garbage: bytes) -> None:
    inviter = Inviter(
        invitations=[(Invitation(ticket=ticket()), ACME)], key=DESK, site=ACCOUNT, now_s=NOW_S, seed=b"i" * 32
    )
    outputs = inviter.receive(garbage)
    if outputs:
        assert failure(outputs).why is Setback.STRANGER
    assert not any(isinstance(output, Send) for output in outputs)


def test_whoever_copied_the_ticket_cannot_answer_in_the_inviters_place() -> None:
    talk = Talk(key=LAPTOP)
    assert failure(talk.there).why is Setback.WRONG_INVITER
    assert failure(Talk(site=HOME).there).why is Setback.WRONG_INVITER


def test_a_changed_byte_ends_it() -> None:
    talk = Talk()
    sends = talk.joiner.confirm()
    assert isinstance(sends[0], Send)
    data = bytearray(sends[0].data)
    data[-1] ^= 1
    assert failure(talk.inviter.receive(bytes(data))).why is Setback.BROKE


def test_random_bytes_after_the_handshake_never_raise() -> None:
    chance = random.Random(1)
    for _ in range(200):
        talk = Talk()
        for side in (talk.inviter, talk.joiner):
            side.receive(chance.randbytes(chance.randrange(1, 300)))
            side.receive(b"\0\0\0\x40" + chance.randbytes(64))
            assert side.ended or side.closed()


def test_a_connection_that_ends_is_told() -> None:
    talk = Talk()
    talk.confirm()
    assert failure(talk.joiner.closed()).why is Setback.CUT
    assert failure(talk.inviter.closed()).why is Setback.CUT
    assert talk.inviter.admitted(ACME) == [], "nobody is there to hear it"


@pytest.mark.parametrize(
    "say",
    [
        lambda talk: Settled(why=""),
        lambda talk: Accepted(parent=ACME),
        lambda talk: Offered(hello=talk.inviter._hello("inviter", talk.inviter._transcript), parent=ACME),
        lambda talk: Asked(hello=talk.inviter._hello("inviter", talk.inviter._transcript), child=MINE),
    ],
)
def test_what_is_out_of_turn_or_signed_by_another_ends_it(say: Callable[[Talk], object]) -> None:
    talk = Talk()
    talk.move(talk.joiner._tell(say(talk)), at=talk.joiner)  # type: ignore[arg-type]
    assert failure(talk.here).why is Setback.BROKE
    talk = Talk()
    talk.move(talk.inviter._tell(say(talk)), at=talk.inviter)  # type: ignore[arg-type]
    assert failure(talk.there).why is Setback.BROKE


def test_another_realm_than_was_shown_is_not_entered() -> None:
    talk = Talk()
    talk.confirm()
    other = msgspec.structs.replace(ACME, realm=RealmId("other"), lineage=(RealmId("other"),))
    talk.admitted(other)
    assert failure(talk.there).why is Setback.BROKE


def test_nothing_can_be_confirmed_before_it_was_shown() -> None:
    with pytest.raises(BadRequest):
        Joiner(ticket=ticket(), key=LAPTOP, site=HOME, child=MINE, seed=b"j" * 32).confirm()


change = msgspec.structs.replace


@pytest.mark.parametrize(
    ("child", "why"),
    [
        (change(MINE, realm=RealmId("acme-id")), "not below itself"),
        (change(MINE, realm=RealmId("earth-id")), "loop"),
        (change(MINE, level=Level.ENTERPRISE), "higher level"),
        (change(MINE, level=Level.PLANET), "home is planet, acme is enterprise"),
    ],
)
def test_what_does_not_fit_is_refused_on_both_sides(child: Child, why: str) -> None:
    assert why in unfit(ACME, child)
    talk = Talk(child=child)
    assert why in failure(talk.there).detail
    assert why in failure(talk.here).detail
    talk = Talk()
    talk.joiner.child = child  # one that does not look
    talk.confirm()
    assert why in failure(talk.here).detail
    assert why in failure(talk.there).detail


def test_a_tree_has_a_greatest_depth() -> None:
    deep = change(ACME, lineage=(*(RealmId(f"r{n}") for n in range(DEPTH_MAX - 1)), ACME.realm))
    check_parent(deep)
    assert "above it" in unfit(deep, MINE)


@pytest.mark.parametrize(
    "wrong",
    [
        change(ACME, name="a/b"),
        change(ACME, name=""),
        change(ACME, name="\x1b[2J"),
        change(ACME, path="earth/\x1b[2Jacme"),
        change(ACME, council=()),
        change(ACME, lineage=(RealmId("earth-id"),)),
        change(ACME, lineage=(RealmId("acme-id"), RealmId("acme-id"))),
        change(ACME, council=(change(contact(DESK, ACCOUNT), root_cert=root_certificate(LAPTOP)),)),
        change(ACME, council=(change(contact(DESK, ACCOUNT), name="\n"),)),
    ],
)
def test_a_parent_that_lies_is_not_shown_to_anybody(wrong: Parent) -> None:
    with pytest.raises(PeerBroke):
        check_parent(wrong)
    talk = Talk(invitations=[(Invitation(ticket=ticket()), wrong)])
    assert failure(talk.there).why is Setback.BROKE


def test_a_child_that_lies_never_reaches_the_charter() -> None:
    for wrong in (change(MINE, name="../x"), change(MINE, council=()), change(MINE, name=" home")):
        with pytest.raises(PeerBroke):
            check_child(wrong)
        talk = Talk(child=wrong)
        talk.confirm()
        assert failure(talk.here).why is Setback.BROKE
        assert not talk.invitation.used
