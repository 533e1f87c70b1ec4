"""Audits of the stores that keep our shares, and the scrub of the depot that we keep ourselves.

An audit reads a leaf of a share as any reader would (store/audit.py): the store says that it has the share, so it must give the
leaf that the manifest's root proves. What it cannot give counts as lost at once, and the carer makes it anew; a store that
fails too often counts for nothing at all. A round draws from all shares that the store says it has; who failed is asked more.
The scrub reads all that lies here, slowly, a full pass in thirty days at most; what rotted is set aside by the depot, so it is
not answered any more, and comes back by repair.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Final

import msgspec

from worldos.depot.block_store import BlockStore
from worldos.depot.limits import IDS_PER_REQUEST_MAX
from worldos.errors import Unreachable, WorldError
from worldos.files.caring import Caring
from worldos.files.stores import Store
from worldos.files.watching import Watch
from worldos.store import audit
from worldos.store.audit import Challenge, Kept, Verdict
from worldos.store.erasure import share_bytes
from worldos.store.manifest import share_ids

SECOND: Final = 1_000_000_000
AUDIT_NS: Final = 6 * 3600 * SECOND  # between two rounds of one store
AUDIT_WAIT_NS: Final = 60 * SECOND  # between two stores
DRAWN_FROM_MAX: Final = 1 << 16  # shares that a round draws from
ANSWER_S: Final = 5.0
SILENT_MAX: Final = 3  # answers that did not come, after which the round waits for another time
SCRUB_BYTES: Final = 64 << 20  # read at once
SCRUB_PASS_NS: Final = 30 * 24 * 3600 * SECOND
SCRUB_NS_MIN: Final = 10 * SECOND
SCRUB_NS_MAX: Final = 3600 * SECOND


class Audited(msgspec.Struct, frozen=True, kw_only=True):
    """What one round of one store found."""

    node: str
    asked: int
    good: int
    bad: int


class Auditing:
    """The loop of audits: one store after the other."""

    def __init__(self, caring: Caring, watch: Watch) -> None:
        self._caring = caring
        self._watch = watch
        self._due_ns: dict[str, int] = {}

    def step(self, now_ns: int) -> int:
        """Audit the store whose turn it is."""
        peers = self._watch.peers()
        for store in sorted((*peers.own, *peers.foreign), key=lambda store: self._due_ns.get(store.at.node, 0)):
            due_ns = self._due_ns.setdefault(store.at.node, now_ns + AUDIT_WAIT_NS)
            if not store.doubted and due_ns <= now_ns:
                found = self.audit(store)
                self._due_ns[store.at.node] = now_ns + (AUDIT_WAIT_NS if found.bad else AUDIT_NS)
                break
        return now_ns + AUDIT_WAIT_NS

    def audit(self, store: Store, *, count: int | None = None) -> Audited:
        """Challenge one store: ``count`` times, or as often as its reputation asks for."""
        shares = self._said_to_be_at(store)
        due = audit.challenges_due(self._watch.reputation(store.at.node), len(shares)) if count is None else count
        good = bad = silent = 0
        for challenge in audit.draw(shares, due, secrets.token_bytes(32)):
            verdict = self._challenge(store, challenge)
            if verdict is None:
                silent += 1
                if silent >= SILENT_MAX:
                    break
                continue
            good, bad = good + (verdict is Verdict.GOOD), bad + (verdict is not Verdict.GOOD)
            self._caring.reported(store.at.node, challenge.kept.share, verdict)
        return Audited(node=store.at.node, asked=good + bad + silent, good=good, bad=bad)

    def _said_to_be_at(self, store: Store) -> list[Kept]:
        """Return shares that the store says it has, with what proves them."""
        known: list[Kept] = []
        for care in self._caring.all_cares():
            made = self._caring.map_of(care)
            for segment in made.segments if made is not None else ():
                size = share_bytes(segment.size_bytes, segment.k)
                ids = share_ids(segment, care.verify)
                known += [Kept(share=ids[i], root=segment.roots[i], size_bytes=size) for i in range(segment.n)]
            if len(known) >= 16 * DRAWN_FROM_MAX:
                break
        there: list[Kept] = []
        for first in range(0, len(known), IDS_PER_REQUEST_MAX):
            part = known[first : first + IDS_PER_REQUEST_MAX]
            asked = tuple(kept.share for kept in part)
            try:
                sizes = store.ask(lambda link, asked=asked: link.have(asked)).result(ANSWER_S)  # type: ignore[misc]
            except (WorldError, TimeoutError):
                break
            there += [kept for kept, size in zip(part, sizes, strict=False) if size == kept.size_bytes]
        return there[:DRAWN_FROM_MAX]

    def _challenge(self, store: Store, challenge: Challenge) -> Verdict | None:
        """Put one challenge; None where no answer came: that is for the clocks to judge."""
        share, offset, length = challenge.kept.share, challenge.offset, challenge.length
        try:
            got = store.ask(lambda link: link.get_share(share, offset, length, digests=True)).result(ANSWER_S)
        except (Unreachable, TimeoutError):
            return None
        except WorldError:
            return Verdict.MISSING
        return audit.judge(challenge, got.digests, got.data)


class Scrubbing:
    """The loop of the scrub: reads what lies here, evenly over the month; or all of it at once when asked."""

    def __init__(self, store: BlockStore, found_bad: Callable[[int], None]) -> None:
        self._store = store
        self._found_bad = found_bad
        self._mark = b""
        self.checked = self.bad = 0

    def step(self, now_ns: int) -> int:
        """Read some; return when to read on, so that a pass takes less than thirty days."""
        found = self._store.scrub(self._mark, SCRUB_BYTES)
        self._mark = found.next
        self._count(found.checked, len(found.bad))
        steps = max(1, self._store.disk_bytes // SCRUB_BYTES)
        return now_ns + min(SCRUB_NS_MAX, max(SCRUB_NS_MIN, SCRUB_PASS_NS // (2 * steps)))

    def run_all(self, progress: Callable[[int, int], None]) -> tuple[int, int, int]:
        """Read everything now; return shares checked, bytes checked, and how many were bad."""
        mark, checked, checked_bytes, bad = b"", 0, 0, 0
        whole = max(1, self._store.disk_bytes)
        while True:
            found = self._store.scrub(mark, SCRUB_BYTES)
            mark = found.next
            checked, checked_bytes = checked + found.checked, checked_bytes + found.checked_bytes
            bad += len(found.bad)
            self._count(found.checked, len(found.bad))
            progress(min(checked_bytes, whole), whole)
            if not mark:
                return checked, checked_bytes, bad
            time.sleep(0)  # others of this process come first

    def _count(self, checked: int, bad: int) -> None:
        self.checked, self.bad = self.checked + checked, self.bad + bad
        if bad:
            self._found_bad(bad)
