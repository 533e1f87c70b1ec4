"""A cluster: the leases of one engine, the network between them, and the processes that a tender keeps on each.

All or nothing: what cannot be begun is taken down again before the reason is raised. Nothing of it outlives this program:
the leases end when its connection to the agent does, and with a lease end its worker, all processes under it, their folder
and the network. Seats may come later and may go. Invariant: seat ``i`` is handle ``i`` and member ``i`` of the network, whatever
became of it; the first is the head.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from worldos.engines import nets, tender
from worldos.engines.limits import CALL_SECONDS, INSTALL_SECONDS, LOOK_SECONDS, START_SECONDS, TOOL_SECONDS
from worldos.engines.plan import Process, Ran, Seat, Seen
from worldos.engines.seats import CORE_MILLI
from worldos.engines.software import Software
from worldos.errors import LeaseEnded, NodeGone, Unreachable, WorkerLost, WorldError
from worldos.sdk.compute import Compute

KILLED: Final = "it was killed; if it took more memory than was leased, ask for more: memory="

T = TypeVar("T")
Told = Callable[[str], None]


class Cluster:
    """Leases with processes of an engine in them."""

    def __init__(self, handles: Sequence[Compute], here: str, told: Told) -> None:
        self.handles = list(handles)
        self.here = here
        self.seats: tuple[Seat, ...] = ()
        self.net: nets.Net | None = None
        self._told = told
        self._begun: set[int] = set()
        self._ended = False
        self.said: dict[int, str] = {}  # by seat: the end of what its first process said, at the last look

    # -- begin ----------------------------------------------------------------------------------------------------------

    def prepare(self, software: Software, begin: int = 0) -> None:
        """See to it that each node has the software, from this seat on; all at once."""
        until_s = time.monotonic() + INSTALL_SECONDS
        left = set(range(begin, len(self.handles)))
        while left:
            asked = {index: self.call(index, tender.prepare, software, LOOK_SECONDS) for index in sorted(left)}
            for index, future in asked.items():
                prepared = self.result(index, future)
                if prepared.done:
                    left.discard(index)
                else:
                    self._told(f"{self._node(index)[:8]}: {prepared.doing}")
            if time.monotonic() > until_s:
                raise Unreachable(f"{software.name} could not be installed within {INSTALL_SECONDS:g} s")

    def connect(self, ports: int, *, loopback: bool) -> None:
        """Connect the seats with each other and with this machine; ``ports`` free ones each."""
        self._told(f"connecting {len(self.handles)} nodes" if len(self.handles) > 1 else "connecting")
        self.net = net = nets.net_for(self.handles, self.here, loopback=loopback)
        joined = [self.call(index, tender.join, net.prefix(index)) for index in range(len(self.handles))]
        for index, future in enumerate(joined):
            self.result(index, future)
        self.seats = tuple(self._seat(index, ports) for index in range(len(self.handles)))

    def _seat(self, index: int, ports: int) -> Seat:
        assert self.net is not None
        handle = self.handles[index]
        return Seat(
            index=index,
            node=self._node(index),
            address=self.net.address(index),
            milli_cpu=handle.need.amount if handle.kind == "CPU" else CORE_MILLI,
            gpus=handle.need.amount // CORE_MILLI if handle.kind == "GPU" else 0,
            memory_bytes=handle.need.memory_bytes,
            ports=self.net.ports(index, ports),
        )

    def begin(self, plan: Mapping[int, Sequence[Process]], *, head_first: bool = True) -> None:
        """Start the processes of each seat: the head's first, then all others at once; wait until all are ready."""
        head = {index: processes for index, processes in plan.items() if index == 0 or not head_first}
        for part in (head, {index: processes for index, processes in plan.items() if index not in head}):
            begun = {
                index: self.call(index, tender.begin, tuple(processes)) for index, processes in sorted(part.items())
            }
            for index, future in begun.items():
                self.result(index, future)
                self._begun.add(index)
            self._until_ready(sorted(part))

    def _until_ready(self, indices: list[int]) -> None:
        until_s = time.monotonic() + START_SECONDS
        left = indices
        while left:
            looks = {index: self.call(index, tender.look, LOOK_SECONDS) for index in left}
            seen = {index: self.result(index, future) for index, future in looks.items()}
            for index, each in seen.items():
                self._check(index, each)
            left = [index for index in left if not all(process.ready for process in seen[index])]
            waited = [process.name for index in left[:1] for process in seen[index] if not process.ready]
            if left:
                self._told(f"{self._node(left[0])[:8]}: waiting for {', '.join(waited)}")
            if left and time.monotonic() > until_s:
                raise Unreachable(
                    f"{waited[0]} on {self._node(left[0])[:8]} was not ready in {START_SECONDS:g} s: "
                    f"{tender.last_words(seen[left[0]][0].said)}"
                )

    # -- who comes later, and who goes ----------------------------------------------------------------------------------

    def add(self, handle: Compute, software: Software, ports: int, plan: Callable[[Seat], Sequence[Process]]) -> Seat:
        """Let one more lease be a seat, and start there what ``plan`` says. What cannot be is given back, and raised."""
        assert self.net is not None
        index = len(self.handles)
        self.handles.append(handle)
        try:
            if self._ended:
                raise LeaseEnded("this engine was closed")
            self.prepare(software, index)
            self.net.admit(handle)
            self.result(index, self.call(index, tender.join, self.net.prefix(index)))
            seat = self._seat(index, ports)
            self.seats = (*self.seats, seat)
            self.begin({index: plan(seat)}, head_first=False)
        except BaseException:
            if index < len(self.net):
                self._leave(index)
            else:
                self.handles.pop()  # it never was a member, and its number is the next one's
                handle.close()
            raise
        return seat

    def retire(self, index: int, grace_s: float) -> None:
        """Give a seat back: its processes are asked to end, and have so long for it."""
        self._begun.discard(index)
        with contextlib.suppress(WorldError, RuntimeError):  # its node is gone, and with it all that ran there
            self.result(index, self.call(index, tender.retire, grace_s), grace_s + CALL_SECONDS)
        self._leave(index)

    def _leave(self, index: int) -> None:
        """Forget a seat, reached or not; its number is used no more, in the network neither."""
        self._begun.discard(index)
        while len(self.seats) <= index:  # it never was one
            self.seats = (*self.seats, Seat(index=len(self.seats), node="", address="", milli_cpu=0))
        try:
            if self.net is not None and index < len(self.net):
                self.net.leave(index)
        finally:
            self.handles[index].close()

    # -- while it runs --------------------------------------------------------------------------------------------------

    @property
    def live(self) -> tuple[Seat, ...]:
        """The seats whose processes run, as far as known."""
        return tuple(self.seats[index] for index in sorted(self._begun))

    def check(self) -> tuple[int, ...]:
        """Return the seats that are left; raise why, if the head or a process of a seat that is there has ended.

        What stands in for a lost lease has none of the engine's processes, and is no member of its network: it is given back.
        """
        for index in sorted(self._begun):
            try:
                if not self.handles[index].nodes:
                    raise LeaseEnded("its lease is lost")
                seen = self.result(index, self.call(index, tender.look, 0.0))
            except (NodeGone, LeaseEnded, WorkerLost):
                seen = ()
            if seen:
                self._check(index, seen)
                self.said[index] = seen[0].said
                continue
            if index == 0:
                raise NodeGone("the first node of the engine is gone, and the engine with it", hint="start it again")
            self._leave(index)
        return tuple(sorted(self._begun))

    def run(
        self,
        index: int,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        not_root: bool = False,
        limit_s: float | None = TOOL_SECONDS,
    ) -> Ran:
        """Run a tool in a seat, beside its processes, to its end. Others may ask the seat meanwhile."""
        until_s = time.monotonic() + limit_s if limit_s is not None else math.inf
        number = self.result(index, self.call(index, tender.start, tuple(argv), dict(env), not_root))
        while True:
            ran = self.result(index, self.call(index, tender.ended, number, LOOK_SECONDS))
            if ran is not None:
                return ran
            if time.monotonic() > until_s:
                raise Unreachable(f"{argv[0]} on {self._node(index)[:8]} did not end in {limit_s:g} s")

    def forward(self, index: int, port: int) -> int:
        """Return the port of this machine's loopback that leads there."""
        assert self.net is not None
        return self.net.forward(index, port)

    def call(self, index: int, fn: Callable[..., T], *args: Any) -> Future[T]:
        """Ask the tender of a seat."""
        return self.handles[index].submit(fn, *args)

    def result(self, index: int, future: Future[T], limit_s: float | None = CALL_SECONDS) -> T:
        """Wait for an answer of a seat."""
        try:
            return future.result(limit_s)
        except TimeoutError:
            raise Unreachable(f"the node {self._node(index)[:8]} does not answer") from None
        except WorldError as error:
            error.__cause__ = None  # the traceback of the node: the sentence says it all
            if not isinstance(error, WorkerLost | NodeGone | LeaseEnded):
                error.args = (f"{error} (on {self._node(index)[:8]})",)
            raise

    def _check(self, index: int, seen: tuple[Seen, ...]) -> None:
        for process in seen:
            if process.code is not None:
                raise WorldError(
                    f"{process.name} on {self._node(index)[:8]} ended with {process.code}: {tender.last_words(process.said)}",
                    hint=KILLED if process.code in {-9, 137} else "",
                )

    def _node(self, index: int) -> str:
        nodes = self.handles[index].nodes
        if not nodes:
            raise NodeGone("a node of the engine is gone")
        return nodes[0]

    # -- end ------------------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """End the processes, the last seat first, then the network and the leases. Nothing is left, reached or not."""
        self._ended = True
        asked = []
        for index in sorted(self._begun, reverse=True):
            try:
                asked.append((index, self.call(index, tender.end)))
            except (WorldError, RuntimeError):  # its node is gone, and with it all that ran there
                continue
        for index, future in asked:
            try:
                self.result(index, future)
            except WorldError:
                continue
        self._begun.clear()
        if self.net is not None:
            self.net.close()
        for handle in list(self.handles):
            handle.close()
