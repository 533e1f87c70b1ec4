"""``wos guard``: commands that reach many machines, and what keeps one bad hand from giving them to all."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer

from worldos.cli import output
from worldos.cli.guard_words import action_of, after, appliers, milli, percent, person, waves_of
from worldos.cli.person import sure
from worldos.config import default_home
from worldos.errors import BadRequest, NotAllowed, WorldError
from worldos.sdk.asking import Asking

JSON = typer.Option(False, "--json", help="Print JSON.")
YES = typer.Option(False, "--yes", "-y", help="Do not ask.")
ID_CHARS = 10


def commands_known(incomplete: str) -> list[str]:
    """Complete the id of a command; nothing where no agent runs."""
    with suppress(WorldError), Asking(default_home()) as agent:
        return [row["id"][:ID_CHARS] for row in agent.ask("guard_status") if row["id"].startswith(incomplete)]
    return []


ID = typer.Argument(metavar="ID", help="The command, or the beginning of its id.", autocompletion=commands_known)
REALM = typer.Option("", "--realm", help="Of which realm (default: your own site).")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    guard = typer.Typer(
        help="Commands to many machines: proposed, approved by several, carried out in waves that witnesses watch.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, command in (
        ("policy", policy),
        ("propose", propose),
        ("approve", approve),
        ("status", status),
        ("stop", stop),
        ("envelope", envelope),
        ("resume", resume),
        ("unmute", unmute),
        ("apply", apply),
    ):
        guard.command(name)(command)
    app.add_typer(guard, name="guard", rich_help_panel=output.YOUR_MACHINES)


def policy(
    realm: str = typer.Argument("", metavar="[REALM]", help="Which realm (default: all).", show_default=False),
    approver: list[str] = typer.Option(
        [],
        help="Who may approve: MACHINE=OWNER, MACHINE=OWNER/INSTITUTION; a '!' at the end: only with a person there.",
    ),
    witness: list[str] = typer.Option([], help="Who looks whether others are well: MACHINE=OWNER."),
    node: list[str] = typer.Option([], help="Which machines it is for (default: all of this site)."),
    level: str = typer.Option("", help="At which level (default: the realm's)."),
    save: Path | None = typer.Option(None, help="Write the roll into this file, for the other machines."),
    take: Path | None = typer.Option(None, help="Go by the roll in this file, made on another machine."),
    as_json: bool = JSON,
) -> None:
    """Show who may approve what, or say so: each machine has its own copy, and only its owner sets the first one."""
    with Asking(default_home()) as agent:
        if take is not None:
            rows = [agent.ask("guard_take", roll=_read(take))]
        elif approver:
            plan = {
                "approvers": [person(text, "MACHINE=OWNER") for text in approver],
                "witnesses": [
                    {key: value for key, value in person(text, "MACHINE=OWNER").items() if key in {"who", "owner"}}
                    for text in witness
                ],
                "nodes": node,
                "level": level,
            }
            made = agent.ask("guard_roll", realm=realm, plan=plan)
            roll = made.pop("roll")
            if save is not None:
                save.write_bytes(roll)
            rows = [made]
        else:
            rows = agent.ask("guard_policy", realm=realm)
    if as_json:
        output.say_json(rows)
        return
    if not rows:
        output.out.print("This machine goes by no roll: it carries out no command from others.")
        output.out.print(
            "Say who may approve: [bold]wos guard policy --approver MACHINE=OWNER --witness MACHINE=OWNER[/]"
        )
    for row in rows:
        _show_roll(row)
    if save is not None and approver:
        output.out.print(f"On each other machine: [bold]wos guard policy --take {output.text(save.name)}[/]")


def propose(
    words: list[str] = typer.Argument(
        metavar="CMD...",
        help="config KEY VALUE, policy KEY VALUE, drive THING VALUE, update VERSION SHA256 CODE, drain, stop PATH, "
        "revoke WHO, roll FILE, resume.",
    ),
    realm: str = REALM,
    waves: str = typer.Option("", help="Parts of the machines, growing: 10%,100% (default: as the level asks)."),
    soak: str = typer.Option("", help="How long to watch a wave before the next: 10m."),
    begin: str = typer.Option("", "--in", help="Begin after this time: 2h."),
    life: str = typer.Option("", "--for", help="Give up after this time: 1d."),
    to: list[str] = typer.Option([], help="Only these machines."),
    note: str = typer.Option("", help="Why, for those who approve."),
    as_json: bool = JSON,
) -> None:
    """Propose a command to all machines of a realm. Nothing happens before enough have approved it.

    For example: wos guard propose config relay false; wos guard propose drive heating 21.5
    """
    plan: dict[str, Any] = {"waves_ppm": waves_of(waves), "to": to, "note": note}
    plan.update({"soak_s": after(soak)} if soak else {})
    plan.update({"begin_s": int(time.time()) + after(begin)} if begin else {})
    plan.update({"life_s": after(life)} if life else {})
    with Asking(default_home()) as agent:
        row = agent.ask("guard_propose", action=action_of(words, _read), realm=realm, plan=plan)
    if as_json:
        output.say_json(row)
        return
    _show_command(row)
    if row["missing"]:
        output.out.print(
            f"\nTo approve it, each: [bold]wos guard approve {row['id'][:ID_CHARS]}[/], or on the page: wos page"
        )


def approve(command: str = ID, yes: bool = YES, as_json: bool = JSON) -> None:
    """Approve a command with this machine's key; with a passkey: wos page."""
    with Asking(default_home()) as agent:
        row = agent.ask("guard_status", command=command)[0]
        if not yes:
            _show_command(row)
            sure("Approve exactly this?")
        row = agent.ask("guard_approve", command=row["id"])
    if as_json:
        output.say_json(row)
    else:
        output.out.print(f"approved; {row['missing'] + ' now' if row['missing'] else 'enough have approved it'}")


