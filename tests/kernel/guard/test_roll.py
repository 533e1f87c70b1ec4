"""Rolls: who may approve and who bears witness; two words for one voice are refused."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.guard.fleet import REALM, a_roll, id_of
from tests.trust.soft_passkey import SoftPasskey

from worldos.errors import PeerBroke
from worldos.kernel.guard.limits import ROLL_BYTES_MAX
from worldos.kernel.guard.roll import (
    Approver,
    Roll,
    Share,
    Witness,
    approvers_of,
    encode_roll,
    institutions,
    owners,
    passkey_id,
    read_roll,
    roll_id,
    witnesses_of,
)
from worldos.model.realm import Level

FIRM = a_roll(Level.ENTERPRISE, ["node0", "node1"], [("ada", "it"), ("bob", "law")], ["w0", "w1"])


def changed(**more: object) -> Roll:
    return msgspec.structs.replace(FIRM, **more)


def test_a_roll_is_read_as_it_was_written() -> None:
    assert read_roll(encode_roll(FIRM)) == FIRM
    assert (owners(FIRM), institutions(FIRM)) == (2, 2)
    assert approvers_of(FIRM)[id_of("ada")].institution == "it"
    assert witnesses_of(FIRM)[id_of("w0")].owner == "witness w0"


def test_another_roll_has_another_id() -> None:
    assert roll_id(FIRM) == roll_id(changed())
    assert len({roll_id(FIRM), roll_id(changed(number=2)), roll_id(changed(approvers=()))}) == 3


@given(st.binary(max_size=300))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(PeerBroke):
        read_roll(data)


def test_a_roll_that_is_too_long_or_written_otherwise_is_refused() -> None:
    with pytest.raises(PeerBroke, match="at most"):
        read_roll(bytes(ROLL_BYTES_MAX + 1))
    with pytest.raises(PeerBroke):
        read_roll(encode_roll(FIRM) + b"\0")


ADA = Approver(key=id_of("ada"), owner="ada", institution="it")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"approvers": (ADA, ADA)}, "named twice"),
        (
            {"approvers": (ADA, Approver(key=id_of("bob"), owner="ada", institution="law"))},
            "speaks for two",
        ),
        ({"approvers": (Approver(key=id_of("ada"), owner="ada", rp="http://localhost"),)}, "only a passkey"),
        ({"witnesses": (Witness(node=id_of("ada"), owner="x"),)}, "bears no witness"),
        ({"witnesses": (Witness(node=id_of("w0"), owner="ada"),)}, "bears no witness"),
        ({"witnesses": (Witness(node=id_of("w0"), owner="x"), Witness(node=id_of("w1"), owner="x"))}, "another owner"),
        ({"witnesses": (Witness(node=id_of("w0"), owner="x"), Witness(node=id_of("w0"), owner="y"))}, "named twice"),
        ({"nodes": tuple(reversed(FIRM.nodes))}, "in order"),
        ({"population": 5}, "all of its nodes"),
        ({"cap": 9, "shares": (Share(place=REALM, holder=id_of("w0"), amount=10),)}, "more than its budget"),
        ({"cap": 9, "shares": (Share(place=REALM, holder=id_of("w0"), amount=1),) * 2}, "named twice"),
    ],
)
def test_a_roll_that_gives_one_voice_twice_is_refused(more: dict[str, object], why: str) -> None:
    with pytest.raises(PeerBroke, match=why):
        encode_roll(changed(**more))


def test_a_passkey_is_named_by_its_key_and_must_be_one() -> None:
    passkey = SoftPasskey("http://localhost:7381")
    right = Approver(key=passkey_id(passkey.public), owner="ada", passkey=passkey.public, rp=passkey.rp)  # type: ignore[arg-type]
    encode_roll(changed(approvers=(right,)))
    for wrong in (
        msgspec.structs.replace(right, key=id_of("ada")),
        msgspec.structs.replace(right, passkey=bytes(77)),
        msgspec.structs.replace(right, rp="http://evil.example"),
    ):
        with pytest.raises(PeerBroke):
            encode_roll(changed(approvers=(wrong,)))


def test_in_a_home_the_same_people_approve_and_look() -> None:
    encode_roll(a_roll(Level.HOME, ["ada", "bob"], ["ada", "bob"], ["ada", "bob"]))
