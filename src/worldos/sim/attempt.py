"""An attempt of a task at a simulated runner: its command says how long it takes, and how often such a one fails.

``argv`` is ``task MS PERMILLE``. What an attempt ends with is a function of its name, so that a checker knows it too; of its task
where copies are to be compared. In some worlds some machines play those of other accounts (``Machine.owner``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

from worldos.model.ids import NodeId
from worldos.model.limits import MS
from worldos.model.work import Attempt, JobSpec, Made, Yielded

if TYPE_CHECKING:
    from worldos.sim.crew import Berth


class Run:
    """One attempt. ``berth``: where it runs now. ``asked``: why it shall stop, ``dropped``: nobody waits for it any more."""

    __slots__ = ("apart", "asked", "attempt", "berth", "dropped", "node", "said", "spec")

    def __init__(self, attempt: Attempt, spec: JobSpec, apart: tuple[str, ...] = ()) -> None:
        self.attempt = attempt
        self.spec = spec
        self.apart = apart  # whose machines have done it, or are at it
        self.node = NodeId("")  # where it runs
        self.berth: Berth | None = None
        self.asked = ""
        self.dropped = False
        self.said = False  # its end is on its way to the line

    def unbegun(self) -> Yielded | None:
        """Return what is to be said of it when it was stopped."""
        return None if self.dropped else Yielded(attempt=self.attempt, why=self.asked)


def name_of(attempt: Attempt) -> str:
    """Return what an attempt is called as a call of a worker."""
    return f"{attempt.job}.{attempt.index}.{attempt.number}"


def service_ns(spec: JobSpec) -> int:
    """Return how long a task of such a job takes."""
    return int(spec.argv[1]) * MS


def code_of(attempt: Attempt, spec: JobSpec) -> int:
    """Return with which exit code an attempt ends."""
    name = f"{attempt.job}.{attempt.index}" if spec.copies > 1 else name_of(attempt)
    return int(crc32(name.encode()) % 1000 < int(spec.argv[2]))


def made_of(run: Run, owner: str) -> Made | None:
    """Return what a machine of an owner made: the same for each copy of a task; None where nothing is compared."""
    if run.spec.copies == 1 or not (run.apart or owner):
        return None
    name = name_of(run.attempt)
    digest = crc32(f"{run.attempt.job}.{run.attempt.index}".encode()).to_bytes(4, "big") * 8
    return Made(owner, digest, crc32(name.encode()) % 1_000_000, run.node if owner else "")
