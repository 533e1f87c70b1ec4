"""Work as ``wos top`` draws it: jobs with a bar of their tasks, queues, and what this machine lends to whom."""

from __future__ import annotations

import time
from typing import Any, Final, NamedTuple

from rich.text import Text

from worldos.errors import NoAgent, WorldError
from worldos.jobs.desk import Desk
from worldos.jobs.rows import JobRow, job_row
from worldos.kernel.line.view import State
from worldos.kernel.queues.queues import QueueView
from worldos.kernel.work.look import read_queues
from worldos.model.units import show, show_bytes, show_duration_ns
from worldos.sdk.asking import Asking

JOBS: Final = ("job", "what", "state", "tasks", "", "where", "spent", "since", "why it waits")
QUEUES: Final = ("queue", "waiting", "taken", "dead", "size", "oldest")
LENT: Final = ("guest", "of", "has", "ends in", "why")

JOBS_ASKED: Final = 40
ROWS_MAX: Final = 12
JUST_ENDED_MS: Final = 5 * 60_000  # jobs that ended longer ago are not drawn
BAR_CELLS: Final = 12
WHAT_CHARS: Final = 32
WHY_CHARS: Final = 120
UWOS: Final = 1_000_000
MS_NS: Final = 1_000_000

PARTS: Final = (("done", "█", "green"), ("failed", "█", "red"), ("dropped", "█", "yellow"), ("running", "▓", "cyan"))
STATE_STYLE: Final = {
    State.RUNNING: "cyan",
    State.DONE: "green",
    State.FAILED: "red",
    State.DROPPED: "yellow",
    State.HELD: "dim",
}
Cells = tuple[Text | str, ...]


class Seen(NamedTuple):
    """What was seen of the work, and why not all of it."""

    jobs: list[JobRow]
    queues: tuple[QueueView, ...]
    lend: dict[str, Any]
    problem: str


def see(agent: Asking) -> Seen:
    """Ask for all of it; what cannot be seen now is said, and no error. Raises NoAgent alone."""
    jobs: list[JobRow] = []
    queues: tuple[QueueView, ...] = ()
    lend: dict[str, Any] = {}
    problem = ""
    try:
        lend = agent.ask("lend_show")
        desk = Desk(agent.ask)
        names = desk.names()
        jobs = [job_row(job, names) for job in desk.jobs(JOBS_ASKED)]
        queues = read_queues(agent.ask("work_look", what="queues"))
    except NoAgent:
        raise
    except WorldError as error:
        problem = str(error)
    return Seen(jobs, queues, lend, problem)


def now_ms() -> int:
    """Return the time that jobs are dated by."""
    return round(time.time() * 1000)


def shown(jobs: list[JobRow], at_ms: int) -> list[JobRow]:
    """Return the jobs that are drawn: those that have not ended, and those that ended a moment ago."""
    return [job for job in jobs if not job.ended_ms or at_ms - job.ended_ms < JUST_ENDED_MS]


def job_cells(job: JobRow, at_ms: int) -> Cells:
    """Return a job's cells, in the order of JOBS."""
    ended = job.done + job.failed + job.dropped
    spent = f"{job.spent_uwos / UWOS:g} WOS" if job.spent_uwos else _lasts(job.cpu_us // 1000)
    return (
        job.job,
        (job.name or job.command)[:WHAT_CHARS],
        Text(job.state, STATE_STYLE.get(job.state, "")),
        bar(job),
        f"{ended} of {job.tasks}" if job.tasks > 1 else "",
        ", ".join(f"{node} {count}" if job.tasks > 1 else node for node, count in job.where),
        spent,
        _lasts(at_ms - job.since_ms),
        "" if job.ended_ms and not job.why else Text(job.why[:WHY_CHARS], "" if job.running else "yellow"),
    )


def bar(job: JobRow, cells: int = BAR_CELLS) -> Text:
    """Draw how the tasks of a job stand: a state that is there has a cell, while there is room."""
    text = Text()
    tasks = max(1, job.tasks)
    left = cells
    for name, mark, style in PARTS:
        count = getattr(job, name)
        width = min(left, max(1, cells * count // tasks)) if count else 0
        text.append(mark * width, style)
        left -= width
    return text.append("░" * left, "dim")


def queue_cells(row: QueueView, at_ms: int) -> Cells:
    """Return a queue's cells, in the order of QUEUES."""
    full = row.size_bytes * 10 > row.bytes_max * 9
    return (
        row.queue,
        str(row.waiting),
        str(row.held or ""),
        Text(str(row.dead_waiting), "red") if row.dead_waiting else "",
        Text(show_bytes(row.size_bytes), "yellow" if full else "") if row.size_bytes else "",
        _lasts(at_ms - row.oldest_ms) if row.oldest_ms else "",
    )


def guest_cells(row: dict[str, Any]) -> Cells:
    """Return a guest's cells, in the order of LENT."""
    has = show(row["kind"], row["amount"])
    if row["memory_bytes"]:
        has += f", {show_bytes(row['memory_bytes'])}"
    ends = f"{row['ends_s']} s" if row["ends_s"] >= 0 else ""
    return (row["name"], row["account"][:12] or "?", has, Text(ends, "yellow"), row["why"])


def lent_title(lend: dict[str, Any]) -> str:
    """Say what is lent now; nothing where this machine has neither rules nor guests."""
    if not lend or not (lend["off"] or lend["rules"] or lend["guests"]):
        return ""
    if lend["off"]:
        return "LENT TO OTHERS: nothing, wos lend on begins again"
    if lend["rests"]:
        return f"LENT TO OTHERS: guests rest, {lend['rests']}"
    rules = "; ".join(
        f"{rule['says']}{'' if rule['holds'] else ' (not now: ' + rule['why'] + ')'}" for rule in lend["rules"]
    )
    return f"LENT TO OTHERS: {rules}" if rules else "LENT TO OTHERS"


def _lasts(ms: int) -> str:
    return show_duration_ns(ms // 1000 * 1000 * MS_NS) if ms >= 1000 else ""
