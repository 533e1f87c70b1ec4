"""``wos transfer``: this machine goes to somebody else, and nothing of yours with it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from worldos.agent import home as homes
from worldos.cli import output
from worldos.cli.lifecycle import JSON, chosen_settings, start_agent, wait_until_stopped
from worldos.cli.person import sure
from worldos.config import Home, default_home
from worldos.errors import BadRequest, NotAllowed
from worldos.sdk.asking import Asking

if TYPE_CHECKING:
    from worldos.trust.pairing import ShowCode

HERE = frozenset({"here", "me", "this"})


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("transfer", rich_help_panel=output.YOUR_MACHINES)(transfer)


def transfer(
    device: str = typer.Argument(metavar="DEVICE", help="This machine: its name, or 'here'."),
    ticket: str = typer.Argument("", metavar="TICKET", help="What wos invite printed on a machine of the new owner."),
    name: str = typer.Option("", help="What the new owner calls it (default: its host name)."),
    place: str = typer.Option("", help="Where it stands."),
    reachable: bool = typer.Option(False, "--reachable", help="Let the new owner's other machines connect to it."),
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask: take the code as right, and wipe."),
    as_json: bool = JSON,
) -> None:
    """Hand this machine to a new owner: everything of yours on it is wiped, and it starts as theirs.

    The new owner runs wos invite and confirms the code; your other machines are told that it is none of yours any more.
    Cut off in between, the same command without a ticket goes on.
    """
    from worldos.agent import transfer as moving  # noqa: PLC0415 - cryptography, which other commands do without

    home = default_home()
    if moving.is_signed_out(home):
        _become_theirs(home, told=0, as_json=as_json)
        return
    _see_here(home, device)
    if not yes:
        sure("Wipe this machine and hand it over? Files of which it has the only copy are lost.")
    if ticket:
        stage = moving.stage_of(home)
        chosen_settings(stage, name=name, place=place, listen="", reachable=reachable)
        _join(stage, ticket, name, yes=yes)
    elif not moving.is_ready(home):
        raise BadRequest("whose shall it be?", hint="the new owner runs: wos invite; then wos transfer here TICKET")
    _become_theirs(home, told=_sign_out(home), as_json=as_json)


def _become_theirs(home: Home, *, told: int, as_json: bool) -> None:
    """Wipe, move in, and start."""
    from worldos.agent.transfer import move_in, wipe  # noqa: PLC0415 - as above

    wipe(home)
    move_in(home)
    start_agent(home)
    if as_json:
        output.say_json({"transferred": True, "told": told})
        return
    output.out.print("this machine belongs to its new owner now; nothing of yours is on it any more")
    if not told:
        output.out.print("none of your other machines could be told: on one of them, run [bold]wos revoke[/]")


def _see_here(home: Home, device: str) -> None:
    """Raise unless this machine is meant, and may be handed on by who is at it."""
    if homes.running_pid(home) is None:
        hint = "start it: wos up; or wos revoke it on another machine of yours, and wos join there"
        raise BadRequest("no agent runs here, so your other machines would not hear of it", hint=hint)
    with Asking(home) as agent:
        rows = agent.ask("devices")
    here = next(row for row in rows if row["here"])
    if device not in HERE | {here["name"], here["node"]}:
        raise BadRequest(
            f"{device} is not this machine", hint="run it on the machine that goes: only it can wipe itself"
        )
    if sum(row["status"] == "active" for row in rows) == 1:
        output.err.print("[bold]this is the last machine of your account[/]: only your 24 words bring it back")


def _join(stage: Home, ticket: str, name: str, *, yes: bool) -> None:
    """Let a fresh key of this machine be admitted by the new owner."""
    from worldos.agent.claims import join  # noqa: PLC0415 - as above
    from worldos.agent.start import device_name  # noqa: PLC0415
    from worldos.agent.transfer import become_member  # noqa: PLC0415
    from worldos.cli.devices import _ask_person_here  # noqa: PLC0415
    from worldos.config import read_settings  # noqa: PLC0415
    from worldos.trust.pairing import Ticket  # noqa: PLC0415

    async def decide(shown: ShowCode) -> bool:
        return yes or await _ask_person_here(shown.code, shown.name)

    parsed = Ticket.parse(ticket)
    joined = asyncio.run(join(parsed, homes.open_key(stage), name or device_name(read_settings(stage)), decide))
    become_member(stage, joined)


def _sign_out(home: Home) -> int:
    """Have the old key put out by itself, and stop its agent; return how many other machines heard of it."""
    pid = homes.running_pid(home)
    if pid is None:
        raise NotAllowed("the agent of this machine has stopped", hint="start it, and run this again: wos up")
    with Asking(home) as agent:
        told = int(agent.ask("leave")["told"])
    wait_until_stopped(home, pid)
    return told
