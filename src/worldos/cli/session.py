"""``wos session``: what was begun on one of your devices goes on on the next one.

A session is a conversation with yourself, or what a command puts out (``wos run --session NAME``). All your devices can read
it, one at a time writes in it, and a device that was put out reads nothing of what comes after.
"""

from __future__ import annotations

import sys
from typing import Any

import typer

from worldos.cli import output
from worldos.cli.names import JSON, when
from worldos.config import default_home
from worldos.sdk.asking import Asking

FOLLOW_TIMEOUT_S = 24 * 3600.0
SECOND_NS = 1_000_000_000
NAME = typer.Argument(metavar="NAME", help="Its name, or its id.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    session = typer.Typer(
        help="Begin on one device, go on on another: one writes at a time, all of yours can read.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, command in (
        ("list", list_),
        ("start", start),
        ("show", show),
        ("say", say),
        ("move", move),
        ("share", share),
        ("end", end),
    ):
        session.command(name)(command)
    app.add_typer(session, name="session", rich_help_panel=output.YOUR_MACHINES)


def list_(as_json: bool = JSON) -> None:
    """Show your sessions, the last used first."""
    rows = _ask("session_list")
    if as_json:
        output.say_json(rows)
    elif not rows:
        print("no sessions yet: wos session start NAME")
    else:
        output.table(
            ("SESSION", "WRITES", "WORDS", "LAST", "STATE", "ID"),
            [
                (
                    output.text(row["name"]),
                    output.text(row["writer_name"]) + (" (here)" if row["here"] else ""),
                    str(row["seq"]),
                    when(row["last_s"] * SECOND_NS),
                    _state(row),
                    row["id"],
                )
                for row in rows
            ],
        )


def start(name: str = typer.Argument(metavar="NAME", help="What to call it."), as_json: bool = JSON) -> None:
    """Begin a session; this device writes in it."""
    row = _ask("session_start", name=name)
    if as_json:
        output.say_json(row)
    else:
        print(f"begun; write in it: wos session say {row['name']} 'some words'")
        print(f"on another device: wos session show {row['name']}, or go on there: wos session move {row['name']}")


def show(
    name: str = NAME,
    follow: bool = typer.Option(False, "--follow", "-f", help="Go on showing what comes, until it ends."),
    since: int = typer.Option(0, min=0, help="Only what came after this word."),
    aside: bool = typer.Option(False, "--aside", help="What a device wrote while another one had taken over."),
    as_json: bool = JSON,
) -> None:
    """Show what was said in a session."""

    def progress(value: dict[str, Any]) -> None:
        if as_json:
            output.say_json(value)
        elif "op" in value:
            _print(value["op"])

    with Asking(default_home()) as agent:
        timeout_s = FOLLOW_TIMEOUT_S if follow else 30.0
        arguments = {"session": name, "since": since, "follow": follow, "aside": aside}
        found = agent.ask("session_show", progress=progress, timeout_s=timeout_s, **arguments)
    if as_json:
        output.say_json(found)
        return
    for op in found["ops"]:
        _print(op)
    if found["aside"] and not aside:
        count = found["aside"]
        output.err.print(f"[dim]{count} words stand aside, written while another device had taken over: --aside[/]")


def say(
    name: str = NAME,
    text: str = typer.Argument("-", metavar="[TEXT]", help="What to write (default: from standard input)."),
    as_json: bool = JSON,
) -> None:
    """Write in a session, if this device is the one that does."""
    said = _ask("session_say", session=name, text=sys.stdin.read() if text == "-" else text)
    if as_json:
        output.say_json(said)


def move(
    name: str = NAME,
    to: str = typer.Argument("", metavar="[DEVICE]", help="Which device goes on (default: this one)."),
    as_json: bool = JSON,
) -> None:
    """Go on with a session on this device, or on another one of yours."""
    row = _ask("session_move", session=name, to=to)
    if as_json:
        output.say_json(row)
    elif row["here"] and not to:
        print(f"this device writes in {row['name']} now")
    else:
        print(f"{to} goes on with {row['name']} as soon as it hears of it")


def share(
    name: str = NAME,
    to: str = typer.Option(..., "--to", help="The person: wos1..., or a contact's name."),
    note: str = typer.Option("", help="A word for them."),
    print_: bool = typer.Option(False, "--print", help="Print the sealed letter too, to carry by another way."),
    as_json: bool = JSON,
) -> None:
    """Let somebody else read a session as it is now: its words go to your files, and they get the code, sealed."""
    from worldos.cli.names import session as files_session  # noqa: PLC0415 - what stands on cryptography
    from worldos.cli.post import send, show_letters  # noqa: PLC0415
    from worldos.store.caps import Right  # noqa: PLC0415

    with Asking(default_home()) as agent:
        agent.ask("contact_find", to=to)
    shown = _ask("session_show", session=name)
    text = "".join(_written(op) for op in shown["ops"])
    kept = f"sessions/{shown['name'].replace('/', '-')}.txt"
    with files_session() as files:
        files.put(text.encode(), kept)
        code = files.share(kept, Right.READ)
    sent = send(to, "session", shown["name"], code.encode("ascii"), note)
    if as_json:
        output.say_json({"name": shown["name"], "to": sent["to"], "text": sent["text"]})
        return
    print(f"{shown['name']} is on its way to {sent['name']}, as it is now; they see it by wos inbox")
    show_letters([sent], printed=print_)


def _written(op: dict[str, Any]) -> str:
    if op["kind"] == "out":
        return str(op["text"])
    at = when(op["at_s"] * SECOND_NS)
    return f"{at} {op['by_name']}: {op['text']}\n" if op["kind"] == "say" else ""


def end(name: str = NAME, as_json: bool = JSON) -> None:
    """End a session, for all devices."""
    row = _ask("session_end", session=name)
    if as_json:
        output.say_json(row)
    else:
        print(f"{row['name']} has ended")


def _ask(order: str, /, **arguments: Any) -> Any:
    with Asking(default_home()) as agent:
        return agent.ask(order, **arguments)


def _state(row: dict[str, Any]) -> str:
    if not row["readable"]:
        return "sealed: not for this device"
    return "open" if row["open"] else "ended"


def _print(op: dict[str, Any]) -> None:
    """Print one op: what a command put out as it is, so that it can be piped on; all else with who said it."""
    if op["kind"] == "out":
        sys.stdout.write(op["text"])
        sys.stdout.flush()
        return
    words = {
        "start": "began this session",
        "move": "goes on here",
        "hand": "handed it on",
        "end": "ended it",
        "sealed": "said something that this device has no key for",
    }
    who, at = output.text(op["by_name"]), when(op["at_s"] * SECOND_NS)
    if op["kind"] == "say":
        output.out.print(f"[dim]{at}[/] [bold]{who}[/] {output.text(op['text'])}")
    else:
        output.out.print(f"[dim]{at} {who} {words.get(op['kind'], '')}[/]")
