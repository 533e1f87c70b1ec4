"""What jobs made, brought to this machine with a bar, or cleared away."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from worldos.cli import output
from worldos.cli.bar import Bar
from worldos.config import default_home
from worldos.errors import BadRequest
from worldos.files.about import Progress
from worldos.jobs.job import Kept
from worldos.jobs.outputs import unpack_into
from worldos.jobs.shelf import FOLDER, Shelf

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worldos.kernel.line.view import JobView, TaskView


def bring(job: JobView, tasks: Sequence[TaskView], folder: Path, *, several: bool, force: bool) -> None:
    """Unpack what tasks made into a folder, each into one of its own if there are ``several``."""
    made = [task for task in tasks if task.outcome is not None and (task.outcome.result or task.outcome.result_file)]
    open_tasks = sum(task.outcome is None for task in tasks)
    if not made:
        why = f"{open_tasks} of its tasks have not ended" if open_tasks else "its tasks left no files in their folders"
        raise BadRequest(f"there is nothing of job {job.job} to bring: {why}", hint=f"see: wos jobs {job.job}")
    taken = [task.index for task in made if several and _is_full(folder / str(task.index))]
    if taken and not force:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise BadRequest(
            f"{folder / str(taken[0])}{more} is there already", hint="name another folder, or say --force to overwrite"
        )
    with Kept() as kept, Bar("bring") as bar:
        done = 0
        for number, task in enumerate(made, 1):
            target = folder / str(task.index) if several else folder
            count = Count()
            unpack_into(target, count.over(kept.pieces(task) or iter(())), force=force)
            done += count.size_bytes
            bar.follow(Progress(name=str(target), done_bytes=done, total_bytes=-1, done_files=number))
    output.err.print(f"{output.text(str(folder))} has what {len(made)} of {len(tasks)} tasks made")
    if open_tasks:
        output.err.print(f"[dim]{open_tasks} have not ended; the rest later: wos result {job.job} DIR[/]")


def clear(job: JobView) -> None:
    """Drop what a job kept in the realm's files, if it did."""
    shelf = Shelf(default_home(), Path())
    try:
        shelf.remove(f"/{FOLDER}/{job.job}")
    finally:
        shelf.close()


def _is_full(folder: Path) -> bool:
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


class Count:
    """Counts bytes as they pass."""

    def __init__(self) -> None:
        self.size_bytes = 0

    def over(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the pieces."""
        for piece in pieces:
            self.size_bytes += len(piece)
            yield piece
