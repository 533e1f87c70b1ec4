"""The shares of one segment on their way to stores, and what to do when some do not arrive.

A segment counts as kept when its shares are durable on k + 1 distinct devices, or on all that answer if those are fewer; where
fewer than k + 1 devices answer, each is given more than one share, so that one device of two still has a whole copy.
Whoever makes no progress while the others are done is given up and hung up on: its buffers are free at once, its share is a
debt that carers pay, and it is doubted until it answers again. So a sleeping store costs one wait, once, and a slow one that
still takes bytes is waited for as long as nobody needs its buffers.
Invariant: the bytes of a segment do not change while a share of it may still be read by a link.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from worldos.errors import DiskFull, OverQuota, Unreachable, WorldError
from worldos.files.limits import ANSWER_S, LAGGARD_S, SLOW_S, STALLED_S
from worldos.files.stores import Store
from worldos.store.durability import acknowledged_at
from worldos.store.erasure import Buffer, Code

TICK_S = 0.02


@dataclass(frozen=True)
class Parcel:
    """One share as it is sent: its id, its bytes, the digests of its leaves."""

    share: bytes
    data: Buffer
    digests: bytes


def assigned(code: Code, stores: Sequence[Store]) -> list[tuple[int, Store]]:
    """Say which share goes to which store: one each; several where there are too few stores for the code to bear a loss."""
    if not stores:
        return []
    if len(stores) > code.k:
        return [(index, stores[index]) for index in range(min(code.n, len(stores)))]
    count = code.k if len(stores) == 1 else code.n
    return [(index, stores[index % len(stores)]) for index in range(count)]


def _usable(code: Code, stores: Sequence[Store]) -> list[Store]:
    """Leave out whom to wait for would hold up the others: the doubted, and those that just did so."""
    awake = [store for store in stores if not store.doubted]
    abreast = [store for store in awake if not store.behind]
    return abreast if len(abreast) > code.k else awake or list(stores)


class Shipment:
    """One segment's shares under way. ``released`` is called once, when no link needs the bytes any more."""

    def __init__(
        self, code: Code, parcels: Sequence[Parcel], stores: Sequence[Store], owner: str, released: Callable[[], None]
    ) -> None:
        self._code = code
        self._parcels = parcels
        self._owner = owner
        self._released = released
        self._changed = threading.Condition(threading.RLock())
        self._pending: dict[tuple[int, str], tuple[Store, Future[None]]] = {}
        self._stored: dict[int, str] = {}
        self._failed: dict[str, WorldError] = {}
        self._progress: dict[str, tuple[int, float]] = {}  # what each still had to take, and since when it is no less
        self._open = True
        self._usable = _usable(code, stores)
        self._send(assigned(code, self._usable))
        self._release_if_over()

    # -- what is known ---------------------------------------------------------------------------------------------------

    @property
    def stored(self) -> dict[int, str]:
        """Return which share lies durably on which node."""
        with self._changed:
            return dict(self._stored)

    @property
    def debt(self) -> int:
        """Return how many shares are missing, or still under way."""
        with self._changed:
            return self._code.n - len(self._stored)

    @property
    def kept(self) -> bool:
        """Whether enough of it is durable."""
        with self._changed:
            live = {store.at.node for store in self._usable} - self._failed.keys()
            devices = len(set(self._stored.values()))
            if devices < acknowledged_at(self._code, len(live | set(self._stored.values()))):
                return False
            return len(self._stored) >= self._needed(len(live))

    def _needed(self, devices: int) -> int:
        """Return how many shares must be durable where so many devices answer: see ``assigned``."""
        if devices > self._code.k:
            return min(self._code.k + 1, self._code.n)
        return self._code.n if devices > 1 else self._code.k

    @property
    def size_bytes(self) -> int:
        """Return how many bytes of memory it holds while it is busy."""
        return sum(memoryview(parcel.data).nbytes for parcel in self._parcels)

    @property
    def busy(self) -> bool:
        """Whether shares are still on their way."""
        with self._changed:
            return bool(self._pending)

    def look_after(self, waited_s: float) -> None:
        """Somebody has waited so long for these buffers: give up whoever stalls, and spare whoever is slow for a while."""
        if self.busy and self.kept:
            self._give_up_stalled()
            if waited_s > SLOW_S:
                with self._changed:
                    slow = {store.at.node: store for store, _ in self._pending.values()}
                for store in slow.values():
                    store.spare()

    # -- waiting ---------------------------------------------------------------------------------------------------------

    def wait_kept(self) -> None:
        """Return when it is kept; raise what stores said when none of them keeps it."""
        while True:
            with self._changed:
                if self.kept:
                    return
                if not self._pending and not self._resend():
                    if len(self._stored) >= self._code.k:
                        return
                    raise self._why()
                self._changed.wait(TICK_S)
            self._give_up_stalled()

    def finish(self, patience_s: float) -> None:
        """Wait for the rest as long as it moves and ``patience_s`` allows; give up what is left then."""
        deadline_s = time.monotonic() + patience_s
        while True:
            with self._changed:
                if not self._pending:
                    break
                self._changed.wait(TICK_S)
            self._give_up_stalled()
            if time.monotonic() > deadline_s:
                self.abandon()

    def abandon(self) -> None:
        """Hang up on all that have not answered yet."""
        with self._changed:
            stores = {store.at.node: store for store, _ in self._pending.values()}
        for store in stores.values():
            store.hang_up()

    # -- sending ---------------------------------------------------------------------------------------------------------

    def _send(self, plan: Sequence[tuple[int, Store]]) -> None:
        asked = []
        with self._changed:
            for index, store in plan:
                parcel = self._parcels[index]
                future = store.ask(
                    lambda link, parcel=parcel: link.put_share(  # type: ignore[misc] # mypy and default arguments
                        parcel.share, parcel.data, owner=self._owner, digests=parcel.digests
                    ),
                    keeping=True,
                )
                self._pending[index, store.at.node] = (store, future)
                asked.append((index, store, future))
        for index, store, future in asked:
            future.add_done_callback(lambda done, index=index, store=store: self._answered(index, store, done))  # type: ignore[misc]

    def _answered(self, index: int, store: Store, future: Future[None]) -> None:
        error = None if future.cancelled() else future.exception()
        with self._changed:
            self._pending.pop((index, store.at.node), None)
            if error is None:
                self._stored.setdefault(index, store.at.node)
            elif isinstance(error, WorldError):
                self._failed[store.at.node] = error
                if isinstance(error, DiskFull | OverQuota):
                    store.refused_room = True
            self._changed.notify_all()
        self._release_if_over()

    def _release_if_over(self) -> None:
        """Give the buffers back once nothing more will be sent: enough is kept, or nobody is left to send to."""
        with self._changed:
            over = self._open and not self._pending and (self.kept or not self._live())
            if over:
                self._open = False
                self._parcels = ()  # a session remembers many shipments, and none of their bytes
        if over:
            self._released()

    def _live(self) -> list[Store]:
        return [store for store in self._usable if store.at.node not in self._failed]

    def _resend(self) -> bool:
        """Send what is missing to those that are left; return whether there was any."""
        live = self._live()
        missing = [index for index in range(self._code.n) if index not in self._stored]
        if not live or not missing:
            return False
        need = self._needed(len(live)) - len(self._stored)
        plan = [(index, live[place % len(live)]) for place, index in enumerate(missing[: max(0, need)])]
        self._send(plan)
        return bool(plan)

    def _give_up_stalled(self) -> None:
        """Hang up on stores that took and said nothing for a while, if others have stored their shares in that time.

        Once enough is kept, who is later than usual is not waited for: what it lacks is a debt. Before that a slow disk is no
        reason to do with fewer devices, and the last that are left are waited for as long as anybody.
        """
        now_s = time.monotonic()
        with self._changed:
            kept = self.kept
            stores = {store.at.node: store for store, _ in self._pending.values()}
            still_s: dict[str, float] = {}
            for node, store in stores.items():
                left = store.waiting_bytes
                before, since_s = self._progress.get(node, (-1, now_s))
                if left != before:
                    self._progress[node] = (left, since_s := now_s)
                still_s[node] = now_s - since_s
            quick_s = LAGGARD_S if kept else STALLED_S if self._stored else ANSWER_S
            stalled = [node for node in stores if still_s[node] > max(quick_s, 2 * stores[node].keeping_late_s)]
            if not kept and not {store.at.node for store in self._live()} - {*stalled}:
                stalled = [node for node in stalled if still_s[node] > ANSWER_S]
        for node in stalled:
            stores[node].hang_up()

    def _why(self) -> WorldError:
        reasons = [self._failed[node] for node in sorted(self._failed)]
        full = next((error for error in reasons if isinstance(error, DiskFull | OverQuota)), None)
        if full is not None and all(isinstance(error, DiskFull | OverQuota) for error in reasons):
            return DiskFull(
                "no store has room for this", hint="free some space, or lend more of a disk: wos storage lend 50GB"
            )
        if full is not None:
            return full
        return (
            reasons[0] if reasons else Unreachable("no store can be reached", hint="see them with: wos storage status")
        )
