"""``wos profile``: what was learned of the functions that programs here ran, of commands of jobs, and of the ways to nodes."""

from __future__ import annotations

from typing import Any

import typer

from worldos.cli import output
from worldos.config import default_home
from worldos.sdk.asking import Asking

JSON = typer.Option(False, "--json", help="Print JSON.")
SHOWN = 30


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command(rich_help_panel=output.LOOK)(profile)


def profile(
    all_: bool = typer.Option(False, "--all", help=f"All functions, not only the {SHOWN} that ran last."),
    as_json: bool = JSON,
) -> None:
    """Show what calls of each function take (time on each node, computing, memory, disks) and what the ways carry.

    By this, calls of a lease go where they end soonest, and no more at once than its memory holds. Of the commands of jobs:
    tasks of one that took memory before are begun no more side by side than fit, if the job does not say --memory.
    """
    with Asking(default_home()) as agent:
        found = agent.ask("profile_show")
    if as_json:
        output.say_json(found)
        return
    if not found["functions"] and not found["commands"]:
        output.err.print("nothing has been learned yet: calls of 0.1 ms and more are measured as they run")
        return
    if found["functions"]:
        _tell_functions(found, all_=all_)
    if found["commands"]:
        if found["functions"]:
            output.out.print()
        _tell_commands(found["commands"] if all_ else found["commands"][:SHOWN])


def _tell_commands(commands: list[dict[str, Any]]) -> None:
    rows = [
        (
            output.text(row["command"]),
            str(row["tasks"]),
            output.micros(row["wall_us"]),
            output.size(row["memory_bytes"]) if row["memory_bytes"] else "",
        )
        for row in commands
    ]
    columns = ("COMMAND OF JOBS", "TASKS OF LATE", "TAKES", "MEMORY")
    output.table(columns, rows, right=columns[1:])


def _tell_functions(found: dict[str, Any], *, all_: bool) -> None:
    functions = found["functions"] if all_ else found["functions"][:SHOWN]
    rows = [
        (
            output.text(row["function"]),
            f"{row['runs']:,}".replace(",", " "),
            output.micros(row["wall_us"]),
            f"{row['cpu_percent']} %",
            output.size(row["in_bytes"]),
            output.size(row["out_bytes"]),
            output.size(row["memory_bytes"]) if row["memory_bytes"] else "",
            output.size(row["read_bytes"] + row["written_bytes"]),
            ", ".join(f"{node} {output.micros(wall_us)}" for node, wall_us in row["on"].items()),
        )
        for row in functions
    ]
    columns = ("FUNCTION", "RUNS", "TAKES", "COMPUTES", "BYTES IN", "BYTES OUT", "MEMORY", "DISK", "ON")
    output.table(columns, rows, right=columns[1:8])
    if found["ways"]:
        output.out.print()
        ways = [
            (row["node"], f"{output.size(row['bytes_s'])}/s" if row["bytes_s"] else "", output.micros(row["trip_us"]))
            for row in found["ways"]
        ]
        output.table(("WAY TO", "CARRIES", "TRIP"), ways, right=("CARRIES", "TRIP"))
