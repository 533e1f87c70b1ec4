"""``wos nodes``, ``resources``, ``leases``, ``log``: looking at the computer that your machines are."""

from __future__ import annotations

import datetime
import time
from typing import Any

import typer

from worldos.agent.notices import read
from worldos.cli import output
from worldos.config import default_home
from worldos.model.resource import Kind
from worldos.sdk.asking import Asking

JSON = typer.Option(False, "--json", help="Print JSON.")
STATUS_STYLE = {"alive": "green", "suspect": "yellow", "offline": "red", "dead": "red", "left": "dim"}
NS = 1_000_000_000
MINUTE_S = 60
PROGRAM_CHARS = 40


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for name, command in (
        ("nodes", nodes),
        ("resources", resources),
        ("resource", resource),
        ("leases", leases),
        ("log", log),
        ("top", top),
    ):
        app.command(name, rich_help_panel=output.LOOK)(command)


def nodes(as_json: bool = JSON) -> None:
    """Show every machine of yours: how far it is, and what is free on it."""
    with Asking(default_home()) as agent:
        rows = agent.ask("nodes")
    if as_json:
        output.say_json(rows)
        return
    output.table(
        ("NODE", "STATUS", "WAY", "ROUND TRIP", "CPU FREE", "MEMORY FREE", "DISK FREE", "LOAD", "PLACE", "ID"),
        [_node_cells(row) for row in rows],
        right=("ROUND TRIP", "CPU FREE", "MEMORY FREE", "DISK FREE", "LOAD"),
    )


def resources(
    kind: str = typer.Option("", "--type", help="CPU, Memory, Storage, Network, GPU, Camera, Sound, Display, Power."),
    tag: str = typer.Option("", help="Has this tag, as avx2."),
    name: str = typer.Option("", help="The resource's or the node's name."),
    owner: str = typer.Option("", help="The owning account's id."),
    place: str = typer.Option("", help="Stands at this place or below it."),
    near: str = typer.Option("", help="Closer to this is better: 'me', a node, or a place."),
    where: str = typer.Option("", help='A comparison: "memory >= 8GB and not battery".'),
    text: str = typer.Argument("", metavar="[TEXT]", help="Any text in its name, kind, tags or place."),
    as_json: bool = JSON,
) -> None:
    """Find resources, by anything that is known of them."""
    with Asking(default_home()) as agent:
        rows = agent.ask(
            "resources",
            kind=kind,
            tag=tag,
            name=name,
            owner=owner,
            place=place,
            text=text,
            near=near,
            where=where,
        )
    if as_json:
        output.say_json(rows)
        return
    if not rows:
        output.err.print("nothing fits; all there is: wos resources")
        return
    output.table(
        ("KIND", "WHAT", "NODE", "FREE", "OF", "STATE", "PRICE/H", "ID"),
        [_resource_cells(row) for row in rows],
        right=("FREE", "OF", "PRICE/H"),
    )


def resource(
    name: str = typer.Argument(metavar="RESOURCE", help="Its id or URI, as wos resources shows it."),
    as_json: bool = JSON,
) -> None:
    """Show one resource, with the history of its life."""
    with Asking(default_home()) as agent:
        found = agent.ask("resource", id=name)
    if as_json:
        output.say_json(found)
        return
    for label in ("id", "kind", "name", "uri", "owner", "place"):
        output.out.print(f"[bold]{label:>9}[/]  {found[label]}")
    output.out.print(f"[bold]{'capacity':>9}[/]  {output.amount(found['kind'], found['capacity'])}")
    output.out.print(f"[bold]{'free':>9}[/]  {output.amount(found['kind'], found['free'])}")
    facts = ", ".join(f"{key}={value}" for key, value in sorted(found.get("facts", {}).items()))
    output.out.print(f"[bold]{'facts':>9}[/]  {facts}")
    output.out.print(f"[bold]{'tags':>9}[/]  {', '.join(found.get('tags', ()))}\n")
    rows = [(_moment(line["at_ns"]), line["state"], line["note"]) for line in found["history"]]
    output.table(("WHEN", "STATE", "WHY"), rows)


