"""The stores that this program can reach: who they are, a link to each, how quickly each answers, and whom to ask first.

Which stores there are is said by the agent (order ``stores``); the depot of this machine is reached directly, the others
through sockets that the agent lays. A link is opened when it is first needed and again when it broke, with a pause between.
A store that left a question unanswered for too long is *doubted*: it is asked last, and nothing waits for it, until it
answers again. That costs no time to find out and needs no clock but our own.
Invariant: a doubted store delays nobody; nothing here decides that a store is lost (that is the carers').
Units: delays in seconds, as Python's own; answers in microseconds where they are kept. Source: RFC 6298 for the estimate.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

import msgspec

from worldos.depot.link import StoreLink
from worldos.depot.wire import Who
from worldos.errors import Unreachable, WorldError
from worldos.files.limits import HEDGE_MIN_S, LOOK_EVERY_S, REOPEN_AFTER_S, SPARED_S

T = TypeVar("T")

OUTLIER = 4  # an answer counts for so many times what is late at most: who is really slow is known after a few


class StoreAt(msgspec.Struct, frozen=True, kw_only=True):
    """A store as the agent tells of it. ``path``: the Unix socket that leads to its depot, empty where none is laid.

    ``direct``: it is the depot's own socket, where we say ourselves who we are; else the agent at the far end does.
    """

    node: str
    name: str = ""
    here: bool = False
    linked: bool = False
    account: str = ""
    place: str = ""
    facts: dict[str, int | bool | str] = {}
    rtt_us: int = 0
    capacity: int = 0
    free: int = 0
    path: str = ""
    direct: bool = False


class Delay:
    """What answers took, smoothed: the mean, and how far off it they usually are."""

    def __init__(self, mean_s: float, spread_s: float) -> None:
        self.mean_s = mean_s
        self._spread_s = spread_s

    @property
    def late_s(self) -> float:
        """Return after how long an answer is late: near the 95th percentile."""
        return max(HEDGE_MIN_S, self.mean_s + 2 * self._spread_s)

    def took(self, took_s: float) -> None:
        """Take in how long an answer took; one that took very long (a depot that was just starting) counts as a few late ones."""
        took_s = min(took_s, OUTLIER * self.late_s)
        self._spread_s += (abs(took_s - self.mean_s) - self._spread_s) / 4
        self.mean_s += (took_s - self.mean_s) / 8


class Store:
    """One store: where it is, the link to it, and how it has answered so far."""

    def __init__(self, at: StoreAt) -> None:
        self.at = at
        self.refused_room = False  # it said that its disk is full: not asked to keep more in this session
        self.fetched_bytes = 0  # of shares that it gave
        self._link: StoreLink | None = None
        self._opening = threading.Lock()
        self._closed_at_s = -REOPEN_AFTER_S
        self._small = Delay(at.rtt_us / 1e6, HEDGE_MIN_S / 4)
        self._bulk = Delay(at.rtt_us / 1e6, HEDGE_MIN_S)
        self._kept = Delay(at.rtt_us / 1e6, HEDGE_MIN_S)
        self._doubted = False
        self._spared_until_s = 0.0
        self._probe: Future[tuple[int, ...]] | None = None

    @property
    def doubted(self) -> bool:
        """Whether it has left something unanswered for too long, and nothing answered since."""
        return self._doubted

    @property
    def delay_s(self) -> float:
        """Return what a small answer is expected to take."""
        return self._small.mean_s

    @property
    def hedge_s(self) -> float:
        """Return how long to wait for a small answer before another is asked as well."""
        return self._small.late_s

    @property
    def bulk_delay_s(self) -> float:
        """Return what a large answer is expected to take."""
        return self._bulk.mean_s

    @property
    def bulk_hedge_s(self) -> float:
        """Return how long to wait for a large answer before another is asked as well."""
        return self._bulk.late_s

    @property
    def keeping_late_s(self) -> float:
        """Return after how long a share that it was sent is kept there later than usual."""
        return self._kept.late_s

    @property
    def waiting_bytes(self) -> int:
        """Return what was sent to it and did not leave this process yet."""
        link = self._link
        return link.waiting_bytes if link is not None else 0

    def doubt(self) -> None:
        """Note that it left a question unanswered."""
        self._doubted = True

    @property
    def behind(self) -> bool:
        """Whether it held up the others a moment ago."""
        return time.monotonic() < self._spared_until_s

    def spare(self) -> None:
        """Send it no more shares for a while: it is slower than the others."""
        self._spared_until_s = time.monotonic() + SPARED_S

    def hang_up(self) -> None:
        """Doubt it and break the link, so that all buffers it was lent are free at once; what was open fails."""
        self._doubted = True
        self._closed_at_s = -REOPEN_AFTER_S  # the next question opens another link: that is how it is heard again
        self.close()

    def probe(self) -> None:
        """Ask a doubted store for a sign of life, if no such question is open."""
        if self._doubted and (self._probe is None or self._probe.done()):
            self._probe = self.ask(lambda link: link.have(()))

    def link(self) -> StoreLink:
        """Return an open link; ``Unreachable`` where none can be had now."""
        with self._opening:
            if self._link is not None and self._link.is_open:
                return self._link
            if self._link is not None:
                self._link = None
                self._closed_at_s = time.monotonic()
            if time.monotonic() < self._closed_at_s + REOPEN_AFTER_S:
                raise Unreachable(f"the store on {self.at.name or self.at.node[:8]} hung up a moment ago")
            if not self.at.path:
                raise Unreachable(f"no way to the store on {self.at.name or self.at.node[:8]} now")
            try:
                who = Who(node=self.at.node, account=self.at.account, rights="own") if self.at.direct else None
                self._link = StoreLink.open(self.at.path, who)
            except WorldError:
                self._closed_at_s = time.monotonic()
                raise
            return self._link

    def ask(
        self, question: Callable[[StoreLink], Future[T]], *, bulk: bool = False, keeping: bool = False
    ) -> Future[T]:
        """Put a question; the future fails with ``Unreachable`` where it cannot be put. What it took is remembered.

        ``bulk``: the answer is large, and its time says nothing of small ones; ``keeping``: a share is to be kept, which
        takes as long as sending and syncing it.
        """
        try:
            future = question(self.link())
        except WorldError as error:
            failed: Future[T] = Future()
            failed.set_exception(error)
            return failed
        begun_s, pace = time.monotonic(), self._kept if keeping else self._bulk if bulk else self._small
        future.add_done_callback(lambda done: self._answered(done, time.monotonic() - begun_s, pace))
        return future

    def moved(self, at: StoreAt) -> None:
        """Take in what the agent says of it now."""
        if at.path != self.at.path:
            self.close()
            self._closed_at_s = -REOPEN_AFTER_S
        self.at = at

    def close(self) -> None:
        """Hang up."""
        with self._opening:
            link, self._link = self._link, None
        if link is not None:
            link.close()

    def _answered(self, future: Future[Any], took_s: float, pace: Delay) -> None:
        if future.cancelled() or future.exception() is not None:
            return
        self._doubted = False
        pace.took(took_s)


class Stores:
    """All stores that are known, kept up to date. ``look`` returns them; it is asked again from time to time."""

    def __init__(self, look: Callable[[], Sequence[StoreAt]]) -> None:
        self._look = look
        self._known: dict[str, Store] = {}
        self._lock = threading.Lock()
        self._looked_at_s = -LOOK_EVERY_S

    def refresh(self, *, at_once: bool = False) -> None:
        """Ask again which stores there are, unless that was done a moment ago."""
        with self._lock:
            now_s = time.monotonic()
            if not at_once and now_s < self._looked_at_s + LOOK_EVERY_S:
                return
            self._looked_at_s = now_s
        rows = {row.node: row for row in self._look()}
        with self._lock:
            for node in self._known.keys() - rows.keys():
                self._known.pop(node).close()
            for node, row in rows.items():
                if node in self._known:
                    self._known[node].moved(row)
                else:
                    self._known[node] = Store(row)

    def known(self) -> list[Store]:
        """Return all stores, those out of reach too, in the order of their ids."""
        self.refresh()
        with self._lock:
            return [store for _, store in sorted(self._known.items())]

    def reachable(self) -> list[Store]:
        """Return the stores that a link leads to now: this machine's first, then the quickest; the doubted ones last."""
        found = []
        for store in self.known():
            if not store.at.path:
                continue
            try:
                store.link()
            except WorldError:
                continue
            store.probe()
            found.append(store)
        return sorted(found, key=lambda store: (store.doubted, not store.at.here, store.delay_s, store.at.node))

    def on(self, node: str) -> Store | None:
        """Return the store of a node."""
        self.refresh()
        return self._known.get(node)

    def here(self) -> Store | None:
        """Return the store of this machine, where it has one that can be reached."""
        return next((store for store in self.reachable() if store.at.here), None)

    def close(self) -> None:
        """Hang up on all."""
        with self._lock:
            known, self._known = list(self._known.values()), {}
        for store in known:
            store.close()


