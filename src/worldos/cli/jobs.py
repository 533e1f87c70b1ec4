"""``wos jobs``, ``logs``, ``cancel``, ``retry``, ``result``: what is in line, what it says, and what it made."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import typer

from worldos.cli import output
from worldos.cli.completion import any_job, failed_job, jobs_or_forget, open_job
from worldos.config import default_home
from worldos.errors import BadRequest
from worldos.model.units import show_duration_ns
from worldos.sdk.asking import Asking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worldos.jobs.desk import Desk
    from worldos.kernel.line.view import JobView, TaskView

JSON = typer.Option(False, "--json", help="Print JSON.")
JOB = typer.Argument(
    metavar="JOB[.INDEX]",
    help="A job, by its id, the beginning of it, or its name; or one task.",
    autocompletion=any_job,
)
_SOME = "Jobs, by their ids, the beginnings of them, or their names."
OPEN = typer.Argument(metavar="JOB...", help=_SOME, autocompletion=open_job)
FAILED = typer.Argument(metavar="JOB...", help=_SOME, autocompletion=failed_job)

STYLES: Final = {"done": "green", "failed": "red", "dropped": "yellow", "running": "cyan", "held": "dim"}
MS_NS: Final = 1_000_000
COMMAND_CHARS: Final = 48
WHY_CHARS: Final = 90
TASKS_SHOWN: Final = 40
TASKS_READ: Final = 5000  # of a large array, to choose them from
FORGET: Final = "forget"
UWOS: Final = 1_000_000


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for name, command in (("jobs", jobs), ("cancel", cancel), ("retry", retry), ("result", result)):
        app.command(name, rich_help_panel=output.WORK)(command)
    from worldos.cli import job_logs  # noqa: PLC0415 - a file of its own

    job_logs.register(app)


def jobs(
    words: list[str] = typer.Argument(
        None,
        metavar="[JOB] | forget JOB...",
        help="One job, with its tasks (default: all jobs).",
        show_default=False,
        autocompletion=jobs_or_forget,
    ),
    everything: bool = typer.Option(False, "--all", "-a", help="Every task of an array, not some of them."),
    as_json: bool = JSON,
) -> None:
    """Show the line: all jobs, or one with its tasks; or drop what is known of jobs that have ended.

    wos jobs            wos jobs k3f9            wos jobs forget k3f9
    """
    with Asking(default_home()) as agent:
        desk = _desk(agent)
        if words and words[0] == FORGET:
            _forget(desk, words[1:])
        elif words:
            if len(words) > 1:
                raise BadRequest("one job is shown at a time", hint="all of them: wos jobs")
            _show(desk, words[0], everything=everything, as_json=as_json)
        else:
            _list(desk, as_json=as_json)


def cancel(names: list[str] = OPEN, as_json: bool = JSON) -> None:
    """End jobs, and what waits for them. What has ended stays as it is.

    wos cancel k3f9            wos cancel frames stitch
    """
    with Asking(default_home()) as agent:
        desk = _desk(agent)
        _changed(desk, names, desk.cancel, "is cancelled", as_json=as_json)


def retry(names: list[str] = FAILED, as_json: bool = JSON) -> None:
    """Run again the tasks that failed or were dropped; those that ended well stay as they are.

    wos retry k3f9
    """
    with Asking(default_home()) as agent:
        desk = _desk(agent)
        _changed(desk, names, desk.retry, "is in line again", as_json=as_json)


def result(
    name: str = JOB,
    folder: Path = typer.Argument(metavar="DIR", help="Where to: of an array, one folder for each index."),
    force: bool = typer.Option(False, "--force", help="Overwrite what is there."),
) -> None:
    """Bring what a job made to this machine.

    wos result k3f9 out            wos result k3f9.17 out
    """
    from worldos.cli.job_files import bring  # noqa: PLC0415 - loads what reads files

    with Asking(default_home()) as agent:
        desk = _desk(agent)
        job, index = desk.named(name)
        tasks = [desk.task(job.job, index)] if index is not None else list(desk.tasks(job.job))
        several = len(tasks) > 1 or index is not None
        bring(job, tasks, folder, several=several, force=force)


def plain_job(job: JobView) -> dict[str, Any]:
    """Return a job for programs."""
    whole: dict[str, Any] = msgspec.to_builtins(job)
    whole["counts"] = msgspec.structs.asdict(job.counts)
    whole["runs"] = [
        {
            "index": run.attempt.index,
            "attempt": run.attempt.number,
            "node": run.at or run.node,
            "begun_ms": run.begun_ms,
        }
        for run in job.runs
    ]
    return whole


def plain_task(task: TaskView) -> dict[str, Any]:
    """Return a task for programs."""
    whole: dict[str, Any] = msgspec.to_builtins(task)
    if task.outcome is not None:
        whole["outcome"] = {
            "code": task.outcome.code,
            "why": task.outcome.why,
            "tail": task.outcome.tail.decode(errors="replace"),
            "result_bytes": len(task.outcome.result),
            "result_file": task.outcome.result_file,
            "log_file": task.outcome.log_file,
        }
    return whole


# -- the line ------------------------------------------------------------------------------------------------------------------


def _desk(agent: Asking) -> Desk:
    from worldos.jobs.desk import Desk  # noqa: PLC0415 - loads what reads the line

    return Desk(agent.ask)


def _whole(desk: Desk, names: list[str]) -> Iterator[JobView]:
    for name in names:
        job, index = desk.named(name)
        if index is not None:
            raise BadRequest(f"{name} is one task: whole jobs only", hint=f"say {job.job}")
        yield job


def _changed(desk: Desk, names: list[str], change: Callable[[str], None], told: str, *, as_json: bool) -> None:
    """Change whole jobs, and say what became of each."""
    changed: list[str] = []
    for job in _whole(desk, names):
        change(job.job)
        changed.append(job.job)
        if not as_json:
            output.err.print(f"{job.job} {told}")
    if as_json:
        output.say_json([plain_job(desk.job(job)) for job in changed])


def _forget(desk: Desk, names: list[str]) -> None:
    from worldos.cli.job_files import clear  # noqa: PLC0415

    if not names:
        raise BadRequest("which job?", hint="wos jobs forget JOB")
    for job in _whole(desk, names):
        desk.forget(job.job)
        clear(job)
        output.err.print(f"{job.job} is forgotten")


def _list(desk: Desk, *, as_json: bool) -> None:
    found = desk.jobs()
    if as_json:
        output.say_json([plain_job(job) for job in found])
        return
    if not found:
        output.err.print("the line is empty; put something into it: wos submit -- COMMAND")
        return
    output.table(
        ("JOB", "WHAT", "STATE", "TASKS", "FAILED", "SINCE", "WHY"),
        [_cells(job) for job in found],
        right=("TASKS", "FAILED"),
    )


def _cells(job: JobView) -> tuple[str, ...]:
    from worldos.jobs.desk import ended_of, tasks_of  # noqa: PLC0415
    from worldos.jobs.rows import one_line  # noqa: PLC0415

    return (
        job.job,
        output.text(one_line(job.name or job.command)[:COMMAND_CHARS]),
        _styled(job.state),
        f"{ended_of(job)}/{tasks_of(job)}",
        str(job.counts.failed or ""),
        _ago(job.since_ms),
        output.text(job.why[:WHY_CHARS]),
    )


def _show(desk: Desk, name: str, *, everything: bool, as_json: bool) -> None:
    job, index = desk.named(name)
    if as_json:
        tasks = [desk.task(job.job, index)] if index is not None else list(desk.tasks(job.job))
        output.say_json({**plain_job(job), "tasks": [plain_task(task) for task in tasks]})
        return
    names = desk.names()
    if index is None:
        _head(job, names)
        tasks = _telling(desk, job, everything=everything)
    else:
        tasks = [desk.task(job.job, index)]
    if tasks:
        output.table(
            ("TASK", "STATE", "ATTEMPT", "NODE", "CODE", "TOLD"), [_task_cells(job, task, names) for task in tasks]
        )
    left = sum(msgspec.structs.astuple(job.counts)) - len(tasks) if index is None else 0
    if left:
        output.err.print(f"[dim]and {left} more: wos jobs {job.job} --all[/]")


def _head(job: JobView, names: dict[str, str]) -> None:
    from worldos.jobs.rows import one_line  # noqa: PLC0415 - with what reads the line

    counts = ", ".join(f"{count} {word}" for word, count in msgspec.structs.asdict(job.counts).items() if count)
    lines = [
        ("job", f"{job.job} {output.text(job.name)}".rstrip()),
        ("command", output.text(one_line(job.command))),
        ("state", f"{_styled(job.state)}: {counts}"),
        ("why", output.text(job.why)),
        ("submitted", f"{_ago(job.since_ms)} ago by {output.text(names.get(job.by, job.by[:8]))}"),
        ("deadline", f"{_clock(job.deadline_ms)}{' (missed)' if job.late else ''}" if job.deadline_ms else ""),
        ("priority", str(job.priority or "")),
        ("budget", f"{job.spent_uwos / UWOS:g} of {job.budget_uwos / UWOS:g} WOSCoin" if job.budget_uwos else ""),
        ("checked", _checked(job)),
        ("took", f"{show_duration_ns(job.cpu_us * 1000)} of processors" if job.cpu_us else ""),
    ]
    for word, told in lines:
        if told:
            output.out.print(f"[bold]{word:<10}[/]{told}")
    output.out.print()


def _checked(job: JobView) -> str:
    """Say what was done more than once because a machine of others had done it."""
    done = f"{job.checked} by machines of several owners" if job.checked else ""
    unsure = f"{job.unsure} to be done by another owner's, too" if job.unsure else ""
    return "; ".join(filter(None, (done, unsure)))


def _telling(desk: Desk, job: JobView, *, everything: bool) -> list[TaskView]:
    """Return the tasks that tell most, or all."""
    from worldos.jobs.rows import telling  # noqa: PLC0415 - with what reads the line

    tasks = desk.tasks(job.job)
    return list(tasks) if everything else telling(islice(tasks, TASKS_READ), TASKS_SHOWN)


def _task_cells(job: JobView, task: TaskView, names: dict[str, str]) -> tuple[str, ...]:
    from worldos.jobs.rows import one_line  # noqa: PLC0415
    from worldos.jobs.rows import told as last_told  # noqa: PLC0415

    outcome = task.outcome
    told = last_told(task)
    if task.state == "running":
        told = f"for {_ago(task.begun_ms)}" if task.begun_ms else "gets its lease"
    if task.copies:
        agreed = f"{task.agree} of {task.copies} agree" if task.agree else f"done {task.copies} x by others, unsure yet"
        told = f"{agreed}; {told}" if told else agreed
    node = task.at or task.node
    return (
        f"{job.job}.{task.index}",
        _styled(task.state),
        str(task.number or ""),
        output.text(names.get(node, node[:8])),
        str(outcome.code) if outcome is not None else "",
        output.text(one_line(told)[:WHY_CHARS]),
    )


def _styled(state: str) -> str:
    style = STYLES.get(state)
    return f"[{style}]{state}[/]" if style and sys.stdout.isatty() else str(state)


def _ago(since_ms: int) -> str:
    return show_duration_ns(max(0, round(time.time() * 1000) - since_ms) // 1000 * 1000 * MS_NS)


def _clock(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M")
