"""``wos invite``, ``join``, ``devices``, ``revoke``, ``leave``, ``recover``: whose machines these are."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from worldos.agent import home as homes
from worldos.cli import output
from worldos.cli.lifecycle import JSON, chosen_settings, start_agent, wait_until_stopped
from worldos.cli.person import confirmed, show_ticket, sure
from worldos.config import Home, default_home, parse_listen, read_settings
from worldos.errors import BadRequest, NoAgent, NotAllowed
from worldos.sdk.asking import Asking

if TYPE_CHECKING:
    from worldos.trust.pairing import ShowCode

INVITE_TIMEOUT_S = 660.0
SAME_CODE = "Do both machines show the same code?"
NOBODY = ("nobody is here to compare the code", "run it in a terminal, or with --yes if you are sure")
YES = typer.Option(False, "--yes", "-y", help="Do not ask: take the code as right.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    from worldos.cli.account import recover  # noqa: PLC0415 - its older name stays beside wos account recover

    for name, command in (
        ("invite", invite),
        ("join", join),
        ("devices", devices),
        ("revoke", revoke),
        ("leave", leave),
        ("recover", recover),
    ):
        app.command(name, rich_help_panel=output.YOUR_MACHINES)(command)


def invite(
    minutes: int = typer.Option(10, min=1, max=10, help="How long the ticket is good."),
    yes: bool = YES,
    plain: bool = typer.Option(False, "--plain", help="Print the ticket alone, for scripts."),
    as_json: bool = JSON,
) -> None:
    """Make a ticket for one more machine, and wait for it: one use, 10 minutes."""
    home = default_home()

    def progress(value: dict[str, Any]) -> None:
        if "ticket" in value:
            said = f"On the next machine, within {minutes} minutes:\n"
            show_ticket(value["ticket"], said, "wos join", plain=plain or as_json)
        elif "code" in value:
            with Asking(home) as other:
                said_yes = yes or _ask_person(value["code"], value["name"])
                other.ask("confirm", confirm=value["confirm"], yes=said_yes)

    with Asking(home) as agent:
        joined = agent.ask("invite", progress=progress, timeout_s=INVITE_TIMEOUT_S, life_s=minutes * 60)
    if as_json:
        output.say_json(joined)
    elif not plain:
        output.out.print(f"[bold]{joined['name']}[/] is one of your machines now. See them: wos nodes")


def join(
    ticket: str = typer.Argument(metavar="TICKET", help="What wos invite printed on a machine of yours."),
    name: str = typer.Option("", help="What to call this machine (default: its host name)."),
    place: str = typer.Option("", help="Where it stands."),
    listen: str = typer.Option("", help="Let your other machines connect to this one, at HOST:PORT."),
    reachable: bool = typer.Option(False, "--reachable", help="As --listen, at the default port."),
    yes: bool = YES,
    as_json: bool = JSON,
) -> None:
    """Make this machine one of yours: both sides confirm a short code, and its agent starts."""
    from worldos.agent.claims import join as join_account  # noqa: PLC0415 - cryptography, which other commands do without
    from worldos.agent.start import device_name  # noqa: PLC0415
    from worldos.agent.transfer import become_member  # noqa: PLC0415
    from worldos.trust.pairing import Ticket  # noqa: PLC0415

    parsed = Ticket.parse(ticket)
    home = default_home()
    homes.make_folder(home.path)
    _may_change_account(home)
    if listen:
        parse_listen(listen)
    known = read_settings(home)
    key = homes.open_key(home)

    async def decide(shown: ShowCode) -> bool:
        return yes or await _ask_person_here(shown.code, shown.name)

    called = device_name(msgspec.structs.replace(known, name=name or known.name))
    joined = asyncio.run(join_account(parsed, key, called, decide))
    _stop_agent(home)  # only now: what ran goes on when a ticket is not good
    chosen_settings(home, name=name, place=place, listen=listen, reachable=reachable)
    become_member(home, joined)
    start_agent(home)
    if as_json:
        output.say_json({"account": joined.account, "node": key.node_id, "peers": [p.name for p in joined.peers]})
        return
    others = ", ".join(peer.name for peer in joined.peers)
    output.out.print(f"This machine is one computer now with {others}. See it: [bold]wos nodes[/]")


def devices(as_json: bool = JSON) -> None:
    """List every device that is or was of this account."""
    with Asking(default_home()) as agent:
        rows = agent.ask("devices")
    if as_json:
        output.say_json(rows)
        return
    names = {row["node"]: row["name"] for row in rows}
    output.table(
        ("DEVICE", "STATUS", "ADMITTED BY", "ID"),
        [
            (
                f"{row['name']} (here)" if row["here"] else row["name"],
                _standing(row),
                names.get(row["added_by"], row["added_by"]),
                row["node"],
            )
            for row in rows
        ],
    )


def _standing(row: dict[str, Any]) -> str:
    """Say how a device stands: a young one, or one that is held back, may do less than the others."""
    if row["held_back"]:
        return f"{row['status']}, held back: {row['held_back']}"
    return f"{row['status']}, young" if row["young"] else str(row["status"])


def revoke(
    device: str = typer.Argument(metavar="DEVICE", help="Its name, or its id (or the beginning of it)."),
    yes: bool = YES,
    as_json: bool = JSON,
) -> None:
    """Put a device out: gone at once wherever your machines hear of it, and refused when it comes back."""
    if not yes:
        sure(f"Put {device} out of your account?")
    with Asking(default_home()) as agent:
        done = agent.ask("revoke", device=device)
    if as_json:
        output.say_json(done)
    else:
        output.out.print(f"{device} is put out; what it knew so far it still knows")
        if done["also"]:
            also = ", ".join(output.text(name) for name in done["also"])
            output.out.print(f"put out with it, since it let them in lately and nobody approved: {also}")


def leave(yes: bool = YES, as_json: bool = JSON) -> None:
    """Take this machine out of its account: tell the others, stop, and forget the account's key log and this key."""
    home = default_home()
    if not home.keylog_file.exists():
        raise NotAllowed("this machine belongs to no account", hint="wos up makes one, wos join TICKET joins one")
    if not yes:
        sure("Take this machine out of its account?")
    told = _sign_out(home)
    _leave_files(home)
    shared = (home.hybrid_file, home.statements_file, home.copied_file)  # with the account, and why that ended
    for file in (home.keylog_file, home.key_file, home.state_file, *shared):
        file.unlink(missing_ok=True)
    if as_json:
        output.say_json({"left": True, "told": told})
    elif told:
        output.out.print(f"left; {told} other machines were told")
    else:
        output.out.print("left; no other machine could be told: run wos revoke for this one on another machine")