def status(
    command: str = typer.Argument(
        "", metavar="[ID]", help="One command.", autocompletion=commands_known, show_default=False
    ),
    as_json: bool = JSON,
) -> None:
    """Show the commands that are proposed or under way, and how far each is."""
    with Asking(default_home()) as agent:
        rows = agent.ask("guard_status", command=command)
        state = agent.ask("guard_state")
    if as_json:
        output.say_json({"commands": rows, **state})
        return
    if command:
        _show_command(rows[0])
        return
    cells = [
        tuple(
            map(output.text, (row["id"][:ID_CHARS], row["what"], row["realm_name"], _far(row), _here(row), _why(row)))
        )
        for row in rows
    ]
    if cells:
        output.table(("COMMAND", "WHAT", "REALM", "DONE", "HERE", "WHY"), cells, right=("DONE",))
    else:
        output.out.print("no command is proposed")
    for realm, why in sorted(state["frozen"].items()):
        output.out.print(f"[bold red]frozen[/] {realm[:ID_CHARS]}: {output.text(why)}  [dim](wos guard resume)[/]")
    for key, why in sorted(state["muted"].items()):
        output.out.print(f"[bold red]muted[/]  {key[:ID_CHARS]}: {output.text(why)}  [dim](wos guard unmute KEY)[/]")
    for update in state["updates"]:
        output.out.print(f"[bold]ready[/]  {output.text(Path(update['file']).name)}  [dim](wos guard apply)[/]")


def stop(
    command: str = ID,
    mute: bool = typer.Option(False, "--mute", help="And let who proposed it propose nothing more here."),
    why: str = typer.Option("", help="Why, for the others."),
    as_json: bool = JSON,
) -> None:
    """Have a command carried out on no further machine: one key is enough. What was done stays as it is."""
    with Asking(default_home()) as agent:
        row = agent.ask("guard_stop", command=command, mute=mute, why=why)
    if as_json:
        output.say_json(row)
    else:
        output.out.print(f"{output.text(row['what'])}: {row['state']}, {_far(row)} machines had done it")


def envelope(
    thing: str = typer.Argument("", metavar="[THING]", help="An actuator of this machine.", show_default=False),
    least: str = typer.Argument("", metavar="[MIN]", help="Its lowest value.", show_default=False),
    most: str = typer.Argument("", metavar="[MAX]", help="Its highest value.", show_default=False),
    slew: str = typer.Option("", help="How much it may change in a second (default: any)."),
    remove: bool = typer.Option(False, "--remove", help="Let nobody drive it any more."),
    yes: bool = YES,
    as_json: bool = JSON,
) -> None:
    """Show or set what this machine lets anybody do with the things that it drives: no quorum overrides it.

    For example: wos guard envelope heating 5 24 --slew 0.01
    """
    with Asking(default_home()) as agent:
        rows = agent.ask("guard_envelope")
        if thing:
            path = thing if "/" in thing else f"actuators/{thing}"
            left = [_limit(row) for row in rows if row["path"] != path]
            if not remove:
                if not most:
                    raise BadRequest("between which values?", hint=f"wos guard envelope {thing} MIN MAX")
                left.append(
                    {
                        "path": path.split("/"),
                        "min_milli": milli(least),
                        "max_milli": milli(most),
                        "slew_milli_per_s": milli(slew) if slew else 0,
                    }
                )
            if not yes:
                sure(f"Let {thing} be driven {'by nobody' if remove else f'between {least} and {most}'}?")
            rows = agent.ask("guard_envelope", limits=left)
    if as_json:
        output.say_json(rows)
        return
    cells = [
        (
            output.text(row["path"]),
            f"{row['min_milli'] / 1000:g}",
            f"{row['max_milli'] / 1000:g}",
            f"{row['slew_milli_per_s'] / 1000:g}/s" if row["slew_milli_per_s"] else "any",
            f"{row['at_milli'] / 1000:g}" if row["at_milli"] is not None else "",
        )
        for row in rows
    ]
    if cells:
        output.table(("THING", "MIN", "MAX", "SLEW", "IS AT"), cells, right=("MIN", "MAX", "SLEW", "IS AT"))
    else:
        output.out.print("This machine lets nobody drive anything: wos guard envelope THING MIN MAX")


