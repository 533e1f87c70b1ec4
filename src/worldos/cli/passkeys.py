"""``wos account passkey add``, ``list``, ``remove``: the keys that a person's phone or finger holds.

A passkey is made in a browser, so *add* opens the page; what the terminal can do without one, it does.
"""

from __future__ import annotations

from typing import Any

import typer

from worldos.cli import output
from worldos.cli.lifecycle import JSON
from worldos.cli.page import page
from worldos.cli.person import sure
from worldos.config import default_home
from worldos.errors import BadRequest
from worldos.sdk.asking import Asking
from worldos.web.limits import PORT


def add_to(account: typer.Typer) -> None:
    """Add these commands to those of the account."""
    passkey = typer.Typer(
        help="Passkeys: a finger, a face or a PIN that approves, and outweighs a stolen machine.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, command in (("add", add), ("list", list_), ("remove", remove)):
        passkey.command(name)(command)
    account.add_typer(passkey, name="passkey")


def add(
    port: int = typer.Option(PORT, min=1024, max=65535, help="The port of the page: the passkey is good there alone."),
    origin: str = typer.Option("", help="As of wos page."),
    no_browser: bool = typer.Option(False, "--no-browser", help="Print the link alone; open no browser."),
) -> None:
    """Open the page, where your browser makes a passkey (Me, Add a passkey)."""
    output.err.print("On the page: [bold]Me, Add a passkey[/].\n")
    page(port=port, origin=origin, link=False, no_browser=no_browser, as_json=False)


def list_(as_json: bool = JSON) -> None:
    """List the passkeys that can act as you."""
    rows = _rows()
    if as_json:
        output.say_json([{**row, "credential": row["credential"].hex(), "public": row["public"].hex()} for row in rows])
    elif not rows:
        print("no passkey yet: wos account passkey add")
    else:
        output.table(
            ("PASSKEY", "STATE", "PAGE", "ID"),
            [
                (output.text(row["name"]), "young" if row["young"] else "grown", row["rp"], row["key"][:12])
                for row in rows
            ],
        )


def remove(
    passkey: str = typer.Argument(metavar="PASSKEY", help="Its name, or the beginning of its id."),
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask."),
    as_json: bool = JSON,
) -> None:
    """Put a young passkey out by this machine; a grown one goes by another passkey (on the page) or your words.

    By your words: wos account remove NAME --words.
    """
    found = [row for row in _rows() if passkey == row["name"] or (len(passkey) >= 4 and row["key"].startswith(passkey))]
    if len(found) != 1:
        said = f"{len(found)} passkeys are called" if found else "no passkey is called"
        raise BadRequest(f"{said} {passkey[:60]!r}", hint="wos account passkey list shows them with their ids")
    if not yes:
        sure(f"Put the passkey {found[0]['name']} out of your account?")
    with Asking(default_home()) as agent:
        done = agent.ask("account_remove", key=found[0]["key"])
    if as_json:
        output.say_json(done)
    else:
        output.out.print(f"{output.text(found[0]['name'])} is put out")


def _rows() -> list[dict[str, Any]]:
    with Asking(default_home()) as agent:
        return list(agent.ask("passkeys"))