def leases(as_json: bool = JSON) -> None:
    """Show what this machine has granted, and what programs here hold."""
    with Asking(default_home()) as agent:
        found = agent.ask("leases")
        names = {row["node"]: row["name"] for row in agent.ask("nodes")}
    if as_json:
        output.say_json(found)
        return
    rows = [
        (
            "granted",
            x["lease"],
            names.get(x["holder"], x["holder"][:8]),
            _what(x),
            output.size(x.get("memory_bytes", 0)),
            "",
        )
        for x in found["granted"]
    ]
    rows += [
        (
            "held",
            x["lease"],
            names.get(x["node"], x["node"][:8]),
            _what(x),
            "silent" if x["doubted"] else "",
            output.text(x["program"][-PROGRAM_CHARS:]),
        )
        for x in found["held"]
    ]
    if rows:
        output.table(("", "LEASE", "NODE", "WHAT", "USES NOW", "BY"), rows)
    else:
        output.out.print("no leases")


def log(
    follow: bool = typer.Option(False, "--follow", "-f", help="Go on printing what happens."),
    lines: int = typer.Option(40, "--lines", "-n", min=1, help="How many to begin with."),
    as_json: bool = JSON,
) -> None:
    """Show what happened on this node: devices, leases, links, states."""
    home = default_home()
    for line in read(home.path, lines):
        _print_notice(line.at_ns, line.name, dict(line.fields), as_json=as_json)
    if not follow:
        return
    with Asking(home) as agent:
        for notice in agent.watch():
            _print_notice(time.time_ns(), notice.name, dict(notice.fields), as_json=as_json)


def top() -> None:
    """Watch live: nodes, what is used, leases, running work. Ends with q."""
    from worldos.tui.top import run_top  # noqa: PLC0415 - textual is large

    run_top(default_home())


def _node_cells(row: dict[str, Any]) -> tuple[str, ...]:
    style = STATUS_STYLE.get(row["status"], "")
    load = row["facts"].get("load_percent")
    return (
        f"[bold]{row['name']}[/] (here)" if row["here"] else row["name"],
        f"[{style}]{row['status']}[/]{_going(row['facts'])}",
        row["via"][:12],
        output.micros(row["rtt_us"]) if row["rtt_us"] else "",
        f"{row['cpu_free'] / 1000:g}/{row['cpu_capacity'] / 1000:g}",
        output.size(row["memory_free"]),
        output.size(row["storage_free"]),
        f"{load} %" if load is not None else "",
        row["place"],
        row["node"][:8],
    )


def _going(facts: dict[str, Any]) -> str:
    """Say when a node will go, as it foresees itself."""
    left_s = facts.get("going_s")
    return f", goes in {left_s // MINUTE_S} min: {facts.get('going_why', '')}" if isinstance(left_s, int) else ""


def _resource_cells(row: dict[str, Any]) -> tuple[str, ...]:
    price = row.get("price_uwos", 0)
    return (
        row["kind"],
        row["name"],
        row["node_name"],
        output.amount(row["kind"], row["free"]),
        output.amount(row["kind"], row["capacity"]),
        row.get("state", "available"),
        f"{price} uWOS" if price else "free",
        row["id"],
    )


def _what(lease: dict[str, Any]) -> str:
    text = output.amount(lease["kind"], lease["amount"])
    return text if lease["kind"] in {Kind.CPU, Kind.GPU} else f"{text} {lease['kind']}"


def _print_notice(at_ns: int, name: str, fields: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.say_json({"at_ns": at_ns, "name": name, "fields": fields})
        return
    text = "  ".join(f"{key}={_short(value)}" for key, value in fields.items())
    output.out.print(f"[dim]{_moment(at_ns)}[/]  [bold]{name:<16}[/] {text}", soft_wrap=True)


def _short(value: Any) -> str:
    text = str(value).replace("[", "\\[")
    return f"{text[:8]}..." if len(text) == 52 and text.isalnum() else text


def _moment(at_ns: int) -> str:
    return datetime.datetime.fromtimestamp(at_ns / NS, tz=datetime.UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
