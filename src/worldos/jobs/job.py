"""A job as a program holds it: wait for it, take its results, cancel it. It goes on when the program ends.

Results of a function are what it returned; what it raised is raised here. Those of a command are its exit codes; its files are
had by ``save``. Units: timeouts in seconds.
"""

from __future__ import annotations

import io
import pickle
import tarfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

from worldos.errors import Unreachable, WorkerLost, WorldError
from worldos.home import default_home
from worldos.jobs.attempt import FAR
from worldos.jobs.desk import ENDED, Desk
from worldos.jobs.outputs import unpack_into, unzipped
from worldos.jobs.shelf import Shelf
from worldos.kernel.line.view import JobView, State, TaskView
from worldos.lanes import plain
from worldos.lanes.resident import MADE
from worldos.model.work import JobId

LOOK_S_MIN: Final = 0.05
LOOK_S_MAX: Final = 1.0
WHY_CHARS: Final = 500
GZIP: Final = b"\x1f\x8b"  # begins a parcel; a pickle begins otherwise


class Job:
    """A job in the line. ``calls``: its tasks are calls of a function; ``many``: it is an array."""

    def __init__(self, job: JobId | str, desk: Desk, *, calls: bool = False, many: bool = True) -> None:
        self.id = str(job)
        self._desk = desk
        self._calls = calls
        self._many = many

    def __repr__(self) -> str:
        return f"<worldos job {self.id}>"

    def view(self) -> JobView:
        """Return where it stands now."""
        return self._desk.job(self.id)

    @property
    def state(self) -> State:
        """Where it is in its life: held, waiting, running, done, failed, dropped."""
        return self.view().state

    def wait(self, timeout: float | None = None) -> State:
        """Wait until all its tasks have ended; return how. TimeoutError if that takes longer."""
        until_s = None if timeout is None else time.monotonic() + timeout
        pause_s = LOOK_S_MIN
        while (state := self.state) not in ENDED:
            if until_s is not None and time.monotonic() > until_s:
                raise TimeoutError(f"job {self.id} has not ended in {timeout} s")
            time.sleep(pause_s if until_s is None else max(0.0, min(pause_s, until_s - time.monotonic())))
            pause_s = min(LOOK_S_MAX, pause_s * 1.5)
        return state

    def result(self, timeout: float | None = None) -> Any:
        """Wait, and return the result; of an array a list, by index. The first failure is raised."""
        self.wait(timeout)
        found = [self._value(task) for task in self._desk.tasks(self.id)]
        return found if self._many else found[0]

    def __iter__(self) -> Iterator[Any]:
        """Yield the results by index, each as soon as it is there."""
        first = 0
        pause_s = LOOK_S_MIN
        while True:
            found = False
            for task in self._desk.tasks(self.id, first):
                if task.state not in ENDED:
                    break
                found = True
                first = task.index + 1
                yield self._value(task)
            else:
                return
            pause_s = LOOK_S_MIN if found else min(LOOK_S_MAX, pause_s * 1.5)
            time.sleep(pause_s)

    def cancel(self) -> None:
        """End it, and what waits for it."""
        self._desk.cancel(self.id)

    def retry(self) -> None:
        """Run again what failed."""
        self._desk.retry(self.id)

    def save(self, folder: str | Path, *, force: bool = False) -> None:
        """Bring what its tasks made into a folder; of an array into one folder for each index."""
        with Kept() as kept:
            for task in self._desk.tasks(self.id):
                target = Path(folder) / str(task.index) if self._many else Path(folder)
                pieces = kept.pieces(task)
                if pieces is not None:
                    unpack_into(target, pieces, force=force)

    def _value(self, task: TaskView) -> Any:
        outcome = task.outcome
        if outcome is None:
            raise WorkerLost(f"task {self.id}.{task.index} was dropped: {self.view().why}"[:WHY_CHARS])
        if not self._calls:
            return outcome.code
        with Kept() as kept:
            data = kept.value(task)
        if not data:
            tail = outcome.tail.decode(errors="replace")
            why = outcome.why or tail or f"exit code {outcome.code}"
            raise WorkerLost(f"task {self.id}.{task.index} failed: {why}"[:WHY_CHARS])
        if outcome.result_file.endswith(FAR):  # made on a machine of others: plain data, and nothing that runs
            kind, value = plain.load(data, ())
        else:
            kind, value = pickle.loads(data)  # noqa: S301 - made by a machine of our own account, from our own function
        if kind == "raised":
            raise value
        return value


class Kept:
    """What tasks made, wherever it lies; the realm's files are opened only if something lies there."""

    def __init__(self) -> None:
        self._shelf: Shelf | None = None

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shelf is not None:
            self._shelf.close()

    def pieces(self, task: TaskView) -> Iterator[bytes] | None:
        """Return the compressed parcel of a task, or None if it made nothing."""
        pieces = self._pieces(task)
        first = next(pieces, b"") if pieces is not None else b""
        if pieces is None or not first:
            return None
        if first.startswith(GZIP):
            return chain((first,), pieces)
        return iter((_parcel(first + b"".join(pieces)),))

    def value(self, task: TaskView) -> bytes:
        """Return what a call made, as pickle; nothing, if it did not get so far."""
        pieces = self._pieces(task)
        data = b"".join(pieces) if pieces is not None else b""
        return _member(iter((data,))) if data.startswith(GZIP) else data

    def _pieces(self, task: TaskView) -> Iterator[bytes] | None:
        """Return what a task made as it is kept: a parcel, or for a small call inside what it made itself."""
        outcome = task.outcome
        if outcome is None:
            return None
        if outcome.result:
            return iter((outcome.result,))
        return self.file(outcome.result_file) if outcome.result_file else None

    def file(self, name: str) -> Iterator[bytes]:
        """Return a file of the realm's."""
        if self._shelf is None:
            self._shelf = Shelf(default_home(), Path())
        try:
            return self._shelf.pieces(name)
        except WorldError as error:
            raise Unreachable(f"{name} cannot be read", hint=error.hint) from error


def _parcel(made: bytes) -> bytes:
    """Return what a call made as a parcel of one file."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        info = tarfile.TarInfo(MADE)
        info.size = len(made)
        tar.addfile(info, io.BytesIO(made))
    return data.getvalue()


def _member(pieces: Iterator[bytes]) -> bytes:
    """Return what a call left, out of its parcel."""
    data = io.BytesIO(b"".join(unzipped(pieces)))
    with tarfile.open(fileobj=data) as tar:
        file = tar.extractfile(MADE) if MADE in tar.getnames() else None
        return file.read() if file is not None else b""
