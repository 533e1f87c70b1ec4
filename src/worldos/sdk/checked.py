"""Checked processors: what machines of other accounts compute is done twice and compared, until they have a record.

    with checked(4, realm="planet") as cpu:
        print(list(cpu.map(simulate, seeds)))     # an executor like any other; each result is vouched for

A result of an own machine is taken as it is. One of a stranger's is compared with that of a machine of another owner, as often as
kernel/auditing says: each of the first ten, then ever fewer, drawn after the job was done. Where two differ, this machine's own
computation decides; who was wrong once gets no more work. A function must give the same for the same arguments: one that does
not, by two runs here, is refused as such, and nobody is blamed. Results come as plain data (lanes/plain.py).

Source: BOINC's probation and adaptive replication; kernel/auditing.py.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, NamedTuple, Protocol, TypeVar

from worldos.errors import BadRequest, NoCapacity, WorldError
from worldos.sdk.connection import connection
from worldos.sdk.use import need, use

T = TypeVar("T")

CALLS_EACH = 2  # open at once on each machine: one runs while the last is compared


class Submits(Protocol):
    """An executor, as far as it is needed here."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a call."""


class Worker(NamedTuple):
    """One machine that works for us; ``owner`` is its account, empty for an unknown one."""

    node: str
    owner: str
    is_own: bool
    cpu: Submits


class Record(Protocol):
    """Who keeps the records of providers: the agent."""

    def did(self, node: str) -> bool:
        """Take in that it has done a job; tell whether that is to be checked."""

    def checked(self, node: str, *, is_right: bool) -> str:
        """Take in what a check found; return why it gets no more jobs."""


class _Said(NamedTuple):
    """What came of a call."""

    value: Any
    error: BaseException | None


class Checked(Executor):
    """An executor over machines of several owners. ``judge`` is a machine of our own."""

    def __init__(self, workers: Sequence[Worker], judge: Worker, record: Record) -> None:
        self._workers = list(workers)
        self._judge = judge
        self._record = record
        self._open = dict.fromkeys((worker.node for worker in workers), 0)
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(max(1, CALLS_EACH * len(workers)), thread_name_prefix="wos-checked")
        self._given_back = ExitStack()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run a call on one machine, and where that is due on a second; return its future at once."""
        return self._threads.submit(self._vouched, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - Executor's
        """Take no more calls, wait for those that are there, and give the leases back."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        self._given_back.close()

    def gives_back(self, handle: Any) -> None:
        """Close this, too, at the end."""
        self._given_back.callback(handle.close)

    def _vouched(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        def run(worker: Worker) -> _Said:
            try:
                return _Said(worker.cpu.submit(fn, *args, **kwargs).result(), None)
            except Exception as error:  # noqa: BLE001 - what the call raised is its outcome
                return _Said(None, error)

        worker = self._take()
        try:
            said = run(worker)
        finally:
            self._give(worker)
        if not worker.is_own and self._record.did(worker.node):
            said = self._compared(run, worker, said)
        if said.error is not None:
            raise said.error
        return said.value

    def _compared(self, run: Callable[[Worker], _Said], worker: Worker, said: _Said) -> _Said:
        """Have another owner's machine do it too; where they differ, ours decides, and who was wrong is out."""
        second = self._other(worker)
        seen = run(second)
        if _is_same(said, seen):
            self._found(worker, is_right=True)
            return said
        truth = seen if second is self._judge else run(self._judge)
        if not _is_same(truth, run(self._judge)):
            hint = "seed what is random, and leave clocks out; or use your own machines: they are not checked"
            raise BadRequest(
                "the function gives different results for the same arguments: it cannot be checked", hint=hint
            )
        self._found(worker, is_right=_is_same(said, truth))
        if not second.is_own:
            self._found(second, is_right=_is_same(seen, truth))
        return truth

    def _found(self, worker: Worker, *, is_right: bool) -> None:
        if self._record.checked(worker.node, is_right=is_right):
            with self._lock:
                self._workers = [each for each in self._workers if each.node != worker.node]

    def _other(self, worker: Worker) -> Worker:
        """Return the least busy machine of another owner than this one's; ours, if there is none."""
        with self._lock:
            others = [each for each in self._workers if each.owner and each.owner != worker.owner]
            return min(others, key=lambda each: self._open[each.node], default=self._judge)

    def _take(self) -> Worker:
        with self._lock:
            worker = min(self._workers, key=lambda each: self._open[each.node], default=self._judge)
            self._open[worker.node] = self._open.get(worker.node, 0) + 1
            return worker

    def _give(self, worker: Worker) -> None:
        with self._lock:
            self._open[worker.node] -= 1


def _is_same(one: _Said, other: _Said) -> bool:
    """Tell whether two outcomes say the same: equal values, or errors of one kind with one text."""
    if one.error is not None or other.error is not None:
        return type(one.error) is type(other.error) and str(one.error) == str(other.error)
    if pickle.dumps(one.value) == pickle.dumps(other.value):
        return True
    try:
        return bool(one.value == other.value)
    except Exception:  # noqa: BLE001 - comparing is the values' own code
        return False


class _AgentsRecord:
    """The records that the agent keeps."""

    def did(self, node: str) -> bool:
        return bool(connection().ask("provider_did", {"node": node}))

    def checked(self, node: str, *, is_right: bool) -> str:
        return str(connection().ask("provider_checked", {"node": node, "right": is_right}))


def checked(machines: int = 2, **words: Any) -> Checked:
    """Lease one core on each of so many machines, in the words of ``use``, and a share of one here to decide by.

    Raises NoCapacity where there are not as many, or where all that there are have been caught lying.
    """
    cpus = use(*(need("CPU", 1, apart=True, **words) for _ in range(machines)))
    made: list[Worker] = []
    try:
        judge = use("CPU", "100m", near="me")
    except WorldError:
        cpus.close()
        raise
    for cpu in cpus:
        node = cpu.nodes[0]
        about = connection().ask("provider_owner", {"node": node})
        if not about["out"]:
            made.append(Worker(node, about["owner"], about["own"], cpu))
    executor = Checked(made, Worker(node=judge.nodes[0], owner="", is_own=True, cpu=judge), _AgentsRecord())
    for handle in (*cpus, judge):
        executor.gives_back(handle)
    if not made:
        executor.shutdown()
        raise NoCapacity("every machine that is free has given a wrong answer before", hint="see wos audit providers")
    return executor
