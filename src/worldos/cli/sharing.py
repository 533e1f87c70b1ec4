"""``wos share``, ``open``, ``unshare``: let somebody have one file or folder, by a code of 60 characters and nothing else."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import typer

from worldos.cli import output
from worldos.cli.names import JSON, NAME, STREAM, bar, plain, session
from worldos.config import default_home
from worldos.errors import BadRequest
from worldos.model.units import parse_duration_ns
from worldos.sdk.asking import Asking


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for name, command in (("share", share), ("open", open_), ("unshare", unshare)):
        app.command(name, rich_help_panel=output.FILES)(command)


def share(
    name: str = NAME,
    write: bool = typer.Option(False, "--write", help="They may also change it."),
    append: bool = typer.Option(False, "--append", help="They may put files into it, and read nothing (folders)."),
    verify: bool = typer.Option(False, "--verify", help="They may check and repair it, and read nothing."),
    until: str = typer.Option("", help="The code ends after this time: 7d, 12h."),
    to: str = typer.Option("", "--to", help="Send the code to this person (wos1..., or a contact's name), sealed."),
    note: str = typer.Option("", help="A word for them, with --to."),
    print_: bool = typer.Option(
        False, "--print", help="With --to: print the sealed letter too, to carry by another way."
    ),
    lease: bool = typer.Option(
        False, "--lease", help="With --to: NAME is a machine or part of it (desk/CPU), to be used."
    ),
    as_json: bool = JSON,
) -> None:
    """Print a code by which others can have this file or folder, or send it to a person; or let them use a machine.

    Whoever has the code has the file: hand it over as you would a key. There: wos open CODE. Ended by wos unshare NAME.
    """
    from worldos.store.caps import Right  # noqa: PLC0415

    if write + append + verify > 1:
        raise BadRequest("a code gives one right", hint="choose one of --write, --append, --verify; none is to read")
    right = Right.WRITE if write else Right.APPEND if append else Right.VERIFY if verify else Right.READ
    until_ns = time.time_ns() + parse_duration_ns(until) if until else 0
    if to:
        _see_known(to)
    if lease:
        _send_lease(name, to, until_ns, note, as_json=as_json, printed=print_)
        return
    with session() as files:
        code = files.share(name, right, until_ns)
    if to:
        _send(code, name, to, note, as_json=as_json, printed=print_)
        return
    if as_json:
        output.say_json({"name": name, "code": code, "right": right.value, "until_ns": until_ns})
        return
    print(code)
    if sys.stderr.isatty():
        ends = f", for {until}" if until else ""
        may = {Right.READ: "read", Right.WRITE: "read and change", Right.APPEND: "add to", Right.VERIFY: "check"}[right]
        output.err.print(
            f"Whoever has this code can {may} {output.text(name)}{ends}: [bold]wos open CODE[/]", style="dim"
        )


def _see_known(to: str) -> None:
    """Raise before a code is made for somebody to whom it cannot be sent."""
    with Asking(default_home()) as agent:
        agent.ask("contact_find", to=to)


def _send_lease(name: str, to: str, until_ns: int, note: str, *, as_json: bool, printed: bool) -> None:
    """Make the person a guest of a resource, and send them the grants that say so."""
    from worldos.cli.post import VALUE_BYTES_MAX, send, show_letters  # noqa: PLC0415 - only where somebody is named

    if not to:
        raise BadRequest("who shall use it?", hint="wos share desk/CPU --lease --to wos1...")
    with Asking(default_home()) as agent:
        done = agent.ask("role_grant", who=to, role="guest", resource=name, until_s=until_ns // 1_000_000_000)
    grants = [str(each["grant"]) for each in done["given"]]
    parts: list[str] = []
    part = ""
    for grant in grants:  # one a device of theirs; a letter brings as many as fit
        if part and len(part) + len(grant) + 1 > VALUE_BYTES_MAX:
            parts, part = [*parts, part], ""
        part += f"{grant}\n"
    sent = [send(to, "lease", name, words.encode("ascii"), note) for words in [*parts, part]]
    if as_json:
        output.say_json({"name": name, "to": sent[0]["to"], "given": done["given"], "text": [s["text"] for s in sent]})
        return
    print(f"{sent[0]['name']} may use {name}: {', '.join(done['given'][0]['ops'])}; taken back by wos role revoke")
    show_letters(sent, printed=printed)


def _send(code: str, name: str, to: str, note: str, *, as_json: bool, printed: bool) -> None:
    from worldos.cli.post import send, show_letters  # noqa: PLC0415 - only where somebody is named

    sent = send(to, "file", name.rstrip("/").rpartition("/")[2], code.encode("ascii"), note)
    if as_json:
        output.say_json({"name": name, "to": sent["to"], "letter": sent["letter"], "text": sent["text"]})
        return
    print(f"{name} is on its way to {sent['name']}: they see it by wos inbox")
    show_letters([sent], printed=printed)


def open_(
    code: str = typer.Argument(metavar="CODE", help="What wos share printed; '-' reads it from standard input."),
    dest: str = typer.Argument("", metavar="[DEST]", help="Where to (default: here, under its own name)."),
    as_json: bool = JSON,
) -> None:
    """Bring what somebody shared to this machine, by its code."""
    text = sys.stdin.readline() if code == STREAM else code
    with session() as files, bar("opening"):
        got = files.open_code(text.strip(), Path(dest or "."))
    if as_json:
        output.say_json(plain(got))
    else:
        print(f"{got.name}{'/' * got.folder} is here: {output.size(got.size_bytes)}")


def unshare(name: str = NAME, as_json: bool = JSON) -> None:
    """End the codes of this file or folder: it gets new keys, which they do not open."""
    with session() as files:
        files.unshare(name)
    if as_json:
        output.say_json({"unshared": name})
    else:
        print(f"the codes of {name} open nothing that is written from now on; what was read before, was read")
