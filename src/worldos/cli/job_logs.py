"""``wos logs``: what tasks of a job put out, while they run or after; with ``-f`` as it comes."""

from __future__ import annotations

import sys
import time
from itertools import islice
from typing import TYPE_CHECKING, Final

import typer

from worldos.cli import output
from worldos.cli.completion import any_job
from worldos.config import default_home
from worldos.errors import Unreachable
from worldos.sdk.asking import Asking

if TYPE_CHECKING:
    from worldos.jobs.desk import Desk
    from worldos.jobs.job import Kept
    from worldos.kernel.line.view import JobView, TaskView

LOOK_S: Final = 0.3
FOLLOWED_MAX: Final = 64  # tasks of an array at once
READ_MAX: Final = 5000  # tasks that are looked at in one go; those behind them when these have ended


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("logs", rich_help_panel=output.WORK)(logs)


def logs(
    name: str = typer.Argument(metavar="JOB[.INDEX]", help="A job, or one task of an array.", autocompletion=any_job),
    follow: bool = typer.Option(False, "-f", "--follow", help="Go on until the job has ended."),
) -> None:
    """Print what a job put out. A long log has its beginning and its end; the middle is cut out, and that is said.

    wos logs k3f9            wos logs -f k3f9            wos logs k3f9.17
    """
    from worldos.jobs.desk import Desk  # noqa: PLC0415 - loads what reads the line
    from worldos.jobs.job import Kept  # noqa: PLC0415

    with Asking(default_home()) as agent, Kept() as kept:
        desk = Desk(agent.ask)
        job, index = desk.named(name)
        reader = Reader(desk, kept, job, index)
        reader.read()
        while reader.more or (follow and not reader.ended):
            time.sleep(0 if reader.more else LOOK_S)
            reader.read()
        if not reader.printed and not follow:
            why = f": {job.why}" if job.why else ""
            output.err.print(f"nothing was put out yet{output.text(why)}; follow it: wos logs -f {name}")


class Reader:
    """Prints what is new of each task. Of several each line bears its task's index."""

    def __init__(self, desk: Desk, kept: Kept, job: JobView, index: int | None) -> None:
        self._desk = desk
        self._kept = kept
        self._job = job.job
        self._index = index
        from worldos.jobs.desk import tasks_of  # noqa: PLC0415

        self._many = index is None and tasks_of(job) > 1
        self._at: dict[int, tuple[int, int]] = {}  # of which attempt so much was printed
        self._told: set[int] = set()  # tasks of which all was printed
        self._first = 0  # the tasks before this one are among them
        self.printed = False
        self.ended = False
        self.more = False  # all that was looked at has ended, and others follow

    def read(self) -> None:
        """Print what is new."""
        from worldos.jobs.desk import ENDED  # noqa: PLC0415

        one = self._index
        whole = one is None
        tasks = [self._desk.task(self._job, one)] if one is not None else self._desk.tasks(self._job, self._first)
        running = 0
        ended = True
        looked = 0
        for task in islice(tasks, READ_MAX):
            looked += 1
            if task.state in ENDED:
                if task.index not in self._told:
                    self._finish(task)
                    self._told.add(task.index)
                if whole and ended:
                    self._first = task.index + 1  # up to here all is told
                continue
            ended = False
            if running == FOLLOWED_MAX:
                break
            if task.begun_ms:
                running += 1
                self._live(task)
        self.more = whole and ended and looked == READ_MAX
        self.ended = ended and not self.more

    def _live(self, task: TaskView) -> None:
        """Print what a running task put out since."""
        offset = self._reached(task)
        try:
            piece = self._desk.log(self._job, task.index, offset)
        except Unreachable:
            return  # its node is not heard of: what it said is had when it is, or from the next attempt
        if piece.gone:
            return
        if piece.offset > offset:
            self._print(task, b"\n[... %d bytes are cut out here ...]\n" % (piece.offset - offset))
        self._print(task, piece.data)
        self._at[task.index] = (task.number, piece.offset + len(piece.data))

    def _finish(self, task: TaskView) -> None:
        """Print the rest of a task that has ended."""
        outcome = task.outcome
        if outcome is None:
            return
        seen = self._reached(task)
        if outcome.log_file:
            for piece in self._kept.file(outcome.log_file):
                self._print(task, piece[seen:] if seen < len(piece) else b"")
                seen = max(0, seen - len(piece))
        elif seen < len(outcome.tail) or not seen:
            self._print(task, outcome.tail[seen:])
        if outcome.why:
            sys.stdout.flush()
            label = f"{self._job}.{task.index}" if self._many else self._job
            output.err.print(f"[dim]{label}: {output.text(outcome.why)}[/]")

    def _reached(self, task: TaskView) -> int:
        number, offset = self._at.get(task.index, (task.number, 0))
        return offset if number == task.number else 0

    def _print(self, task: TaskView, data: bytes) -> None:
        if not data:
            return
        self.printed = True
        if self._many:
            mark = b"%d| " % task.index
            data = b"".join(mark + line for line in data.splitlines(keepends=True))
            if not data.endswith(b"\n"):
                data += b"\n"
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
