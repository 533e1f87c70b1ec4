import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos import errors
from worldos.depot import wire
from worldos.depot.limits import HEAD_BYTES_MAX, IDS_PER_REQUEST_MAX, PAYLOAD_BYTES_MAX
from worldos.errors import NotAllowed, OverQuota, PeerBroke, Unreachable, WorldError
from worldos.store.entry import sign_entry
from worldos.trust.keys import DeviceKey

ID = bytes(range(32))
KEY = DeviceKey.from_seed(bytes(32))
ENTRY = sign_entry(KEY, ID, 1, b"body")
OWNED = wire.Owned(owner="a", kind="share", size_bytes=1, count=1)
REQUESTS = (
    wire.Who(node="n", account="a", rights="guest", lease="l", lease_bytes=7),
    wire.PutShare(id=1, share=ID, owner="a", kind="cache", digests=ID * 2),
    wire.GetShare(id=2, share=ID, offset=3, length=4, digests=True),
    wire.Have(id=3, shares=(ID, ID)),
    wire.Drop(id=4, shares=(ID,)),
    wire.Restore(id=5, shares=()),
    wire.Append(id=6, entries=(ENTRY,)),
    wire.ReadLog(id=7, log=ID, from_seq=9, max_bytes=10),
    wire.Last(id=8, logs=(ID,)),
    wire.Heads(id=9, after=ID, limit=10),
    wire.Care(id=10, locator=ID, verify=ID, owner="a"),
    wire.Cares(id=11),
    wire.Forget(id=12, locator=ID),
    wire.Usage(id=14),
)
REPLIES = (
    wire.Done(id=1, count=2),
    wire.Got(id=2, digests=ID),
    wire.Held(id=3, sizes=(-1, 5)),
    wire.Entries(id=4, entries=(ENTRY,)),
    wire.HeadList(id=5, heads=(wire.LogHead(log=ID, seq=4, whole=3, digest=b"", register=True),)),
    wire.CareList(id=6, cares=(wire.Cared(locator=ID, verify=ID, owner="a"),)),
    wire.UsageTold(id=8, capacity_bytes=1, free_bytes=0, disk_bytes=3, trash_bytes=4, damaged=5, owned=(OWNED,)),
    wire.Refused(id=9, error="OverQuota", message="full", hint="wait"),
)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda said: type(said).__name__)
def test_every_request_is_read_as_it_was_written(request_):
    frame = wire.frame_head(request_, 17)
    assert wire.read_lengths(frame) == (len(frame) - 8, 17)
    assert wire.read_request(frame[8:]) == request_


@pytest.mark.parametrize("reply", REPLIES, ids=lambda said: type(said).__name__)
def test_every_answer_is_read_as_it_was_written(reply):
    assert wire.read_reply(wire.frame_head(reply)[8:]) == reply


def test_the_bytes_of_the_protocol_stay_as_they_are():
    assert wire.frame_head(wire.Have(id=1, shares=(ID,))).hex() == ("2a0000000000000093a4686176650191c420" + ID.hex())
    assert wire.frame_head(wire.Done(id=300)).hex() == "0a0000000000000093a4646f6e65cd012c00"


@given(st.binary(max_size=200))
def test_garbage_is_no_request_and_no_answer(garbage):
    for read in (wire.read_request, wire.read_reply):
        try:
            said = read(garbage)
        except PeerBroke:
            continue
        assert isinstance(said, msgspec.Struct)


@given(st.sampled_from(REQUESTS), st.data())
def test_a_flipped_byte_gives_a_request_or_is_refused(request_, data):
    head = bytearray(wire.frame_head(request_)[8:])
    at = data.draw(st.integers(0, len(head) - 1))
    head[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(PeerBroke):
        assert isinstance(wire.read_request(head), msgspec.Struct)


@pytest.mark.parametrize(
    "lengths", [(0, 0), (HEAD_BYTES_MAX + 1, 0), (1, PAYLOAD_BYTES_MAX + 1), (2**32 - 1, 2**32 - 1)]
)
def test_lengths_that_no_frame_has_are_refused(lengths):
    with pytest.raises(PeerBroke, match="longer than any"):
        wire.read_lengths(wire.HEADER.pack(*lengths))


@pytest.mark.parametrize(
    "said",
    [
        ["have", 1, [ID] * (IDS_PER_REQUEST_MAX + 1)],
        ["have", 1, [ID[:31]]],
        ["have", -1, [ID]],
        ["have", 1 << 63, [ID]],
        ["put", 1, ID, "a", "other", b""],
        ["get", 1, ID, 0, -2],
        ["who", 1, "n", "a", "root"],
        ["nothing", 1],
    ],
)
def test_what_is_out_of_bounds_is_refused_by_its_type(said):
    with pytest.raises(PeerBroke, match="no request"):
        wire.read_request(msgspec.msgpack.encode(said))


def test_an_error_comes_back_as_what_it_was():
    refused = wire.refusal(3, OverQuota("full", hint="delete something"))
    back = wire.error_of(refused)
    assert type(back) is OverQuota
    assert (str(back), back.hint, refused.id) == ("full", "delete something", 3)
    assert type(wire.error_of(wire.refusal(3, NotAllowed()))) is NotAllowed


@pytest.mark.parametrize("name", ["SystemExit", "annotations", "ClassVar", "", "nonsense"])
def test_a_name_that_is_no_error_of_ours_makes_none(name):
    assert type(wire.error_of(wire.Refused(id=1, error=name, message="x"))) is Unreachable


def test_every_error_of_ours_can_be_told():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, WorldError)]
    assert all(type(wire.error_of(wire.refusal(1, kind("x")))) is kind for kind in kinds)
