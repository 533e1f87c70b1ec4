"""``wos account code|card``, ``wos contact``, ``wos inbox``: other people, and what they sent.

A code of 40 characters (``wos1...``) says who somebody is; their card says what to seal to. Both may be known to everybody.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

import typer

from worldos.cli import output
from worldos.cli.names import JSON, SHOWN_CHARS, STREAM, when
from worldos.config import default_home
from worldos.errors import BadRequest, WorldError
from worldos.sdk.asking import Asking

SECOND_NS = 1_000_000_000
VALUE_BYTES_MAX = 4096  # of one letter (store/letters.py, which the command line does not load for this)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    settings = {"help_option_names": ["-h", "--help"]}
    contact = typer.Typer(help="Other people: whose card is here.", no_args_is_help=True, context_settings=settings)
    contact.command("list")(contacts)
    contact.command("add")(add)
    app.add_typer(contact, name="contact", rich_help_panel=output.YOUR_MACHINES)
    app.command("inbox", rich_help_panel=output.YOUR_MACHINES)(inbox)


def add_to(account: typer.Typer) -> None:
    """Add what is about the account itself."""
    account.command("code")(code)
    account.command("card")(card)


def code(as_json: bool = JSON) -> None:
    """Print the code that others name you by: no secret, and the same for ever."""
    said = _ask("account_code")
    if as_json:
        output.say_json(said)
        return
    print(said["code"])
    if sys.stderr.isatty():
        output.err.print(
            "give it to whoever shall share with you; they need your card too: wos account card", style="dim"
        )


def card(
    name: str = typer.Option("", help="What others see beside your code (default: this machine's name)."),
    as_json: bool = JSON,
) -> None:
    """Print your card, which others take in by wos contact add; realms that you are in are told of it from now on."""
    said = _ask("account_card", name=name)
    output.say_json(said) if as_json else print(said["card"])


def contacts(as_json: bool = JSON) -> None:
    """Show whose card is here."""
    rows = _ask("contact_list")
    if as_json:
        output.say_json(rows)
    elif not rows:
        print("nobody yet: they print a card by wos account card; you take it in by wos contact add CARD")
    else:
        output.table(
            ("NAME", "CODE", "DEVICES", "CARD OF"),
            [
                (
                    output.text(row["name"]) + (" (you)" if row["ours"] else ""),
                    row["code"],
                    str(row["devices"]),
                    when(row["at_s"] * SECOND_NS),
                )
                for row in rows
            ],
            right=("DEVICES",),
        )


def add(
    text: str = typer.Argument(
        STREAM, metavar="[CARD]", help="What wos account card printed (default: standard input)."
    ),
    as_json: bool = JSON,
) -> None:
    """Take in somebody's card: it proves itself, by the code that you know them by."""
    row = _ask("contact_add", card=sys.stdin.read() if text == STREAM else text)
    if as_json:
        output.say_json(row)
    else:
        print(f"{row['name']} is {row['code']}: compare this code with theirs")
        print(f"share with them: wos share FILE --to {row['code']}")


def inbox(
    action: str = typer.Argument(
        "", metavar="[open|add]", help="open N: have what letter N brings; add: take in a letter."
    ),
    which: str = typer.Argument(
        "", metavar="[N|LETTER]", help="Its number, or a letter as text (default: standard input)."
    ),
    dest: str = typer.Argument("", metavar="[DEST]", help="Where a file goes (default: here, under its own name)."),
    as_json: bool = JSON,
) -> None:
    """Show what others sent you, or have it."""
    if action == "add":
        row = _ask("letter_add", text=which or sys.stdin.read())
        output.say_json(row) if as_json else print(f"{_from(row)}: {row['title']}")
        return
    rows = _ask("inbox")
    if action == "open":
        _open(rows, which, dest, as_json=as_json)
    elif action:
        raise BadRequest(
            f"there is no wos inbox {action[:SHOWN_CHARS]}", hint="wos inbox, wos inbox open N, wos inbox add"
        )
    elif as_json:
        output.say_json(rows)
    elif not rows:
        print("no letters; people send one by: wos share FILE --to YOUR-CODE (wos account code)")
    else:
        output.table(
            ("N", "FROM", "WHAT", "TITLE", "NOTE", "WHEN"),
            [
                (
                    str(number),
                    output.text(_from(row)),
                    row["kind"],
                    output.text(row["title"]),
                    output.text(row["note"]),
                    when(row["at_s"] * SECOND_NS),
                )
                for number, row in enumerate(rows, 1)
            ],
        )


def send(to: str, kind: str, title: str, value: bytes, note: str = "") -> dict[str, Any]:
    """Send something to a person, sealed; return where it went."""
    sent = _ask("letter_send", to=to, kind=kind, title=title, value=base64.b64encode(value).decode("ascii"), note=note)
    return dict(sent)


def show_letters(sent: list[dict[str, Any]], *, printed: bool) -> None:
    """Print letters as text to carry, or say how to have them so, where nothing may lead to the reader."""
    if printed:
        print("\n".join(each["text"] for each in sent))
    elif not all(each["linked"] for each in sent):
        print(
            "no device of theirs is linked with yours now: it goes when one is; or carry it: add --print, there wos inbox add"
        )


def _open(rows: list[dict[str, Any]], which: str, dest: str, *, as_json: bool) -> None:
    if not which.isdecimal() or not 1 <= int(which) <= len(rows):
        raise BadRequest(f"there is no letter {which[:SHOWN_CHARS]!r}", hint="wos inbox shows them with their numbers")
    row = rows[int(which) - 1]
    value = base64.b64decode(row["value"])
    if row["kind"] == "sealed":
        hint = "open it on another of your devices, or ask for it again"
        raise BadRequest("this device was not there yet when the letter was sealed", hint=hint)
    if row["kind"] == "lease":
        _keep_grants(value.decode("ascii", "replace").split(), as_json=as_json)
        return
    if row["kind"] in {"file", "session"}:
        from worldos.cli.sharing import open_  # noqa: PLC0415 - the files' own

        open_(value.decode("ascii", "replace"), dest, as_json=as_json)
        return
    if dest:
        Path(dest).write_bytes(value)
    if as_json:
        output.say_json(row)
    elif not dest:
        sys.stdout.write(value.decode("utf-8", "replace") + "\n")


def _keep_grants(grants: list[str], *, as_json: bool) -> None:
    """Keep those grants of a letter that are for this machine; the others are for other machines of ours."""
    kept, why = [], None
    for grant in grants:
        try:
            kept.append(_ask("grant_add", grant=grant))
        except WorldError as error:
            why = error
    if not kept:
        raise why or BadRequest("this letter brings nothing")
    if as_json:
        output.say_json(kept)
    else:
        print(f"kept: what it lets you use is used as your own, and shown by wos grants ({len(kept)} for this machine)")


def _from(row: dict[str, Any]) -> str:
    """Say who wrote a letter, and whether that is sure."""
    if row["kind"] == "sealed":
        return "?"
    name = f"{row['by_name']} {row['by'][:12]}..." if row["by_name"] else row["by"]
    return name if row["verified"] else f"{name} (not verified)"


def _ask(order: str, /, **arguments: Any) -> Any:
    with Asking(default_home()) as agent:
        return agent.ask(order, **arguments)
