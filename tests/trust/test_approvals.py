"""A quorum is reached by different owners, each once, over the same bytes; whoever signed can be seen."""

import msgspec
import pytest
from tests.trust.people import DESK, LAPTOP, PHONE, TABLET

from worldos.errors import BadSignature, NotAllowed, PeerBroke
from worldos.model.ids import AccountId
from worldos.trust.approvals import SEATS_MAX, Quorum, Seat, check_approvals, check_quorum, join
from worldos.trust.keys import DeviceKey

ANN, BEN, CID = (AccountId(DeviceKey.from_seed(name * 32).node_id) for name in (b"A", b"B", b"C"))
OWNERS = {LAPTOP.node_id: ANN, PHONE.node_id: ANN, DESK.node_id: BEN, TABLET.node_id: CID}
SEATS = tuple(Seat(account=OWNERS[key], key=key) for key in sorted(OWNERS))
QUORUM = Quorum(threshold=2, seats=SEATS)


def signed(*keys: DeviceKey, message: bytes = b"these bytes") -> dict[str, bytes]:
    return {key.node_id: key.sign("test", message) for key in keys}


def test_two_owners_are_two_votes() -> None:
    check_quorum(QUORUM)
    signature = join(QUORUM, signed(LAPTOP, DESK))
    check_approvals(QUORUM, signature, "test", b"these bytes")
    for domain, message in (("test", b"other bytes"), ("other", b"these bytes")):
        with pytest.raises(BadSignature):
            check_approvals(QUORUM, signature, domain, message)


def test_two_keys_of_one_owner_are_one_vote() -> None:
    with pytest.raises(NotAllowed, match="a weight of 1 of different owners; 2"):
        join(QUORUM, signed(LAPTOP, PHONE))
    loose = Quorum(threshold=1, seats=SEATS)
    with pytest.raises(BadSignature, match="too few"):
        check_approvals(QUORUM, join(loose, signed(LAPTOP, PHONE)), "test", b"these bytes")


def test_weights_count_and_the_heaviest_key_of_an_owner_speaks() -> None:
    heavy = msgspec.structs.replace(
        QUORUM,
        threshold=5,
        seats=tuple(msgspec.structs.replace(seat, weight=3 if seat.account == ANN else 2) for seat in SEATS),
    )
    check_quorum(heavy)
    check_approvals(heavy, join(heavy, signed(PHONE, TABLET)), "test", b"these bytes")
    with pytest.raises(NotAllowed):
        join(heavy, signed(DESK, TABLET))
    with pytest.raises(PeerBroke, match="cannot be reached"):
        check_quorum(msgspec.structs.replace(heavy, threshold=8))


def test_a_signature_of_another_form_is_refused() -> None:
    good = join(QUORUM, signed(LAPTOP, DESK))
    same = good[:2] + good[2:66] * 2
    for bad in (b"", good[:-1], good + b"x", b"\0\0" + good[2:], b"\xff\xff" + good[2:], same, b"\0\x01" + good[2:66]):
        with pytest.raises(BadSignature):
            check_approvals(QUORUM, bad, "test", b"these bytes")


@pytest.mark.parametrize(
    "wrong",
    [
        Quorum(threshold=1, seats=()),
        Quorum(threshold=0, seats=SEATS),
        Quorum(threshold=1, seats=SEATS[::-1]),
        Quorum(threshold=1, seats=(SEATS[0], SEATS[0])),
        Quorum(threshold=1, seats=tuple(SEATS[0] for _ in range(SEATS_MAX + 1))),
        Quorum(threshold=1, seats=(msgspec.structs.replace(SEATS[0], weight=0),)),
        Quorum(threshold=1, seats=(msgspec.structs.replace(SEATS[0], weight=10**6),)),
        Quorum(threshold=1, seats=(msgspec.structs.replace(SEATS[0], key="nobody"),)),
        Quorum(threshold=1, seats=(msgspec.structs.replace(SEATS[0], account="nothing"),)),
    ],
)
def test_a_quorum_that_cannot_be_is_refused(wrong: Quorum) -> None:
    with pytest.raises(PeerBroke):
        check_quorum(wrong)