def resume(realm: str = REALM, yes: bool = YES) -> None:
    """Go on after a freeze, on this machine: only when you know what went wrong."""
    if not yes:
        sure("Go on with the commands of this realm?")
    with Asking(default_home()) as agent:
        agent.ask("guard_resume", realm=realm)
    output.out.print("this machine goes on")


def unmute(key: str = typer.Argument(metavar="KEY", help="The beginning of a key."), yes: bool = YES) -> None:
    """Let a key that broke the rules count again, on this machine."""
    if not yes:
        sure(f"Let {key} count again?")
    with Asking(default_home()) as agent:
        output.out.print(f"{agent.ask('guard_unmute', key=key)['unmuted'][:ID_CHARS]} counts again")


def apply(as_json: bool = JSON) -> None:
    """Show the updates that were approved, fetched and checked, and how to install one: that is for you alone."""
    with Asking(default_home()) as agent:
        ready = agent.ask("guard_state")["updates"]
    if as_json:
        output.say_json(ready)
        return
    if not ready:
        output.out.print("no update lies ready")
    for update in ready:
        output.out.print(f"[bold]{output.text(Path(update['file']).name)}[/]  {output.size(update['size_bytes'])}")
        output.out.print(f"  sha256 {update['sha256']}")
        for line in appliers(update["file"]):
            output.out.print(f"  {output.text(line)}")


# -- drawing ---------------------------------------------------------------------------------------------------------------


def _show_roll(row: dict[str, Any]) -> None:
    output.out.print(
        f"[bold]{output.text(row['realm_name'])}[/]  level {row['level']}, roll {row['number']}, {row['population']} machines"
    )
    named = [
        f"{a['name']} ({a['owner']}{'/' + a['institution'] if a['institution'] else ''}{', a person' if a['human'] else ''})"
        for a in row["approvers"]
    ]
    output.out.print(f"  may approve  {output.text(', '.join(named))}")
    seen = [f"{w['name']} ({w['owner']})" for w in row["witnesses"]]
    output.out.print(f"  witnesses    {output.text(', '.join(seen)) or 'none: no wave after the first'}")
    for ask in row["asks"]:
        people = "persons" if ask["humans"] else "owners"
        output.out.print(f"  {ask['class']:<12} {ask['approvals']} {people if ask['approvals'] > 1 else people[:-1]}")
    output.out.print(
        f"  waves        {', '.join(percent(part) for part in row['waves_ppm'])}, {row['soak_s']} s between"
    )


def _show_command(row: dict[str, Any]) -> None:
    output.out.print(f"[bold]{output.text(row['what'])}[/]  {row['id'][:ID_CHARS]}")
    approved = ", ".join(sorted({a["owner"] for a in row["approvals"]})) or "nobody yet"
    lines = [
        ("why", row["note"]),
        ("realm", f"{row['realm_name']} ({row['level']}), {row['nodes']} machines"),
        ("class", f"{row['cls']} {row['class']}"),
        ("by", row["proposer_name"]),
        ("approved", approved + (f"; {row['missing']}" if row["missing"] else "")),
        ("here", _here(row) + (f": {_why(row)}" if _why(row) else "")),
        ("ends", time.strftime("%Y-%m-%d %H:%M", time.localtime(row["expires_s"]))),
    ]
    for label, text in lines:
        if text:
            output.out.print(f"{label:>9}  {output.text(text)}")
    for number, wave in enumerate(row["waves"]):
        mine = "  (this machine)" if row["wave"] == number else ""
        output.out.print(f"{'wave ' + str(number):>9}  {wave['did']} of {wave['size']} done, {wave['state']}{mine}")


def _far(row: dict[str, Any]) -> str:
    return f"{sum(wave['did'] for wave in row['waves'])}/{row['nodes']}"


def _here(row: dict[str, Any]) -> str:
    return str(row["outcome"] or row["state"])


def _why(row: dict[str, Any]) -> str:
    return "" if row["why"] == row["state"] else str(row["why"])


def _limit(row: dict[str, Any]) -> dict[str, Any]:
    kept = ("min_milli", "max_milli", "slew_milli_per_s", "verbs")
    return {"path": row["path"].split("/"), **{name: row[name] for name in kept}}


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as cause:
        raise NotAllowed(f"{file} cannot be read") from cause