def _ask_person(code: str, name: str) -> bool:
    _show_code(code, name)
    return confirmed(SAME_CODE)


async def _ask_person_here(code: str, name: str) -> bool:
    """Ask without a thread: a person who presses Ctrl-C at the question ends it, and the other side hears of it."""
    _show_code(code, name)
    answers = {"y": True, "yes": True, "n": False, "no": False, "": False}
    while True:
        sys.stderr.write(f"{SAME_CODE} [y/N]: ")
        sys.stderr.flush()
        line = await _line_of(sys.stdin.fileno())
        if not line:
            raise BadRequest(NOBODY[0], hint=NOBODY[1])
        word = line.decode(errors="replace").strip().lower()
        if word in answers:
            return answers[word]


async def _line_of(terminal: int) -> bytes:
    """Return what a person typed up to the end of the line; nothing at the end of input."""
    typed: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def read() -> None:
        if not typed.done():
            typed.set_result(os.read(terminal, 1024))

    asyncio.get_running_loop().add_reader(terminal, read)
    try:
        return await typed
    finally:
        asyncio.get_running_loop().remove_reader(terminal)


def _show_code(code: str, name: str) -> None:
    output.err.print(
        f"\n[bold]{output.text(name)}[/] shows a code too. Is it [bold reverse] {code[:3]} {code[3:]} [/] ?"
    )
    if not sys.stdin.isatty():
        raise BadRequest(NOBODY[0], hint=NOBODY[1])


def _may_change_account(home: Home) -> None:
    """A machine that is alone in an account of its own may change to another one; any other stays."""
    from worldos.agent.start import stored_log  # noqa: PLC0415 - as in join

    log = stored_log(home)
    if log is not None and len(log.members().active) > 1:
        hint = "take it out first: wos leave"
        raise NotAllowed("this machine belongs to an account with other devices already", hint=hint)


def _stop_agent(home: Home) -> None:
    pid = homes.running_pid(home)
    if pid is not None:
        with Asking(home) as agent:
            agent.ask("down")
        wait_until_stopped(home, pid)


def _leave_files(home: Home) -> None:
    from worldos.agent.start import leave_files  # noqa: PLC0415 - as in join

    leave_files(home)


def _sign_out(home: Home) -> int:
    """Sign this device's own removal, with the agent's help if it runs; return how many others were told."""
    pid = homes.running_pid(home)
    if pid is None:
        return 0
    try:
        with Asking(home) as agent:
            told = int(agent.ask("leave")["told"])
    except NoAgent:
        return 0
    wait_until_stopped(home, pid)
    return told
