"""``wos storage``, ``scrub``, ``repair``: how safe files are, where they lie, and what this machine lends to others' files."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Self

import typer

from worldos.cli import guarding, output
from worldos.cli.files import DEVICES_WANTED, survival
from worldos.cli.names import JSON, SOME, plain, session
from worldos.cli.person import sure
from worldos.config import default_home
from worldos.errors import BadRequest
from worldos.model.units import parse_bytes
from worldos.sdk.asking import Asking

if TYPE_CHECKING:
    from worldos.files.about import Standing, StorageStatus

FOR = ("me", "family", "others")
NOTHING = ("0", "none", "off")
WHAT_CAN_BE_SPARED = -1
HEAT_OF_ONE_USE = 1000
YES = typer.Option(False, "--yes", "-y", help="Do not ask.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    storage = typer.Typer(
        help="How safe your files are, and the space that this machine lends.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, command in (("status", status), ("lend", lend), ("gone", gone)):
        storage.command(name)(command)
    guarding.register(storage)
    app.command("scrub", rich_help_panel=output.FILES)(scrub)
    app.command("repair", rich_help_panel=output.FILES)(repair)
    app.add_typer(storage, name="storage", rich_help_panel=output.FILES)


def status(name: str = SOME, as_json: bool = JSON) -> None:
    """Show how many devices each file lies on, how many may be lost, and what is in repair.

    HERE says whether this device can read it alone, HEAT how often it was used here of late. Without a NAME the devices that
    keep files come first.
    """
    with session() as files:
        told = files.storage()
        standings = files.status(name)
    if as_json:
        output.say_json({**plain(told), "files": [{**plain(row), "code": row.code} for row in standings]})
        return
    if not name:
        _show_stores(told)
    if standings:
        print()
        rows = [_standing(row, told) for row in standings]
        columns = ("NAME", "SIZE", "CODE", "DEVICES", "SURVIVES", "HERE", "HEAT", "STATE")
        output.table(columns, rows, right=("SIZE", "DEVICES", "HEAT"))


def _show_stores(told: StorageStatus) -> None:
    rows = [
        (
            output.text(store.name) + (" (here)" if store.here else ""),
            output.text(store.place),
            output.size(store.used_bytes),
            output.size(store.free_bytes),
            output.size(store.capacity_bytes),
            "here" if store.here else output.micros(store.rtt_us) if store.linked else "away",
        )
        for store in told.stores
    ]
    output.table(
        ("DEVICE", "PLACE", "YOURS", "FREE", "LENDS", "REACHED"), rows, right=("YOURS", "FREE", "LENDS", "REACHED")
    )
    folders = f" in {told.folders} folders" if told.folders else ""
    output.out.print(f"\n{told.files} files{folders}, {output.size(told.plain_bytes)}")
    count, answering = len(told.stores), sum(store.linked for store in told.stores)
    if answering < count and told.below_policy:
        output.out.print(
            f"[bold yellow]{count - answering} of {count} devices do not answer[/]: of what is put now "
            f"{survival(told.survives)}; the rest follows when they do"
        )
    elif told.below_policy:
        more = "three more devices" if count == 1 else f"{DEVICES_WANTED} devices in all"
        advice = f". With {more} any 3 may be: wos invite" if count < DEVICES_WANTED else ""
        output.out.print(
            f"[bold yellow]Below policy[/]: new files are whole on each device, and {survival(told.survives)}{advice}"
        )
    else:
        output.out.print(f"New files: {told.k} of {told.n} parts rebuild them, {survival(told.survives)}")
    if told.debt:
        output.out.print(f"{told.debt} parts are still on their way to their devices")


def _standing(row: Standing, told: StorageStatus) -> tuple[Any, ...]:
    losses = "no loss" if row.survives <= 0 else "1 loss" if row.survives == 1 else f"any {row.survives}"
    near = "yes" if row.near else "-"
    heat = f"{row.heat / HEAT_OF_ONE_USE:.1f}" if row.heat else "-"
    return (
        output.text(row.name),
        output.size(row.size_bytes),
        row.code,
        row.devices,
        losses,
        near,
        heat,
        state_of(row, told),
    )


def state_of(row: Standing, told: StorageStatus) -> str:
    """Say in words how a file stands. A part on a device that does not answer is not lost, so it is not called missing."""
    if row.survives < 0:
        return "out of reach until devices come back"
    if row.repairing:
        return "in repair"
    if row.below_policy and len(told.stores) < DEVICES_WANTED:
        return "too few devices"
    if row.debt and not all(store.linked for store in told.stores):
        return f"{row.debt} parts on devices that do not answer"
    return f"{row.debt} parts missing" if row.debt else "whole"


def lend(
    amount: str = typer.Argument(
        metavar="AMOUNT", help="Of this machine's disk: 50GB; auto is what it can spare, 0 nothing more."
    ),
    for_: str = typer.Option(
        "me",
        "--for",
        help="me: files of your account; family: of your realm too; others: of anybody who may ask.",
        autocompletion=lambda: list(FOR),
    ),
    as_json: bool = JSON,
) -> None:
    """Lend space of this machine to files: yours alone, or others' too, which nobody here can read."""
    if for_ not in FOR:
        raise BadRequest(f"for whom is {for_[:40]!r}?", hint="--for me, --for family or --for others")
    amount_bytes = 0 if amount in NOTHING else WHAT_CAN_BE_SPARED if amount == "auto" else parse_bytes(amount)
    with Asking(default_home()) as agent:
        lent = agent.ask("lend", amount_bytes=amount_bytes, for_=for_)
    if as_json:
        output.say_json(lent)
        return
    if not amount_bytes:
        print("this machine lends nothing more to files; what it keeps, it keeps")
        return
    whom = {"me": "your own files", "family": "files of your family", "others": "files of others"}[for_]
    much = output.size(amount_bytes) if amount_bytes > 0 else "what it can spare"
    print(f"this machine lends {much} to {whom}; see it: wos storage status")


