"""``wos submit``: a command into the line; it runs when there is room for it, whatever becomes of who submitted it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from worldos.cli import output
from worldos.cli.completion import any_job
from worldos.config import default_home
from worldos.errors import BadRequest, NoCapacity
from worldos.sdk.asking import Asking

if TYPE_CHECKING:
    from worldos.kernel.line.view import JobView

JSON = typer.Option(False, "--json", help="Print JSON.")


def register(app: typer.Typer) -> None:
    """Add this command."""
    settings = {"ignore_unknown_options": True, "allow_interspersed_args": False}
    app.command("submit", context_settings=settings, rich_help_panel=output.WORK)(submit)


def submit(
    command: list[str] = typer.Argument(metavar="COMMAND...", help="The command and its arguments, after --."),
    cpu: str = typer.Option("1", "--cpu", help="Cores: 2, 0.5, 500m."),
    memory: str = typer.Option(
        "", help="Memory that each task may take: 8GB (default: no limit, placed by what it took before)."
    ),
    gpu: str = typer.Option("", help="Whole or parts of GPUs, instead of cores alone."),
    array: str = typer.Option("", help="One task for each index: 1-100, 1,5,9, 0-99:3, 1-100%8 (eight at once)."),
    after: list[str] = typer.Option(
        [], help="Only when this job has ended well; may be given again.", autocompletion=any_job
    ),
    deadline: str = typer.Option("", help='Tasks not begun by then are dropped: "08:00", "in 2h", "2026-11-23 08:00".'),
    budget: str = typer.Option("", help="WOSCoin that the whole job may cost."),
    priority: int = typer.Option(0, help="-100 to 100; the higher goes first."),
    retries: int = typer.Option(0, help="Try a task that fails by itself so often again; lost machines do not count."),
    runtime: str = typer.Option("", help="Stop a task that runs longer: 2h."),
    preemptible: bool = typer.Option(
        False, "--preemptible", help="May be stopped for what is more urgent, and goes on later from $WOS_CHECKPOINT."
    ),
    grace: str = typer.Option("", help="Between SIGTERM and SIGKILL when it is stopped (default: 30s)."),
    twice: bool = typer.Option(
        False, "--twice", help="It does no harm if a task runs beside its successor: begun anew sooner after a loss."
    ),
    checked: bool | None = typer.Option(
        None,
        "--checked/--unchecked",
        help="What machines of others make counts when another owner's made the same (default: while they have no record).",
        show_default=False,
    ),
    take: list[Path] = typer.Option([], "--with", help="A file or folder to take along; may be given again."),
    keep: bool = typer.Option(True, help="Keep files that it makes in its folder, for wos result."),
    name: str = typer.Option("", help="What to call it (default: the command)."),
    where: str = typer.Option("", help="A comparison the node must fulfil: \"arch == 'arm64'\"."),
    near: str = typer.Option("", help="Closer to this is better: 'me', a node, or a place."),
    realm: str = typer.Option("", help="Only in this realm: acme/berlin."),
    objective: str = typer.Option("fastest", help="fastest, cheapest, greenest or nearest."),
    isolation: str = typer.Option("", help="At least so far apart from the machine: process, sandbox or wasm."),
    env: list[str] = typer.Option([], "--env", help="NAME=VALUE, or NAME as it is here; may be given again."),
    anyway: bool = typer.Option(False, "--anyway", help="Let it wait even if nothing that is known could run it."),
    wait: bool = typer.Option(False, "--wait", help="Wait for its end: exit code 0 if all of it went well."),
    as_json: bool = JSON,
) -> None:
    """Put a command into the line: it runs where and when there is room, though you go to sleep.

    Each task finds its index in $WOS_TASK, and runs in an empty folder with what --with brought. Example:

    wos submit --array 1-100 --with step.py -- python3 step.py
    """
    from worldos.jobs.desk import Desk  # noqa: PLC0415 - loads what a job needs
    from worldos.jobs.submit import hand_in, spec_of  # noqa: PLC0415
    from worldos.jobs.words import parse_array  # noqa: PLC0415

    spans, together = parse_array(array) if array else ((), 0)
    with Asking(default_home()) as agent:
        desk = Desk(agent.ask)
        spec = spec_of(
            argv=_plain(command), cpu=cpu, gpu=gpu or None, memory=memory or None, where=where or None, near=near or None,
            realm=realm or None, objective=objective, isolation=isolation, spans=spans,
            after=[desk.named(each)[0].job for each in after], deadline=deadline or None, budget=budget or None,
            priority=priority, retries=retries, together=together, runtime=runtime or None, grace=grace or None,
            preemptible=preemptible, twice=twice, checked=checked, keep=keep, name=name, env=_env(env),
        )  # fmt: skip
        if not anyway:
            never = desk.never(spec)
            if never:
                raise NoCapacity(
                    f"nothing that is known could ever run this: {never}", hint="ask for less, or --anyway"
                )
        job = hand_in(desk, spec, take, Path.cwd())
        view = desk.job(job)
        if as_json:
            from worldos.cli.jobs import plain_job  # noqa: PLC0415

            output.say_json(plain_job(view))
        else:
            print(job, flush=True)
            if not wait:
                _tell(view)
        if wait:
            from worldos.cli.job_bar import await_end  # noqa: PLC0415 - loads the bar

            raise typer.Exit(0 if await_end(desk, job) else 1)


def _tell(view: JobView) -> None:
    """Say where it stands, and what to do next, to a person."""
    if sys.stderr is None or not sys.stderr.isatty():
        return
    from worldos.jobs.desk import tasks_of  # noqa: PLC0415

    tasks = tasks_of(view)
    what = f"{tasks} tasks are" if tasks > 1 else "it is"
    why = f": {output.text(view.why)}" if view.why else ""
    output.err.print(f"{what} in line{why}")
    output.err.print(f"[dim]see it: wos jobs {view.job}   follow it: wos logs -f {view.job}   its files: wos result[/]")


def _plain(words: list[str]) -> list[str]:
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            hint = "write it in UTF-8, or put it into a script and take that along: --with script.sh"
            raise BadRequest("an argument of the command is not UTF-8 text", hint=hint) from None
    return words


def _env(words: list[str]) -> dict[str, str]:
    import os  # noqa: PLC0415 - only where one is named

    found: dict[str, str] = {}
    for word in words:
        name, given, value = word.partition("=")
        if not name or (not given and name not in os.environ):
            raise BadRequest(f"--env {word[:60]!r} names no variable", hint="write it as NAME=VALUE")
        found[name] = value if given else os.environ[name]
    return found