def answers(
    stores: Iterable[Store],
    question: Callable[[StoreLink], Future[T]],
    *,
    within_s: float,
    enough: Callable[[dict[str, T]], bool] = lambda _: False,
    will_do: Callable[[dict[str, T]], bool] = bool,
    patience_s: float = 0.0,
) -> dict[str, T]:
    """Ask all of these stores the same; return what each said, by node.

    It is over when all have answered, or what they said is ``enough``; or when it ``will_do`` (anything does, if not said
    otherwise) and those that are left have had their usual time, and ``patience_s`` if that is longer; they are doubted.
    Who is doubted already has no time.
    ``within_s`` bounds the whole.
    """
    begun_s = time.monotonic()
    asked: dict[Future[T], Store] = {store.ask(question): store for store in stores}
    told: dict[str, T] = {}
    open_ = set(asked)
    done_with = False
    while open_ and not done_with:
        usual_s = max([0.0, *(max(patience_s, asked[each].hedge_s) for each in open_ if not asked[each].doubted)])
        until_s = begun_s + (min(within_s, usual_s) if will_do(told) else within_s)
        done, open_ = wait(open_, max(0.0, until_s - time.monotonic()), FIRST_COMPLETED)
        for future in done:
            if future.exception() is None:
                told[asked[future].at.node] = future.result()
        done_with = not done or enough(told)
    for future in open_:
        future.cancel()
        if not enough(told):
            asked[future].doubt()
    return told
