"""Quorums count persons: never keys, never signatures, and only for these exact bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.guard.fleet import a_command, a_roll, id_of
from tests.trust.soft_passkey import SoftPasskey

from worldos.errors import BadSignature, PeerBroke
from worldos.kernel.guard.command import Drain, Drive, command_id, encode_command
from worldos.kernel.guard.levels import Need
from worldos.kernel.guard.quorum import APPROVAL_DOMAIN, needed, tally, voice
from worldos.kernel.guard.roll import Approver, Roll, passkey_id
from worldos.kernel.guard.said import Approval
from worldos.model.ids import NodeId
from worldos.model.realm import Level
from worldos.model.rights import Impact
from worldos.trust.passkeys import write_assertion

NATIONS = [(f"n{nation}p{person}", f"nation{nation}") for nation in range(12) for person in range(7)]
PLANET = a_roll(Level.PLANET, approvers=NATIONS, population=1_000_000)
NATION = a_roll(Level.NATION, approvers=[(f"p{n}", f"i{n % 5}") for n in range(7)], population=100_000)
ORIGIN = "http://localhost:7381"


def keys(*names: str) -> list[NodeId]:
    return [id_of(name) for name in names]


def test_five_of_seven_from_four_institutions() -> None:
    need = Need(approvals=5, institutions=4)
    assert tally(NATION, need, keys("p0", "p1", "p2", "p3")).missing == "4 of 5 approvals"
    assert tally(NATION, need, keys("p0", "p5", "p1", "p6", "p2")).missing == "3 of 4 institutions"
    assert tally(NATION, need, keys("p0", "p1", "p2", "p3", "p4")).missing == ""


def test_the_planet_needs_two_thirds_of_its_nations_each_by_five_of_its_seven() -> None:
    command = a_command(PLANET, Drive(path=("grid", "breaker"), verb="open"), cls=Impact.IRREVERSIBLE)
    need = needed(PLANET, command)
    eight = [id_of(f"n{nation}p{person}") for nation in range(8) for person in range(5)]
    assert tally(PLANET, need, eight).missing == ""
    assert tally(PLANET, need, eight[:-1]).missing
    four_each = [id_of(f"n{nation}p{person}") for nation in range(12) for person in range(4)]
    assert tally(PLANET, need, four_each).missing == "0 of 40 approvals by persons"
    seven = [id_of(f"n{nation}p{person}") for nation in range(7) for person in range(7)]
    assert tally(PLANET, need, seven).missing == "7 of 8 institutions"


def test_the_same_key_many_times_is_one_voice() -> None:
    assert tally(NATION, Need(approvals=2), keys("p0") * 5).missing


def test_two_keys_of_one_owner_are_one_voice() -> None:
    both = tuple(Approver(key=id_of(name), owner="ada", human=True) for name in ("phone", "laptop"))
    roll = Roll(realm=NATION.realm, level=Level.HOME, number=1, population=2, approvers=both)
    counted = tally(roll, Need(approvals=2), keys("phone", "laptop"))
    assert counted.owners == ("ada",)
    assert counted.missing == "1 of 2 approvals"


def test_a_key_that_is_not_on_the_roll_counts_nothing() -> None:
    assert tally(NATION, Need(), keys("eve", "mallory")).owners == ()


def test_where_persons_must_agree_a_machine_does_not_count() -> None:
    roll = a_roll(Level.ENTERPRISE, ["n"], ["ada", "bob"], human=False)
    assert tally(roll, Need(approvals=2), keys("ada", "bob")).missing == ""
    assert "by persons" in tally(roll, Need(approvals=2, humans=True), keys("ada", "bob")).missing


def test_to_take_away_one_key_is_enough_at_every_level() -> None:
    assert needed(PLANET, a_command(PLANET, Drain())) == Need()


@given(st.sets(st.integers(0, 83)), st.sets(st.integers(0, 83)))
def test_more_approvals_never_undo_a_quorum(some: set[int], more: set[int]) -> None:
    need = needed(PLANET, a_command(PLANET))
    few = [id_of(NATIONS[number][0]) for number in sorted(some)]
    many = [id_of(NATIONS[number][0]) for number in sorted(some | more)]
    if not tally(PLANET, need, few).missing:
        assert not tally(PLANET, need, many).missing
    assert set(tally(PLANET, need, few).owners) <= set(tally(PLANET, need, many).owners)


# -- voices -----------------------------------------------------------------------------------------------------------------


def with_passkey(passkey: SoftPasskey) -> Roll:
    approver = Approver(key=NodeId(passkey_id(passkey.public)), owner="ada", passkey=passkey.public, rp=passkey.rp)
    return Roll(realm=NATION.realm, level=Level.HOME, number=1, population=2, approvers=(approver,))


def by_passkey(passkey: SoftPasskey, body: bytes, signed: bytes) -> Approval:
    assertion = write_assertion(passkey.assertion(APPROVAL_DOMAIN, signed))
    return Approval(command=command_id(body), key=NodeId(passkey_id(passkey.public)), assertion=assertion)


def test_a_passkey_signs_the_bytes_of_the_command_itself() -> None:
    passkey = SoftPasskey(ORIGIN)
    roll = with_passkey(passkey)
    body = encode_command(a_command(roll))
    other = encode_command(a_command(roll, note="other"))
    approver = voice(roll, id_of("carrier"), by_passkey(passkey, body, body), body)
    assert approver is not None
    assert approver.owner == "ada"
    with pytest.raises(BadSignature):
        voice(roll, id_of("carrier"), by_passkey(passkey, body, other), body)
    with pytest.raises(PeerBroke):
        voice(roll, id_of("carrier"), Approval(command=command_id(body), key=approver.key), body)


def test_a_device_speaks_for_itself_alone() -> None:
    body = encode_command(a_command(NATION))
    approval = Approval(command=command_id(body), key=id_of("p0"))
    assert voice(NATION, id_of("p0"), approval, body) is not None
    with pytest.raises(BadSignature):
        voice(NATION, id_of("p1"), approval, body)
    stranger = Approval(command=command_id(body), key=id_of("eve"))
    assert voice(NATION, id_of("eve"), stranger, body) is None