def gone(
    name: str = typer.Argument(metavar="DEVICE", help="Its name, as wos storage status shows it."),
    yes: bool = YES,
    as_json: bool = JSON,
) -> None:
    """Say that a device does not come back: what it kept is made anew on others now, and not after days."""
    from worldos.files.attending import give_up_now  # noqa: PLC0415 - the keeper and its carer

    with session() as files:
        found = [row for row in files.storage().stores if name in {row.name, row.node}]
    if len(found) != 1 or found[0].here:
        what = (
            "this is the device itself" if found and found[0].here else f"{len(found)} devices are called {name[:60]!r}"
        )
        raise BadRequest(what, hint="wos storage status lists them")
    if not yes:
        sure(f"Does {name} not come back?")
    give_up_now(default_home(), found[0].node)
    if as_json:
        output.say_json({"gone": found[0].node})
    else:
        print(f"what {name} kept is made anew on your other devices; see it: wos storage status")


def scrub(as_json: bool = JSON) -> None:
    """Read all that this device keeps for files, and mend what the disk has spoilt.

    It happens by itself too, once in 30 days.
    """
    from worldos.files.attending import scrub_now  # noqa: PLC0415 - the keeper and its carer

    with Counting("scrubbed") as count:
        done = scrub_now(default_home(), count.follow)
    if as_json:
        output.say_json(plain(done))
        return
    found = f"{done.bad} were spoilt, {done.repaired} of them are mended" if done.bad else "none was spoilt"
    print(f"{done.checked} parts read, {output.size(done.checked_bytes)}: {found}")


def repair(as_json: bool = JSON) -> None:
    """Make anew now what is missing of your files on your devices.

    It happens by itself too: at once for what never arrived, and when a device is lost and not just asleep.
    """
    from worldos.files.attending import repair_now  # noqa: PLC0415

    with Counting("looked at") as count:
        done = repair_now(default_home(), count.follow)
    if as_json:
        output.say_json(plain(done))
        return
    made = f"{done.repaired} parts made anew" if done.repaired else "nothing to make anew"
    left = f"; {done.missing} are still missing" if done.missing else ""
    print(f"{done.looked} files looked at: {made}{left}")
    for note in done.notes:
        print(f"  {note}")


class Counting:
    """Shows how many of how many are done, to a person at a terminal."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._drawn = sys.stderr.isatty()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave no trace."""
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def follow(self, done: int, total: int) -> None:
        """Say how far it is."""
        if self._drawn:
            sys.stderr.write(f"\r\x1b[K{self._what} {done} of {total}")
            sys.stderr.flush()
