"""What a depot answers to one connection: who may do what, and nothing of sockets.

Programs of the own account may do all. A guest (a node of another account) may keep shares while it has a lease, as many more
as that allows; read shares and logs whose ids it knows, for an id is unguessable to who was not given it; and drop what its own
account keeps here. It cannot list anything. ``Who`` was written on this machine: nothing that a far program says about itself
is believed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from worldos.depot.block_store import BlockStore
from worldos.depot.limits import GUEST_APPENDED_BYTES_MAX, LEAF_BYTES
from worldos.depot.stream import Buffer
from worldos.depot.wire import (
    AnyReply,
    AnyRequest,
    Append,
    Care,
    Cared,
    CareList,
    Cares,
    Done,
    Drop,
    Entries,
    Forget,
    GetShare,
    Got,
    Have,
    HeadList,
    Heads,
    Held,
    Last,
    LogHead,
    Owned,
    PutShare,
    ReadLog,
    Restore,
    Usage,
    UsageTold,
    Who,
    refusal,
)
from worldos.errors import BadRequest, NotAllowed, OverQuota, WorldError

NOTHING = b""
LEASES_REMEMBERED = 65_536
Borrow = Callable[[int], memoryview]
Heard = Callable[[Who, "Append | Care"], None]


def nobody(who: Who, request: Append | Care) -> None:
    """Listen to nothing that a depot takes in."""
    del who, request


class Spent:
    """What was put under each lease of guests since this process began, for all connections. Safe for several threads."""

    def __init__(self) -> None:
        self._bytes: dict[str, int] = {}
        self._lock = threading.Lock()

    def take(self, lease: str, size_bytes: int, most_bytes: int) -> None:
        """Count bytes against a lease, or refuse them."""
        with self._lock:
            spent = self._bytes.pop(lease, 0)
            fits = spent + size_bytes <= most_bytes
            self._bytes[lease] = spent + size_bytes if fits else spent  # the last used are the last forgotten
            if len(self._bytes) > LEASES_REMEMBERED:
                del self._bytes[next(iter(self._bytes))]
        if not fits:
            raise OverQuota(f"this lease is for {most_bytes} bytes, and {spent} are used", hint="lease more")

    def give_back(self, lease: str, size_bytes: int) -> None:
        """Uncount what was not put after all."""
        with self._lock:
            self._bytes[lease] = max(0, self._bytes.get(lease, 0) - size_bytes)


class Desk:
    """Answers for one connection. Safe for several threads, as its store is."""

    def __init__(self, store: BlockStore, who: Who, spent: Spent, heard: Heard = nobody) -> None:
        self._store = store
        self._spent = spent
        self._heard = heard
        self._who = who
        self._own = who.rights == "own"
        self._appended = 0

    def answer(self, request: AnyRequest, payload: memoryview, borrow: Borrow) -> tuple[AnyReply, Buffer]:
        """Carry out a request; return the answer and its payload, which lies in what ``borrow`` gave."""
        try:
            return self._answer(request, payload, borrow)
        except WorldError as error:
            return refusal(request.id, error), NOTHING

    def _answer(self, request: AnyRequest, payload: memoryview, borrow: Borrow) -> tuple[AnyReply, Buffer]:
        store, number = self._store, request.id
        match request:
            case PutShare():
                return self._put(request, payload), NOTHING
            case GetShare():
                return self._get(request, borrow)
            case Have():
                return Held(id=number, sizes=tuple(store.have(request.shares))), NOTHING
            case Drop():
                return Done(id=number, count=store.drop(request.shares, owner=self._whose())), NOTHING
            case Restore():
                return Done(id=number, count=store.restore(request.shares, owner=self._whose())), NOTHING
            case Append():
                return self._append(request), NOTHING
            case ReadLog():
                entries = store.read_log(request.log, request.from_seq, request.max_bytes)
                return Entries(id=number, entries=tuple(entries)), NOTHING
            case Last():
                found = [entry for log in request.logs if (entry := store.last(log)) is not None]
                return Entries(id=number, entries=tuple(found)), NOTHING
            case Usage():
                return self._usage(request), NOTHING
            case Heads() | Care() | Cares() | Forget():
                return self._answer_own(request), NOTHING

    def _answer_own(self, request: Heads | Care | Cares | Forget) -> AnyReply:
        """What lists or steers the depot is for its owner."""
        if not self._own:
            raise NotAllowed("this depot tells and does that for its own account alone")
        store, number = self._store, request.id
        match request:
            case Heads():
                heads = [
                    LogHead(log=head.log, seq=head.seq, whole=head.whole, digest=head.digest, register=head.register)
                    for head in store.heads(request.after, request.limit)
                ]
                return HeadList(id=number, heads=tuple(heads))
            case Care():
                store.care(request.locator, request.verify, request.owner)
                self._heard(self._who, request)
            case Cares():
                cares = store.cares(request.after, request.limit)
                told = [Cared(locator=care.locator, verify=care.verify, owner=care.owner) for care in cares]
                return CareList(id=number, cares=tuple(told))
            case Forget():
                store.forget_care(request.locator)
        return Done(id=number, count=1)

    def _whose(self) -> str | None:
        """Return whose shares may be dropped: of all accounts (None), or of the guest's own."""
        return None if self._own else self._who.account

    def _put(self, request: PutShare, payload: memoryview) -> Done:
        if not self._own and not self._who.lease:
            raise NotAllowed("there is no lease for this", hint="ask for one: use('Store', amount=...)")
        if not payload.nbytes:
            raise BadRequest("a share has bytes")
        if len(request.digests) != -(-payload.nbytes // LEAF_BYTES) * 32:
            raise BadRequest("a share comes with a digest of each of its leaves")
        if self._own:
            owner = request.owner or self._who.account
            self._store.put(request.share, payload, digests=request.digests, owner=owner, kind=request.kind)
        else:
            self._put_for_guest(request, payload)
        return Done(id=request.id, count=1)

    def _put_for_guest(self, request: PutShare, payload: memoryview) -> None:
        """Keep a share as its account's own, at the cost of its lease."""
        who, size = self._who, payload.nbytes
        cost = size if self._store.have((request.share,))[0] < 0 else 0  # sent again, it takes no more room
        self._spent.take(who.lease, cost, who.lease_bytes)
        try:
            self._store.put(request.share, payload, digests=request.digests, owner=who.account, kind=request.kind)
        except WorldError:
            self._spent.give_back(who.lease, cost)
            raise

    def _get(self, request: GetShare, borrow: Borrow) -> tuple[Got, Buffer]:
        store, length = self._store, request.length
        if length < 0:
            (size,) = store.have((request.share,))
            length = max(0, size - request.offset)
        data = store.get(request.share, request.offset, length, borrow(length))
        digests = store.digests(request.share) if request.digests else b""
        return Got(id=request.id, digests=digests), data

    def _append(self, request: Append) -> Done:
        if not self._own and not self._who.lease:
            strange = [entry for entry in request.entries if self._store.last(entry.log) is None]
            if strange:
                raise NotAllowed("without a lease only to logs that are here", hint="use('Store', amount=...)")
            self._appended += sum(len(entry.body) for entry in request.entries)
            if self._appended > GUEST_APPENDED_BYTES_MAX:
                raise OverQuota("that is more than is taken without a lease")
        taken = self._store.append_many(request.entries)
        if any(taken):
            self._heard(self._who, request)
        return Done(id=request.id, count=sum(taken))

    def _usage(self, request: Usage) -> UsageTold:
        usage = self._store.usage()
        owned = tuple(
            Owned(owner=each.owner, kind=each.kind, size_bytes=each.size_bytes, count=each.count)
            for each in usage.owned
            if self._own or each.owner == self._who.account
        )
        return UsageTold(
            id=request.id,
            capacity_bytes=usage.capacity_bytes,
            free_bytes=usage.free_bytes,
            disk_bytes=usage.disk_bytes,
            trash_bytes=usage.trash_bytes,
            damaged=usage.damaged,
            owned=owned,
        )
