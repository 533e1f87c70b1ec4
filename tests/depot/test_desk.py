from collections.abc import Iterator

import pytest

from worldos.depot import wire
from worldos.depot.block_store import BlockStore
from worldos.depot.desk import Desk, Spent
from worldos.depot.limits import GUEST_APPENDED_BYTES_MAX, LEAF_BYTES
from worldos.errors import BadRequest, BadSignature, NotAllowed, OverQuota
from worldos.store.entry import sign_entry
from worldos.trust.keys import DeviceKey

A, B, C = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32
LOG = bytes([9]) * 32
KEY = DeviceKey.from_seed(bytes(32))
NOTHING = memoryview(b"")
OWN = wire.Who(node="n", account="me", rights="own")
GUEST = wire.Who(node="g", account="guest", rights="guest")
TENANT = wire.Who(node="g", account="guest", rights="guest", lease="l", lease_bytes=100_000)

SPENT = Spent()


def digests(data: bytes) -> bytes:
    return bytes(-(-len(data) // LEAF_BYTES) * 32)


class Asking:
    """A desk, and what it answers: values, or the errors that the answers are."""

    def __init__(self, store: BlockStore, who: wire.Who) -> None:
        self.desk = Desk(store, who, SPENT)

    def __call__(self, request: wire.AnyRequest, payload: bytes = b"") -> tuple[wire.AnyReply, bytes]:
        reply, data = self.desk.answer(request, memoryview(payload), lambda size: memoryview(bytearray(size)))
        assert reply.id == request.id
        if isinstance(reply, wire.Refused):
            assert not len(data)
            raise wire.error_of(reply)
        return reply, bytes(data)

    def put(self, share: bytes, data: bytes, owner: str = "", kind: str = "share") -> wire.AnyReply:
        request = wire.PutShare(id=1, share=share, owner=owner, kind=kind, digests=digests(data))
        return self(request, data)[0]

    def get(self, share: bytes, offset: int = 0, length: int = -1) -> bytes:
        return self(wire.GetShare(id=2, share=share, offset=offset, length=length))[1]

    def have(self, *shares: bytes) -> tuple[int, ...]:
        return self(wire.Have(id=3, shares=shares))[0].sizes

    def drop(self, *shares: bytes) -> int:
        return self(wire.Drop(id=4, shares=shares))[0].count

    def restore(self, *shares: bytes) -> int:
        return self(wire.Restore(id=5, shares=shares))[0].count

    def append(self, *entries: object) -> int:
        return self(wire.Append(id=6, entries=entries))[0].count


@pytest.fixture
def store(tmp_path) -> Iterator[BlockStore]:
    with BlockStore(tmp_path / "depot", capacity_bytes=1 << 30) as store:
        SPENT.__init__()
        yield store


@pytest.fixture
def own(store):
    return Asking(store, OWN)


@pytest.fixture
def guest(store):
    return Asking(store, GUEST)


@pytest.fixture
def tenant(store):
    return Asking(store, TENANT)


def test_the_owner_puts_gets_drops_and_restores(own):
    data = bytes(range(256)) * 100
    assert own.put(A, data) == wire.Done(id=1, count=1)
    assert own.put(A, data) == wire.Done(id=1, count=1)  # once more is the same
    assert own.have(A, B) == (len(data), -1)
    assert own.get(A) == data
    assert own.get(A, 1000, 24) == data[1000:1024]
    assert own.get(A, len(data)) == b""
    reply, _ = own(wire.GetShare(id=1, share=A, digests=True))
    assert reply.digests == digests(data)
    assert (own.drop(A, B), own.have(A)) == (1, (-1,))
    assert (own.restore(A, B), own.have(A)) == (1, (len(data),))


@pytest.mark.parametrize("request_", [wire.GetShare(id=1, share=B), wire.GetShare(id=1, share=A, offset=2, length=9)])
def test_what_is_not_there_is_refused_in_words(own, request_):
    own.put(A, b"x")
    with pytest.raises(BadRequest):
        own(request_)


def test_a_share_without_the_digests_of_its_leaves_is_refused(own):
    for data, said in ((b"x", b""), (b"x", bytes(64)), (bytes(LEAF_BYTES + 1), bytes(32))):
        with pytest.raises(BadRequest, match="leaves"):
            own(wire.PutShare(id=1, share=A, owner="", kind="share", digests=said), data)
    with pytest.raises(BadRequest, match="has bytes"):
        own(wire.PutShare(id=1, share=A, owner="", kind="share", digests=b""))


def test_other_bytes_under_a_known_id_are_refused(own):
    own.put(A, b"x")
    with pytest.raises(NotAllowed):
        own.put(A, b"y")
    assert own.get(A) == b"x"


def test_logs_are_kept_read_and_listed(own):
    entries = [sign_entry(KEY, LOG, seq, b"body %d" % seq) for seq in (1, 2, 3)]
    assert own.append(*entries) == 3
    assert own.append(entries[1]) == 0
    assert own(wire.ReadLog(id=1, log=LOG, from_seq=2))[0].entries == tuple(entries[1:])
    assert own(wire.Last(id=1, logs=(LOG, B)))[0].entries == (entries[2],)
    (head,) = own(wire.Heads(id=1))[0].heads
    assert (head.log, head.seq, head.whole, head.register) == (LOG, 3, 3, False)
    assert own(wire.Heads(id=1, after=LOG))[0].heads == ()


def test_an_entry_that_its_key_did_not_sign_is_refused(own):
    entry = sign_entry(KEY, LOG, 1, b"body")
    forged = type(entry)(**{**{f: getattr(entry, f) for f in entry.__struct_fields__}, "body": b"other"})
    with pytest.raises(BadSignature):
        own.append(forged)
    own.append(entry)
    with pytest.raises(NotAllowed):  # and one of another key, however well it is signed
        own.append(sign_entry(DeviceKey.from_seed(bytes([1]) * 32), LOG, 2, b"mine"))


def test_cares_are_kept_until_they_are_forgotten(own):
    own(wire.Care(id=1, locator=A, verify=B, owner="me"))
    own(wire.Care(id=1, locator=B, verify=C, owner="kin"))
    cares = own(wire.Cares(id=1))[0].cares
    assert cares == (wire.Cared(locator=A, verify=B, owner="me"), wire.Cared(locator=B, verify=C, owner="kin"))
    own(wire.Forget(id=1, locator=A))
    assert own(wire.Cares(id=1))[0].cares == cares[1:]


def test_usage_is_told_by_account_and_a_guest_hears_of_its_own_alone(own, tenant):
    own.put(A, bytes(1000))
    own.put(B, bytes(500), kind="cache")
    tenant.put(C, bytes(70))
    told = own(wire.Usage(id=1))[0]
    assert {(each.owner, each.kind): each.size_bytes for each in told.owned} == {
        ("me", "share"): 1000,
        ("me", "cache"): 500,
        ("guest", "share"): 70,
    }
    assert told.capacity_bytes == 1 << 30
    (mine,) = tenant(wire.Usage(id=1))[0].owned
    assert (mine.owner, mine.size_bytes) == ("guest", 70)


def test_a_guest_reads_what_it_has_the_ids_of(own, guest):
    own.put(A, b"data")
    entry = sign_entry(KEY, LOG, 1, b"body")
    own.append(entry)
    assert guest.get(A) == b"data"
    assert guest.have(A, B) == (4, -1)
    assert guest(wire.ReadLog(id=1, log=LOG))[0].entries == (entry,)
    assert guest(wire.Last(id=1, logs=(LOG,)))[0].entries == (entry,)


OWNERS_ALONE = (
    wire.Heads(id=1),
    wire.Cares(id=1),
    wire.Care(id=1, locator=A, verify=B, owner="guest"),
    wire.Forget(id=1, locator=A),
)


@pytest.mark.parametrize("request_", OWNERS_ALONE, ids=lambda request: type(request).__name__)
@pytest.mark.parametrize("who", [GUEST, TENANT], ids=["guest", "tenant"])
def test_a_guest_lists_and_steers_nothing(store, who, request_):
    with pytest.raises(NotAllowed, match="own account"):
        Asking(store, who)(request_)


def test_a_guest_puts_with_a_lease_alone_and_no_more_than_that_allows(guest, tenant):
    with pytest.raises(NotAllowed, match="lease"):
        guest.put(A, b"x")
    tenant.put(A, bytes(60_000))
    with pytest.raises(OverQuota, match="100000"):
        tenant.put(B, bytes(60_000))
    tenant.put(B, bytes(40_000))
    with pytest.raises(OverQuota):
        tenant.put(C, b"x")
    assert tenant.have(A, B, C) == (60_000, 40_000, -1)


def test_what_was_sent_again_costs_nothing_and_what_was_dropped_is_not_lent_twice(store, tenant):
    tenant.put(A, bytes(60_000))
    tenant.put(A, bytes(60_000))
    with pytest.raises(NotAllowed):
        tenant.put(A, b"other bytes")
    tenant.put(B, bytes(40_000))
    tenant.drop(A)
    with pytest.raises(OverQuota, match="100000 are used"):
        tenant.put(C, b"x")
    another = wire.Who(node="g", account="guest", rights="guest", lease="l2", lease_bytes=10)
    Asking(store, another).put(C, b"x")


def test_what_a_guest_puts_is_its_own_whatever_it_says(own, tenant):
    tenant.put(A, b"x", owner="me")
    (each,) = own(wire.Usage(id=1))[0].owned
    assert each.owner == "guest"


def test_a_guest_drops_what_its_account_has_here_and_nothing_else(own, tenant):
    own.put(A, b"mine")
    tenant.put(B, b"its")
    assert tenant.drop(A, B) == 1
    assert tenant.have(A, B) == (4, -1)
    assert tenant.restore(A, B) == 1
    own.drop(A)
    assert tenant.restore(A) == 0
    assert own.drop(B) == 1  # the owner of the disk decides


def test_a_guest_without_a_lease_adds_to_logs_that_are_there_within_bounds(own, guest, tenant):
    first, second = (sign_entry(KEY, LOG, seq, b"x") for seq in (1, 2))
    with pytest.raises(NotAllowed, match="lease"):
        guest.append(first)
    assert tenant.append(first) == 1
    assert guest.append(second) == 1
    bodies = [sign_entry(KEY, LOG, 3 + n, bytes(4 << 20)) for n in range(GUEST_APPENDED_BYTES_MAX // (4 << 20))]
    for entry in bodies[:-1]:
        guest.append(entry)
    with pytest.raises(OverQuota):
        guest.append(bodies[-1])
