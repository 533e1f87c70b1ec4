"""An elastic lease: ``use("CPU", amount=(2, 64))``. Two cores are promised; more come and go with the queue, one lease each.

What comes beyond the promise yields: a node may ask for it back for who needs it more (kernel/yielding.py). Then its workers
get no more calls, what they have not begun runs elsewhere, and the lease goes back when they are done or their time is over.
The promise itself is an ordinary lease. Where calls must not run twice (``retries=0``), what is added does not yield either.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from worldos.errors import WorldError
from worldos.kernel.call_messages import Loss
from worldos.kernel.growing import Growing
from worldos.model.ids import LeaseId
from worldos.model.local import LeaseLost, LeaseWanted, UseGranted
from worldos.model.need import LeaseTerms, Need
from worldos.sdk.connection import Connection, UseMessage
from worldos.sdk.holding import Holding, Part

CORE_MILLI: Final = 1000
LOOK_S: Final = 0.05
ASK_TIMEOUT_S: Final = 5.0


class Extra(Holding):
    """One lease beyond the promise, behind the lane of its part. ``leave_s``: when it must be gone, once it is wanted."""

    def __init__(self, connection: Connection, part: Part, need: Need) -> None:
        super().__init__(connection, [part])
        self._part = part
        self._need = need
        self.leases: dict[LeaseId, LeaseTerms] = {}
        self.leave_s: float | None = None
        self.gone = False

    def needs(self) -> tuple[Need, ...]:
        """Return what is asked for: not the promise of the part again."""
        return (self._need,)

    def heard(self, message: UseMessage) -> None:
        """Take in a message about this lease."""
        match message:
            case UseGranted():
                for terms in message.leases:
                    self.leases[terms.lease] = terms
                    self._part.grow(terms)
                    self.connection.open_doors(self.use, terms.lease)
                self.answer(None)
            case LeaseWanted():
                self.retire(message.grace_ns / 1e9)
            case LeaseLost():
                self._drop(message.lease, message.why)
                self.gone = True
            case _:
                super().heard(message)

    def cut(self, why: WorldError) -> None:
        """The agent is gone; the part's own holding says so to its lane."""
        self.gone = True
        self.answer(why)

    def retire(self, grace_s: float) -> None:
        """Give its workers nothing more; it goes when they are done, or in ``grace_s``."""
        if self.leave_s is None:
            self.leave_s = time.monotonic() + grace_s
            for lease in list(self.leases):
                self._part.retire(lease)

    @property
    def finished(self) -> bool:
        """Whether it was retired and can go now."""
        return self.leave_s is not None and (
            time.monotonic() >= self.leave_s or not any(self._part.busy(lease) for lease in list(self.leases))
        )

    def give_back(self) -> None:
        """End it."""
        leases = list(self.leases)
        for lease in leases:
            self._drop(lease, "it was given back")
        if not self.gone:
            self.gone = True
            self.connection.release(self.use, leases)

    def _drop(self, lease: LeaseId, why: str) -> None:
        self.leases.pop(lease, None)
        self._part.shrink(lease, why, Loss.NODE_GONE if self.leave_s is None else Loss.TAKEN_BACK)


class Elastic:
    """Lets a part grow and shrink. Its thread begins with the first call, and sleeps while there is nothing to follow."""

    def __init__(self, connection: Connection, part: Part, most_milli: int, ttl_ns: int, *, yields: bool) -> None:
        self._connection = connection
        self._part = part
        self._ttl_ns = ttl_ns
        self._yields = yields
        least = part.need.amount // CORE_MILLI
        self._rule = Growing(least=least, most=most_milli // CORE_MILLI)
        self._extras: list[Extra] = []
        self._bell = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False
        self.sleeps = True

    def ring(self) -> None:
        """Look after the queue: calls are open."""
        self.sleeps = False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="worldos-elastic", daemon=True)
            self._thread.start()
        self._bell.set()

    def close(self) -> None:
        """Give back all that was added."""
        self._closed = True
        self._bell.set()
        for extra in list(self._extras):
            extra.give_back()

    def _run(self) -> None:
        with suppress(WorldError):  # the agent is gone: every call says so
            while not self._closed:
                self._look(time.monotonic_ns())
                if self._extras or self._part.lane.load().open_calls:
                    time.sleep(LOOK_S)
                    continue
                self._bell.clear()
                self.sleeps = True
                if self._part.lane.load().open_calls or self._closed:  # a call came in while the flag was not up yet
                    self.sleeps = False
                    continue
                self._bell.wait()

    def _look(self, now_ns: int) -> None:
        for extra in self._extras:
            if extra.finished:
                extra.give_back()
        self._extras = [extra for extra in self._extras if not extra.gone]
        load = self._part.lane.load()
        staying = [extra for extra in self._extras if extra.leave_s is None]
        cores = self._rule.least + len(staying)
        wanted = self._rule.wanted(now_ns, load, cores)
        for extra in staying[: max(0, cores - wanted)]:
            extra.retire(self._ttl_ns / 1e9)
        for _ in range(wanted - cores):
            granted = self._add(self._rule.gain_ms(now_ns, load, cores))
            self._rule.answered(now_ns, granted=granted)
            if not granted or self._closed:
                return
            cores += 1

    def _add(self, gain_ms: int) -> bool:
        """Ask for one core more; return whether it came."""
        need = self._part.asked
        share_bytes = need.memory_bytes * CORE_MILLI // need.amount
        one = replace(
            need,
            amount=CORE_MILLI,
            memory_bytes=share_bytes and max(share_bytes, self._part.lane.wanted_bytes()),
            apart=False,
            yields=gain_ms if self._yields else False,
        )
        extra = Extra(self._connection, self._part, one)
        try:
            extra.ask(self._ttl_ns, ASK_TIMEOUT_S)
        except WorldError:
            extra.give_back()
            return False
        self._extras.append(extra)
        if self._closed:  # in the meantime
            extra.give_back()
        return True
