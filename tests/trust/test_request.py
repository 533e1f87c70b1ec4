"""Requests: signed by the holder of a grant, and good once."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import BadRequest, BadSignature, NotAllowed, OverQuota, PeerBroke
from worldos.model.ids import AccountId
from worldos.model.rights import Op
from worldos.trust import cbor
from worldos.trust.block import Limits
from worldos.trust.grant import Authority, grant_hash, issue, read_chain
from worldos.trust.keys import DeviceKey, id_of
from worldos.trust.limits import NONCE_WINDOW, REQUEST_SKEW_S, STREAMS_MAX, STREAMS_PER_GRANT_MAX
from worldos.trust.request import Request, Requests, read_request, sign_request

NOW_S = 1_800_000_000
OWNER, ANNE, BEN = (DeviceKey.from_seed(bytes([number]) * 32) for number in range(1, 4))
DATA = issue(OWNER, account=AccountId(id_of(b"a" * 32)), holder=ANNE.node_id, limits=Limits(expires_s=NOW_S + 60))
HELD: Authority = read_chain(DATA).authority
BODY = hashlib.sha256(b"what is asked").digest()


def signed(number: int = 1, *, key: DeviceKey = ANNE, at_s: int = NOW_S, stream: int = 1) -> bytes:
    request = Request(
        op=Op.LEASE, path=("a", "b"), body=BODY, at_s=at_s, stream=stream, number=number, chain=grant_hash(DATA)
    )
    return sign_request(key, request)


def take(requests: Requests, data: bytes, now_s: int = NOW_S, held: Authority = HELD) -> None:
    requests.check(read_request(data), held, now_s)


def test_a_request_is_read_as_it_was_signed_and_passes_once() -> None:
    requests = Requests()
    data = signed()
    assert read_request(data).request.path == ("a", "b")
    take(requests, data)
    with pytest.raises(NotAllowed, match="came before"):
        take(requests, data)


def test_requests_may_overtake_each_other_and_none_passes_twice() -> None:
    requests = Requests()
    order = [5, 2, 3, 1, 4, 700, 6]
    for number in order:
        take(requests, signed(number))
    for number in order:
        with pytest.raises(NotAllowed):
            take(requests, signed(number))
    take(requests, signed(NONCE_WINDOW + 5))
    with pytest.raises(NotAllowed):
        take(requests, signed(5))


@given(st.lists(st.integers(0, 3 * NONCE_WINDOW), max_size=30))
def test_no_number_passes_twice_in_any_order(numbers: list[int]) -> None:
    requests = Requests()
    passed = []
    for number in numbers:
        try:
            requests._count(HELD, read_request(signed(1)).request.__class__(**fields(number)), NOW_S)
        except NotAllowed:
            assert number in passed or number <= max(passed) - NONCE_WINDOW
        else:
            passed.append(number)
    assert len(passed) == len(set(passed))


def fields(number: int) -> dict[str, object]:
    request = msgspec.structs.asdict(read_request(signed(1)).request)
    return {**request, "number": number}


@pytest.mark.parametrize("at_s", [NOW_S - 3600, NOW_S + 3600, NOW_S - REQUEST_SKEW_S - 1, NOW_S + REQUEST_SKEW_S + 1])
def test_a_request_of_another_time_is_refused(at_s: int) -> None:
    with pytest.raises(NotAllowed, match="another time"):
        take(Requests(), signed(at_s=at_s))


def test_a_node_that_does_not_know_the_time_takes_none() -> None:
    with pytest.raises(NotAllowed):
        take(Requests(), signed(), now_s=0)


def test_a_node_takes_none_from_before_it_was_started() -> None:
    requests = Requests(since_s=NOW_S)
    with pytest.raises(NotAllowed, match="before this node"):
        take(requests, signed(at_s=NOW_S - 1))
    take(requests, signed(at_s=NOW_S))


def test_a_request_of_another_holder_or_for_another_grant_is_refused() -> None:
    with pytest.raises(BadSignature):
        take(Requests(), signed(key=BEN))
    other = issue(OWNER, account=HELD.account, holder=ANNE.node_id, limits=Limits(expires_s=NOW_S + 61))
    with pytest.raises(NotAllowed, match="another grant"):
        take(Requests(), signed(), held=read_chain(other).authority)


def test_a_changed_request_is_refused_and_counts_for_nothing() -> None:
    requests = Requests()
    data = bytearray(signed())
    data[-65] ^= 1  # the last byte of the grant's hash
    with pytest.raises(NotAllowed):
        take(requests, bytes(data))
    data = bytearray(signed())
    data[-1] ^= 1
    with pytest.raises(BadSignature):
        take(requests, bytes(data))
    assert requests.streams == 0
    take(requests, signed())


def test_two_programs_of_one_holder_count_apart() -> None:
    requests = Requests()
    take(requests, signed(1, stream=1))
    take(requests, signed(1, stream=2))


def test_the_streams_of_one_grant_are_bounded_and_leave_when_too_old_to_come_again() -> None:
    requests = Requests()
    for stream in range(STREAMS_PER_GRANT_MAX):
        requests._count(HELD, Request(**{**fields(1), "stream": stream}), NOW_S)
    with pytest.raises(OverQuota):
        take(requests, signed(stream=1 << 40))
    later_s = NOW_S + REQUEST_SKEW_S + 1
    take(requests, signed(stream=1 << 40, at_s=later_s), now_s=later_s)
    assert requests.streams == 1
    with pytest.raises(NotAllowed):  # forgotten, and still not good twice
        take(requests, signed(stream=1), now_s=later_s)


def test_all_streams_together_are_bounded() -> None:
    requests = Requests()
    for number in range(STREAMS_MAX // STREAMS_PER_GRANT_MAX):
        held = msgspec.structs.replace(HELD, blocks=(f"root{number}",))
        for stream in range(STREAMS_PER_GRANT_MAX):
            requests._count(held, Request(**{**fields(1), "stream": stream}), NOW_S)
    with pytest.raises(OverQuota):
        take(requests, signed())
    later_s = NOW_S + 2 * REQUEST_SKEW_S
    take(requests, signed(at_s=later_s), now_s=later_s)
    assert requests.streams == 1


@pytest.mark.parametrize(
    "data", [b"", bytes(64), bytes(65), bytes(4096), signed()[:-1], signed()[1:], b"\x80" + bytes(64)]
)
def test_garbage_is_no_request(data: bytes) -> None:
    with pytest.raises(PeerBroke):
        read_request(data)


def test_a_request_with_more_than_its_fields_is_none() -> None:
    parts = cbor.decode(signed()[:-64])
    assert isinstance(parts, list)
    with pytest.raises(PeerBroke):
        read_request(cbor.encode([*parts, 1]) + bytes(64))


def test_a_path_that_climbs_cannot_be_asked_for() -> None:
    request = Request(op=Op.READ, path=("a", ".."), body=BODY, at_s=1, stream=1, number=1, chain=BODY)
    with pytest.raises(BadRequest):
        sign_request(ANNE, request)
