"""``wos transfer``: a machine goes to somebody else, and nothing of yours with it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import typer

from worldos.agent import home as homes
from worldos.cli import output
from worldos.cli.lifecycle import JSON, chosen_settings
from worldos.cli.person import sure
from worldos.config import Home, default_home
from worldos.errors import BadRequest, NoAgent, Unreachable
from worldos.sdk.asking import Asking

if TYPE_CHECKING:
    from worldos.trust.pairing import ShowCode

HERE = frozenset({"here", "me", "this"})
GONE_S = 90.0
LOOK_S = 0.1


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("transfer", rich_help_panel=output.YOUR_MACHINES)(transfer)


def transfer(
    device: str = typer.Argument(metavar="DEVICE", help="The machine that goes: its name or id, or 'here'."),
    ticket: str = typer.Argument(metavar="TICKET", help="What wos invite printed on a machine of the new owner."),
    name: str = typer.Option("", help="What the new owner calls it (default: its host name); of this machine alone."),
    place: str = typer.Option("", help="Where it stands; of this machine alone."),
    reachable: bool = typer.Option(False, "--reachable", help="Let the new owner's other machines connect to it."),
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask: take the code as right, and wipe."),
    as_json: bool = JSON,
) -> None:
    """Hand a machine to a new owner: everything of yours on it is wiped, and it starts as theirs.

    The new owner runs wos invite and confirms the code; your other machines are told that it is none of yours any more.
    """
    home = default_home()
    rows = _devices(home)
    here = next(row for row in rows if row["here"])
    if not yes:
        sure(f"Wipe {device} and hand it over? Files of which it has the only copy are lost.")
    if device in HERE | {here["name"], here["node"]}:
        told = _hand_this_over(home, rows, ticket, name, place, reachable=reachable, yes=yes)
        said = "this machine belongs to its new owner now; nothing of yours is on it any more"
    else:
        with Asking(home) as agent, output.waiting(f"{device} goes over"):
            told = int(agent.ask("transfer", device=device, ticket=ticket, timeout_s=GONE_S)["told"])
        said = f"{device} goes to its new owner; it wipes what is yours, and begins as theirs"
    if as_json:
        output.say_json({"transferred": True, "told": told})
        return
    output.out.print(said)
    if not told:
        output.out.print("none of your other machines could be told: on one of them, run [bold]wos revoke[/]")


def _devices(home: Home) -> list[dict[str, Any]]:
    if homes.running_pid(home) is None:
        hint = "start it: wos up; or wos revoke it on another machine of yours, and wos join there"
        raise BadRequest("no agent runs here, so your other machines would not hear of it", hint=hint)
    with Asking(home) as agent:
        return list(agent.ask("devices"))


def _hand_this_over(
    home: Home, rows: list[dict[str, Any]], ticket: str, name: str, place: str, *, reachable: bool, yes: bool
) -> int:
    """Join the new owner with a fresh key, sign the old one out, and wait until the agent is theirs."""
    from worldos.agent.transfer import stage_of  # noqa: PLC0415 - cryptography, which other commands do without

    if sum(row["status"] == "active" for row in rows) == 1:
        output.err.print("[bold]this is the last machine of your account[/]: only your 24 words bring it back")
    stage = stage_of(home)
    chosen_settings(stage, name=name, place=place, listen="", reachable=reachable)
    _join(stage, ticket, name, yes=yes)
    with Asking(home) as agent:
        told = int(agent.ask("leave")["told"])
    until_s = time.monotonic() + GONE_S
    while not _is_theirs(home, next(row["node"] for row in rows if row["here"])):
        if time.monotonic() > until_s:
            raise Unreachable("the agent has not begun as the new owner's", hint="start it: wos up")
        time.sleep(LOOK_S)
    return told


def _is_theirs(home: Home, old: str) -> bool:
    """Tell whether the agent runs with another key than before."""
    try:
        with Asking(home) as agent:
            return str(agent.ask("status")["node"]) != old
    except (NoAgent, Unreachable):
        return False


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
