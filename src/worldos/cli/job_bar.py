"""The bar of a job that somebody waits for: how many of its tasks have ended, and what it waits for. It leaves no trace."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from worldos.cli import output
from worldos.jobs.desk import ENDED, ended_of, tasks_of
from worldos.kernel.line.view import State

if TYPE_CHECKING:
    from worldos.jobs.desk import Desk
    from worldos.kernel.line.view import JobView

LOOK_S: Final = 0.3
PATIENCE_S: Final = 0.4


def await_end(desk: Desk, job: str) -> bool:
    """Wait until a job has ended; return whether all of it went well. Ctrl-C leaves it in the line."""
    from rich.console import Console  # noqa: PLC0415 - rich costs 100 ms
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True, highlight=False),
        transient=True,
    )
    begun_s = time.monotonic()
    view = desk.job(job)
    line = bar.add_task(said(view), total=tasks_of(view))
    try:
        while view.state not in ENDED:
            if not bar.live.is_started and time.monotonic() > begun_s + PATIENCE_S:
                bar.start()
            time.sleep(LOOK_S)
            view = desk.job(job)
            bar.update(line, description=said(view), completed=ended_of(view))
    except KeyboardInterrupt:
        bar.stop()
        output.err.print(f"[dim]it goes on; see it: wos jobs {job}   end it: wos cancel {job}[/]")
        raise
    finally:
        bar.stop()
    if view.state is not State.DONE:
        bad = view.counts.failed + view.counts.dropped
        output.err.print(f"{bad} of {tasks_of(view)} tasks did not end well; see them: wos jobs {job}")
    return view.state is State.DONE


def said(view: JobView) -> str:
    """Say in a few words what a job does now."""
    if view.counts.running:
        return f"{view.counts.running} run"
    return (view.why or view.state)[:60]
