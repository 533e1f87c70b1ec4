"""``wos role``, ``grants``, ``whoami``, ``can``: who may do what with your machines, and why."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from worldos.cli import output
from worldos.cli.person import sure
from worldos.config import default_home
from worldos.errors import BadRequest, DiskFull, NotAllowed
from worldos.model.units import parse_duration_ns
from worldos.sdk.asking import Asking

JSON = typer.Option(False, "--json", help="Print JSON.")
YES = typer.Option(False, "--yes", "-y", help="Do not ask.")
WHO = typer.Argument(metavar="WHO", help="A device (name or id), a person (wos1...), an account's id, or a realm.")
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400


def register(app: typer.Typer) -> None:
    """Add these commands."""
    role = typer.Typer(
        help="What others may do with your machines: give a role, take it back, see them all.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, command in (("list", list_roles), ("grant", grant), ("revoke", revoke)):
        role.command(name)(command)
    app.add_typer(role, name="role", rich_help_panel=output.YOUR_MACHINES)
    held = typer.Typer(
        help="Grants: what you gave, what this machine holds from others, and what is leased by them.",
        invoke_without_command=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    held.callback()(grants)
    held.command("add")(add)
    held.command("remove")(remove)
    app.add_typer(held, name="grants", rich_help_panel=output.YOUR_MACHINES)
    app.command("whoami", rich_help_panel=output.YOUR_MACHINES)(whoami)
    app.command("can", rich_help_panel=output.YOUR_MACHINES)(can)


def list_roles(as_json: bool = JSON) -> None:
    """List every role that your devices gave, and whether it holds."""
    with Asking(default_home()) as agent:
        rows = agent.ask("role_list")
    if as_json:
        output.say_json(rows)
    elif rows:
        _show_roles(rows)
    else:
        output.out.print("no roles are given. Give one: [bold]wos role grant WHO guest --resource desk/CPU[/]")


def grant(
    who: str = WHO,
    role: str = typer.Argument(metavar="ROLE", help="guest, member, operator, approver, auditor or owner."),
    realm: str = typer.Option("", "--realm", metavar="R", help="In this realm, at its level (default: this site)."),
    until: str = typer.Option("", "--until", metavar="T", help="For so long (30d, 12h), or until a day (2026-12-24)."),
    resource: str = typer.Option(
        "", "--resource", metavar="P", help="For this alone: desk, desk/CPU, CPU, files/photos."
    ),
    out: Path = typer.Option(None, "--out", metavar="FILE", help="Write the grant into a file."),
    untold: bool = typer.Option(
        False, "--untold", help="Tell nobody: the grant itself must be shown (wos grants add)."
    ),
    as_json: bool = JSON,
) -> None:
    """Give somebody a role. For a machine of your own it is a grant that narrows programs: wos --grant FILE ..."""
    until_s = read_until(until, int(time.time())) if until else 0
    with Asking(default_home()) as agent:
        done = agent.ask(
            "role_grant", who=who, role=role, until_s=until_s, realm=realm, resource=resource, untold=untold
        )
    given = done["given"]
    if out is not None:
        _write(out, "".join(f"{each['grant']}\n" for each in given))
    if as_json:
        output.say_json(done)
        return
    for each in given:
        paths, ops = ", ".join(each["paths"]), ", ".join(each["ops"])
        output.out.print(
            f"[bold]{output.text(each['who'])}[/] is {done['role']} of {output.text(paths)} until {_day(each['until_s'])}:"
            f" {ops}, class {each['class']} at most ({each['id'][:8]})"
        )
        if out is None and (each["own"] or not done["told"]):
            output.out.print(each["grant"], soft_wrap=True)
    if any(each["own"] for each in given):
        output.out.print("a machine of yours may do all anyway; what it narrows: [bold]wos --grant FILE COMMAND[/]")
    elif done["told"]:
        output.out.print("your machines know it; nothing needs to be shown")
    else:
        output.out.print("there: [bold]wos grants add[/] and the word above")


def revoke(
    role: str = typer.Argument(metavar="ROLE", help="Its id, its holder (all that they have), a grant, or all."),
    yes: bool = YES,
    as_json: bool = JSON,
) -> None:
    """Take a role back: leases by it end at once, wherever your machines hear of it."""
    if not yes:
        sure("Take back every grant that there is?" if role == "all" else f"Take back {role}?")
    with Asking(default_home()) as agent:
        done = agent.ask("role_revoke", role=role)
    if as_json:
        output.say_json(done)
    else:
        count = len(done["revoked"])
        said = (
            "every grant from before now is"
            if role == "all"
            else "one grant is"
            if count == 1
            else f"{count} grants are"
        )
        output.out.print(f"{said} taken back")


def grants(context: typer.Context, as_json: bool = JSON) -> None:
    """Show grants: given, held and used."""
    if context.invoked_subcommand is not None:
        return
    with Asking(default_home()) as agent:
        known = agent.ask("grants")
    if as_json:
        output.say_json(known)
        return
    if known["given"]:
        _show_roles(known["given"])
    if known["held"]:
        output.table(
            ("HELD FROM", "ROLE", "FOR", "UNTIL", "ID"),
            [
                (r["account"][:12], r["role"], ", ".join(r["paths"]), _day(r["until_s"]), r["id"][:8])
                for r in known["held"]
            ],
        )
    if known["leased"]:
        output.table(
            ("LEASED BY A GRANT", "KIND", "HOLDER"),
            [(r["lease"], r["kind"], r["holder"][:12]) for r in known["leased"]],
        )
    if not any(known.values()):
        output.out.print("no grants, given or held. Give one: [bold]wos role grant WHO guest[/]")


def add(
    word: str = typer.Argument(metavar="GRANT", help="The word (wosg1...), or a file with it."), as_json: bool = JSON
) -> None:
    """Keep a grant that somebody gave you: it is shown where something of theirs is used."""
    text = word if word.startswith("wosg1.") else _read(Path(word))
    with Asking(default_home()) as agent:
        kept = agent.ask("grant_add", grant=text)
    if as_json:
        output.say_json(kept)
    else:
        output.out.print(
            f"kept: {kept['role']} of {kept['account'][:12]} until {_day(kept['until_s'])} ({kept['id'][:8]})"
        )


def remove(grant: str = typer.Argument(metavar="ID", help="The beginning of its id."), as_json: bool = JSON) -> None:
    """Forget a grant that this machine holds."""
    with Asking(default_home()) as agent:
        done = agent.ask("grant_remove", grant=grant)
    if as_json:
        output.say_json(done)
    else:
        output.out.print(f"{done['removed'][:8]} is forgotten")


def whoami(as_json: bool = JSON) -> None:
    """Say who this machine is, and what you may do from here."""
    with Asking(default_home()) as agent:
        me = agent.ask("whoami")
    if as_json:
        output.say_json(me)
        return
    where = f"{me['realm'] or 'no realm yet'}, {me['level']}"
    output.out.print(f"[bold]{output.text(me['name'])}[/], a device of account {me['account'][:12]}... ({where})")
    output.out.print(f"your code: [bold]{me['code']}[/]   this device: {me['node']}", soft_wrap=True)
    if me["young"]:
        output.out.print("it is young: other machines let it do only what can be taken back, until it is approved")
    if me["held_back"]:
        output.out.print(f"it is held back: {output.text(me['held_back'])}")
    if me["narrowed"]:
        left = me["narrowed"]
        ops, paths = ", ".join(left["ops"]), output.text(", ".join(left["paths"]))
        output.out.print(f"this program is narrowed to {left['role'] or 'a grant'}: {ops} of {paths}")
    else:
        output.out.print("from here you have all rights of this machine")
    output.out.print(f"revocations are known as of {me['fresh_s']} s ago; grants held from others: {me['wallet']}")


def can(
    who: str = WHO,
    op: str = typer.Argument(
        metavar="OP", help="lease, read, write, drive, admit, revoke, policy, approve, audit, admin."
    ),
    resource: str = typer.Argument(
        "", metavar="RESOURCE", help="desk, desk/CPU, CPU, files/photos, devices, realm/NAME."
    ),
    as_json: bool = JSON,
) -> None:
    """Say whether somebody may do something, and why: what each rule says. Exit code 3: they may not."""
    with Asking(default_home()) as agent:
        answer = agent.ask("can", who=who, op=op, resource=resource)
    if as_json:
        output.say_json(answer)
    else:
        word = "[bold green]yes[/]" if answer["allowed"] else "[bold red]no[/]"
        why = f": {output.text(answer['why'])}" if answer["why"] else ""
        output.out.print(f"{word}, by {answer['by']}{why}")
        output.out.print(
            f"{output.text(answer['who'])} to {answer['op']} {output.text(answer['path'])} (class {answer['class']})"
        )
        output.table(("RULE", "SAYS"), [(rule["rule"], rule["says"]) for rule in answer["rules"]])
    if not answer["allowed"]:
        raise typer.Exit(NotAllowed.exit_code)


def read_until(text: str, now_s: int) -> int:
    """Read how long: a time from now (``30d``), or a day or moment (``2026-12-24``, ``2026-12-24T18:00``, in UTC)."""
    if "-" in text:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as cause:
            raise BadRequest(
                f"{text[:40]!r} is no day", hint="write it as 2026-12-24, or 30d for thirty days"
            ) from cause
        return int((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp())
    return now_s + max(1, parse_duration_ns(text) // 1_000_000_000)


def _show_roles(rows: list[dict[str, Any]]) -> None:
    output.table(
        ("WHO", "ROLE", "FOR", "MAY", "CLASS", "UNTIL", "GIVEN BY", "HOLDS", "ID"),
        [
            (
                row["who"],
                row["role"],
                ", ".join(row["paths"]),
                ", ".join(row["ops"]),
                row["class"],
                _day(row["until_s"]),
                row["by"],
                "yes" if row["holds"] else row["why"],
                row["id"][:8],
            )
            for row in rows
        ],
    )


def _day(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
        file.chmod(0o600)
    except OSError as cause:
        raise DiskFull(f"{file} cannot be written") from cause


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as cause:
        raise BadRequest(
            f"{str(file)[:80]!r} is no grant, and no file that can be read", hint="wosg1... or its file"
        ) from cause
