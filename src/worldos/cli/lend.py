"""``wos lend``: what this machine does for others, to whom, when, and at what price."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

import typer

from worldos.cli import output
from worldos.config import default_home
from worldos.errors import BadRequest
from worldos.model.isolation import Isolation
from worldos.model.lend import PERMILLE_MAX, PRICE_MAX_UWOS, Audience, windows_of
from worldos.model.units import show
from worldos.sdk.asking import Asking

JSON = typer.Option(False, "--json", help="Print JSON.")
UWOS: int = 1_000_000


def register(app: typer.Typer) -> None:
    """Add these commands."""
    lend = typer.Typer(
        help="What this machine does for others: to whom, when, how much, at what price.\n\n"
        'wos lend --cpu 50% --when "22:00-07:00" --to family            wos lend off',
        invoke_without_command=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    lend.callback()(rule)
    for name, command in (("off", off), ("on", on), ("forget", forget)):
        lend.command(name)(command)
    app.add_typer(lend, name="lend", rich_help_panel=output.THIS_MACHINE)


def rule(
    context: typer.Context,
    cpu: str = typer.Option("", "--cpu", metavar="SHARE", help="Of its processors: 50%."),
    gpu: str = typer.Option("", "--gpu", metavar="SHARE", help="Of its GPUs: 100%."),
    memory: str = typer.Option(
        "", "--memory", metavar="SHARE", help="Of its memory (default: the share of CPU or GPU)."
    ),
    when: str = typer.Option(
        "", "--when", help='In this machine\'s time: "22:00-07:00", "mon-fri 20:00-08:00, sat, sun".'
    ),
    not_on_battery: bool = typer.Option(
        False, "--not-on-battery", help="Only on mains: so it is unless you say --on-battery."
    ),
    on_battery: bool = typer.Option(False, "--on-battery", help="Also while it runs on its battery."),
    to: str = typer.Option(
        "",
        "--to",
        help="family (whom you gave a role), realm, anyone, me (your other devices), or the account of a contact.",
        autocompletion=lambda: list(map(str, Audience)),
    ),
    price: str = typer.Option("", "--price", metavar="WOS", help="WOSCoin for a core or GPU and hour: 0.02."),
    idle: bool = typer.Option(False, "--idle", help="Only while nobody uses this machine."),
    isolation: str = typer.Option(
        "", "--isolation", help="At least so far apart: process, sandbox or wasm (default: by who asks)."
    ),
    as_json: bool = JSON,
) -> None:
    """Lend this machine by one more rule; without options show what is lent, to whom, and why not now.

    Guests run at the lowest priority and stop at once when somebody uses this machine. Your own account is never limited,
    unless by --to me. Beside these rules the realm must lend: wos realm policy lend kin.
    """
    if context.invoked_subcommand is not None:
        return
    said = (cpu, gpu, memory, when, not_on_battery, on_battery, to, price, idle, isolation)
    with Asking(default_home()) as agent:
        if not any(said):
            told = agent.ask("lend_show")
        else:
            if not_on_battery and on_battery:
                raise BadRequest("--on-battery and --not-on-battery contradict each other", hint="say one of them")
            shares = {
                "cpu": _permille("--cpu", cpu),
                "gpu": _permille("--gpu", gpu),
                "memory": _permille("--memory", memory),
            }
            if not any(shares.values()):
                raise BadRequest("how much of this machine?", hint="wos lend --cpu 50%; nothing at all: wos lend off")
            shares["memory"] = shares["memory"] or max(shares["cpu"], shares["gpu"])
            windows_of(when)
            fresh = {
                "to": to or Audience.REALM.value,
                **{f"{kind}_permille": share for kind, share in shares.items()},
                "when": when.strip(),
                "on_battery": on_battery,
                "idle_only": idle,
                "price_uwos_hour": _price(price),
                "isolation": _isolation(isolation),
            }
            told = agent.ask("lend_rule", rule=fresh)
    _show(told, as_json=as_json)


def off(as_json: bool = JSON) -> None:
    """Lend nothing to others from now on; the rules stay (wos lend on). Guests have a minute to end."""
    with Asking(default_home()) as agent:
        _show(agent.ask("lend_off", off=True), as_json=as_json)


def on(as_json: bool = JSON) -> None:
    """Lend by the rules again."""
    with Asking(default_home()) as agent:
        _show(agent.ask("lend_off", off=False), as_json=as_json)


def forget(
    number: str = typer.Argument(metavar="NUMBER", help="The rule's number, as wos lend shows it; all drops them all."),
    as_json: bool = JSON,
) -> None:
    """Drop a rule."""
    if number != "all" and not (number.isascii() and number.isdecimal() and 0 < int(number[:6]) == int(number)):
        raise BadRequest(f"not the number of a rule: {number[:40]!r}", hint="wos lend forget 1, or all")
    with Asking(default_home()) as agent:
        _show(agent.ask("lend_forget", number=0 if number == "all" else int(number)), as_json=as_json)


def _show(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.say_json(told)
        return
    if told["off"]:
        print("this machine lends nothing to others; by its rules again: wos lend on")
    elif not told["rules"]:
        print("no rules: what your realm lends, this machine lends, on mains; a rule: wos lend --cpu 50%")
    if told["rules"]:
        output.table(
            ("RULE", "LENDS", "TO", "WHEN", "PRICE/H", "NOW", "LEFT NOW"),
            [_rule_cells(row) for row in told["rules"]],
            right=("PRICE/H",),
        )
    if told["guests"]:
        print()
        output.table(
            ("GUEST", "OF", "HAS", "ENDS IN", "WHY"), [_guest_cells(row) for row in told["guests"]], right=("ENDS IN",)
        )
    for line in _why_not(told):
        print(line)


def _why_not(told: dict[str, Any]) -> list[str]:
    lines = []
    if told["rests"]:
        lines.append(f"guests rest now: {told['rests']}")
    if not told["open"]:
        lines.append("this machine is in maintenance: wos drain --off")
    lends = {rule["to"] for rule in told["rules"]} - {Audience.ME, Audience.FAMILY}
    if not told["off"] and told["realm"] == "own" and (lends or not told["rules"]):
        lines.append("your realm lends to its own account only; let others come: wos realm policy lend kin")
    return lines


def _rule_cells(row: dict[str, Any]) -> tuple[str, ...]:
    words = [f"{row[f'{kind}_permille'] / 10:g}% {label}" for kind, label in _KINDS if row[f"{kind}_permille"]]
    when = row["when"] or "always"
    conditions = ["idle only"] * row["idle_only"] + ["on battery too"] * row["on_battery"]
    left = ", ".join(
        f"{show(kind, amount)}" if amount else f"no {kind}" for kind, amount in sorted(row["left"].items())
    )
    return (
        str(row["number"]),
        ", ".join(words),
        row["whom"],
        ", ".join([when, *conditions]),
        f"{row['price_uwos_hour'] / UWOS:g}" if row["price_uwos_hour"] else "0",
        "yes" if row["holds"] else f"no: {row['why']}",
        left if row["holds"] else "",
    )


def _guest_cells(row: dict[str, Any]) -> tuple[str, ...]:
    has = show(row["kind"], row["amount"])
    if row["memory_bytes"]:
        has += f", {output.size(row['memory_bytes'])}"
    return (
        row["name"],
        row["account"][:12] or "?",
        has,
        f"{row['ends_s']} s" if row["ends_s"] >= 0 else "",
        row["why"],
    )


def _permille(option: str, text: str) -> int:
    """Read ``50%``, ``12.5%`` or ``0.5`` as thousandths."""
    if not text:
        return 0
    try:
        number = Decimal(text.strip().removesuffix("%").strip()) * (10 if text.strip().endswith("%") else PERMILLE_MAX)
    except InvalidOperation:
        raise BadRequest(f"{option} {text[:40]!r} is no share", hint=f"write {option} 50%") from None
    if not number.is_finite() or not 0 < number <= PERMILLE_MAX or number != int(number):
        raise BadRequest(
            f"{option} {text[:40]!r} is no share of this machine",
            hint=f"write {option} 50%: more than 0 and at most 100%, in steps of 0.1%",
        )
    return int(number)


def _price(text: str) -> int:
    if not text:
        return 0
    try:
        number = Decimal(text.strip()) * UWOS
    except InvalidOperation:
        raise BadRequest(f"{text[:40]!r} is no price", hint="write --price 0.02: WOSCoin for a core and hour") from None
    if not number.is_finite() or not 0 <= number <= PRICE_MAX_UWOS or number != int(number):
        raise BadRequest(f"{text[:40]!r} is no price", hint="from 0 to 100000 WOSCoin, in steps of 0.000001")
    return int(number)


def _isolation(text: str) -> str:
    if text and text not in tuple(Isolation):
        raise BadRequest(f"there is no isolation {text[:40]!r}", hint=f"there are: {', '.join(Isolation)}")
    return text


_KINDS = (("cpu", "CPU"), ("gpu", "GPU"), ("memory", "memory"))
