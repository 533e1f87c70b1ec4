"""``wos watch security``: who asks this machine for what, what is strange about it, and what was narrowed."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import typer

from worldos.cli import output
from worldos.config import default_home
from worldos.sdk.asking import Asking

if TYPE_CHECKING:
    from rich.table import Table

LOOK_S = 1.0
STRANGE = {"rate": "pace", "fan_out": "spread", "denials": "denials", "level": "level"}
STEPS = ("", "slowed", "a person asked", "quarantine")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    watch = typer.Typer(
        help="Watch what goes on, live.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    watch.callback()(_root)
    watch.command("security")(security)
    app.add_typer(watch, name="watch", rich_help_panel=output.LOOK)


def _root() -> None:
    """Watch what goes on, live."""


def security(
    free: str = typer.Option("", metavar="WHO", help="Give back what was taken from somebody, as this machine."),
    learn: str = typer.Option("", metavar="WHO", help="Learn anew what is usual for somebody, on all your machines."),
    once: bool = typer.Option(False, "--once", help="Print it once, do not watch."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON, once."),
) -> None:
    """Watch who asks this machine for what: how far each is from what is usual for it, and what was narrowed. Ctrl-C ends it.

    100 in a column is where it trips. A first trip slows down, a second asks for a person, a third is quarantine for a day.
    """
    with Asking(default_home()) as agent:
        if free:
            _freed(agent.ask("security_free", who=free), as_json=as_json)
            return
        if learn:
            done = agent.ask("security_learn", who=learn)
            output.say_json(done) if as_json else print("what is usual for it is learnt anew from now on")
            return
        seen = agent.ask("security")
        if as_json:
            output.say_json(seen)
        elif once or not sys.stdout.isatty():
            _print(seen)
        else:
            _live(agent, seen)


def _freed(done: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.say_json(done)
    elif done["wait"]:
        print("this machine is for it; another one of yours must say so too: wos watch security --free WHO")
    else:
        print("given back")


def _print(seen: dict[str, Any]) -> None:
    if not seen["principals"]:
        print("nobody else asked this machine for anything yet")
    for grid in _grids(seen)[0 if seen["principals"] else 1 :]:
        output.out.print(grid)


def _live(agent: Asking, seen: dict[str, Any]) -> None:
    from rich.console import Group  # noqa: PLC0415 - 100 ms, which --json does without
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    with Live(Group(*_grids(seen)), screen=True, auto_refresh=False) as live:
        while True:
            head = Text("who asks this machine, and how far from usual (100 trips)   Ctrl-C ends", "dim")
            live.update(Group(head, *_grids(seen)), refresh=True)
            time.sleep(LOOK_S)
            seen = agent.ask("security")


def _grids(seen: dict[str, Any]) -> list[Table]:
    from rich.table import Table  # noqa: PLC0415

    grid = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("WHO", "USUAL", *(word.upper() for word in STRANGE.values()), "MAY", "WHY"):
        grid.add_column(column, justify="right" if column.lower() in STRANGE.values() else "left", overflow="fold")
    for row in seen["principals"]:
        grid.add_row(*map(output.text, _cells(row)), style="bold red" if row["ceiling"] else "")
    grids = [grid]
    if seen["narrowings"]:
        held = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for column in ("NARROWED", "TO CLASS", "PER MINUTE", "STILL", "BY", "WHY"):
            held.add_column(column, overflow="fold")
        for row in seen["narrowings"]:
            rate = str(row["per_minute"] or "any")
            words = (row["name"], row["class"], rate, f"{row['left_s']} s", row["by_name"], row["why"])
            held.add_row(*map(output.text, words))
        grids.append(held)
    return grids


def _cells(row: dict[str, Any]) -> list[str]:
    is_learnt = row["learnt"] >= row["learns"]
    usual = f"{row['per_minute']}/min" if is_learnt else f"learning {row['learnt']}/{row['learns']}"
    sums = [str(row["strange_percent"][key]) if is_learnt else "" for key in STRANGE]
    ceiling = row["ceiling"]
    may = "all" if ceiling is None else f"{ceiling['class']}, {ceiling['per_minute'] or 'any'}/min"
    return [row["name"], usual, *sums, may, row["why"] or STEPS[row["step"]]]
