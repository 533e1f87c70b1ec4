"""``wos mcp``: your machines as tools of a program with a language model, over standard input and output."""

from __future__ import annotations

import os
import sys

import typer

from worldos.cli import output
from worldos.config import default_home
from worldos.sdk.asking import Asking


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("mcp", rich_help_panel=output.WORK)(mcp)


def mcp(
    tools: bool = typer.Option(False, "--tools", help="List the tools that it would offer, and end."),
    as_json: bool = typer.Option(False, "--json", help="With --tools: print JSON."),
) -> None:
    """Offer your machines as tools by the Model Context Protocol, on standard input and output, until that ends.

    Without a grant the tools only read. With one they do what it lets them, on every machine: wos --grant FILE mcp.

    Give such a program a grant of its own: wos role grant DEVICE operator --until 1d
    """
    from worldos.sdk.shown import VARIABLE  # noqa: PLC0415 - this command alone
    from worldos.web.mcp import Speaker, converse  # noqa: PLC0415 - it loads all orders
    from worldos.web.tools import tools as offered  # noqa: PLC0415

    granted = bool(os.environ.get(VARIABLE))
    if tools:
        rows = offered(granted=granted)
        if as_json:
            output.say_json(rows)
        else:
            output.table(("TOOL", "WHAT IT DOES"), [(row["name"], row["description"]) for row in rows])
        return
    home = default_home()
    with Asking(home, "wos mcp") as agent:  # a grant that cannot be read, or no agent: said at once
        agent.ask("whoami")
    converse(Speaker(home, granted=granted), sys.stdin.buffer, sys.stdout.buffer)
