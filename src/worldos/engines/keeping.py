"""What keeps an engine at its size while it runs: a lost machine is replaced, and a range of cores follows what there is to do.

One thread an engine. It looks at the processes every ``LOOK_S``; what it cannot do now it tries again later, and the engine goes
on with what is left. Without its head there is no engine: then it stops, and ``check`` says why.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worldos.engines.plan import Seat
from worldos.engines.sizing import Sizing
from worldos.errors import Unreachable, WorldError
from worldos.sdk.compute import Compute

if TYPE_CHECKING:
    from worldos.engines.engine import Engaged

log = logging.getLogger("worldos")

LOOK_S: Final = 2.0
AGAIN_S: Final = 10.0  # until it is tried again to replace what was lost
WANTED_S: Final = 10.0  # for a seat that is wanted back, where nothing else is said


@dataclass(frozen=True)
class Load:
    """What an engine has to do: as many cores as would be busy now, and the seats that have nothing to do."""

    cores: int
    idle: frozenset[int]


class Keeper:
    """Keeps one engine at its size. ``least`` and ``most`` in cores."""

    def __init__(self, engaged: Engaged, least: int, most: int) -> None:
        self._engaged = engaged
        self._sizing = Sizing(least, most) if most > least else None
        self._lost: deque[tuple[Compute, float]] = deque()  # what stood there, and not before when it is replaced
        self._extra: set[int] = set()  # seats beyond the promise
        self._wanted: dict[int, float] = {}  # those wanted back, and within how long
        self._looking = threading.Lock()
        self._over: WorldError | None = None
        self._why = ""  # nothing more could be had
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look."""
        self._thread = threading.Thread(target=self._run, name="worldos-engine", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more. What is being added is given back with everything else."""
        self._stop.set()

    def check(self) -> None:
        """Raise why the engine runs no more, if it does not."""
        if self._thread is None and not self._stop.is_set():
            with self._looking:
                self._engaged.cluster.check()
        if self._over is not None:
            raise self._over

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S) and self._over is None:
            with self._looking:
                try:
                    self.look(time.monotonic())
                except Unreachable:
                    continue  # a node is silent: whether it is lost is for its lease to say
                except (WorldError, RuntimeError) as error:
                    if not self._stop.is_set():
                        self._over = error if isinstance(error, WorldError) else WorldError(str(error))

    def look(self, now_s: float) -> None:
        """Look once: what is lost, what is wanted back, what there is to do. Raises why the engine is over."""
        cluster = self._engaged.cluster
        before = {seat.index for seat in cluster.live}
        left = set(cluster.check())
        for index in sorted(before - left):
            if index not in self._extra:
                self._lost.append((cluster.handles[index], now_s))
            self._extra.discard(index)
        for index in sorted(self._wanted):
            if index in left:
                self._retire(cluster.seats[index], self._wanted[index])
            del self._wanted[index]
        self._replace(now_s)
        if self._sizing is not None and not self._stop.is_set():
            self._follow(self._sizing, time.monotonic_ns())

    def _replace(self, now_s: float) -> None:
        for _ in range(len(self._lost)):
            handle, due_s = self._lost.popleft()
            if now_s < due_s or not self._add(lambda handle=handle: self._engaged.leasing.again(handle)):  # type: ignore[misc]
                self._lost.append((handle, max(due_s, now_s + AGAIN_S if now_s >= due_s else due_s)))

    def _follow(self, sizing: Sizing, now_ns: int) -> None:
        load = self._engaged.engine.load(self._engaged)
        if load is None:
            return
        live = self._engaged.cluster.live
        cores = sum(seat.cores for seat in live)
        lacking = sizing.lacking(now_ns, load.cores, cores)
        if lacking and not self._add(lambda: self._engaged.leasing.more(lacking), extra=True):
            sizing.refused(now_ns)
        idle = {seat.index: seat.cores for seat in live if seat.index in self._extra & load.idle}
        for index in sizing.spare(now_ns, idle, cores):
            self._retire(self._engaged.cluster.seats[index])

    def _add(self, lease: Callable[[], Compute], *, extra: bool = False) -> bool:
        """Add a seat; tell whether it came."""
        try:
            seat = self._engaged.add(handle := lease())
        except WorldError as error:
            if self._why != str(error) and not self._stop.is_set():
                log.warning("%s: no machine more for now: %s", self._engaged.engine.name, error)
            self._why = str(error)
            return False
        if extra:
            self._extra.add(seat.index)

            def wanted(event: object) -> None:
                self._wanted[seat.index] = float(getattr(event, "fields", {}).get("within_s", WANTED_S))

            handle.event("lease wanted", wanted)
        return True

    def _retire(self, seat: Seat, within_s: float | None = None) -> None:
        self._extra.discard(seat.index)
        if within_s is None:
            self._engaged.retire(seat)
        else:
            self._engaged.retire(seat, within_s)
