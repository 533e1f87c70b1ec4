"""``wos audit``: look at what this machine decided, check it, make it again, and take words out of it.

Showing, checking and replaying read the files of the home: they work while no agent runs, and cost the agent nothing.
"""

from __future__ import annotations

import datetime
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer

from worldos.agent import auditing
from worldos.agent.decision_log import code_hash
from worldos.agent.decision_shelf import DecisionShelf, open_shelf
from worldos.cli import output, person
from worldos.config import default_home
from worldos.errors import BadRequest, Damaged, NoAgent
from worldos.home import Home
from worldos.kernel.records import ChosenRecord
from worldos.model.ids import NodeId
from worldos.sdk.asking import Asking
from worldos.sim.neutrality import PLANTED, WORLDS, fair, search
from worldos.trust.keys import ID_CHARS
from worldos.trust.note import log_of

JSON = typer.Option(False, "--json", help="Print JSON.")
LISTED = 20

group = typer.Typer(help="See, check and replay what this machine decided; anyone can.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(group, name="audit", rich_help_panel=output.LOOK)


@group.command()
def show(
    number: int = typer.Argument(-1, metavar="[N]", help="One decision, with all that it was made from."),
    lines: int = typer.Option(LISTED, "--lines", "-n", min=1, max=500, help="How many of the last."),
    as_json: bool = JSON,
) -> None:
    """Show the last decisions: what was chosen, granted, refused, ended; and why."""
    shelf = _shelf(default_home())
    if number >= 0:
        _show_one(auditing.detail(auditing.one(shelf, number)), as_json=as_json)
        return
    rows = [auditing.row(entry) for entry in auditing.entries(shelf, max(0, shelf.durable - lines))]
    names = _names()
    if as_json:
        output.say_json(rows)
        return
    cells = [
        (r["number"], moment(r["at_s"]), r["kind"], _named(r["what"], names), _named(r["why"], names)) for r in rows
    ]
    output.table(("N", "WHEN", "KIND", "WHAT", "WHY"), cells, right=("N",))


@group.command()
def verify(
    node: str = typer.Argument("", metavar="[NODE]", help="Another linked node, by name or id (default: this one)."),
    witnesses: int = typer.Option(0, "--witnesses", min=0, help="Fail unless so many have cosigned it."),
    as_json: bool = JSON,
) -> None:
    """Check a whole log: every leaf against the signed root; of this machine also every word and every draw."""
    if node:
        with Asking(default_home()) as agent, output.waiting("fetching every leaf ..."):
            found = agent.ask("audit_verify", node=node)
    else:
        shelf = _shelf(default_home())
        with output.waiting("reckoning every leaf again ..."):
            found = auditing.verify(shelf, _owner(shelf))
    if len(found["witnesses"]) < witnesses:
        found["wrong"].append(f"{len(found['witnesses'])} witnesses have cosigned it, not {witnesses}")
    if as_json:
        output.say_json(found)
    else:
        (_say_other if node else _say_verified)(found)
    if found["wrong"]:
        raise Damaged(found["wrong"][0], hint="see who cosigns, and who knows of forks: wos audit witness")


@group.command()
def witness(as_json: bool = JSON) -> None:
    """Show who cosigns this machine's log, whose logs it cosigns, and which were found to tell two stories."""
    with Asking(default_home()) as agent:
        found = agent.ask("audit_witness")
    if as_json:
        output.say_json(found)
        return
    names = _names()
    for each in found["forks"]:
        sizes = " and ".join(map(str, each["sizes"]))
        output.out.print(
            f"[red]{_called(each['node'], names)} told two stories[/]: both are signed, of {sizes} decisions"
        )
    if not found["by"]:
        output.out.print(
            "nobody cosigns the log of this machine yet: witnesses are linked machines, best of other owners"
        )
    else:
        rows = [(_called(w["node"], names), w["owner"][:8], w["size"], _seen_when(w)) for w in found["by"]]
        output.table(("WITNESS", "OWNER", "COSIGNED", "WHEN"), rows, right=("COSIGNED",))
    if found["of"]:
        output.out.print()
        output.table(("LOG OF", "WE COSIGNED"), [(_called(each["node"], names), each["size"]) for each in found["of"]])


@group.command()
def neutrality(
    worlds: int = typer.Option(WORLDS, "--worlds", min=1, max=1_000_000, help="How many worlds."),
    seed: int = typer.Option(1, "--seed", help="Which worlds."),
    as_json: bool = JSON,
) -> None:
    """Permute identities, owners, places and order over thousands of worlds, and see whether anybody is favoured."""
    with output.waiting(f"looking at {worlds} worlds ..."):
        found = search(fair, worlds, seed)
    planted = {name: search(chooser, worlds, seed, stop=True) for name, chooser in PLANTED.items()}
    if as_json:
        answer = {"worlds": worlds, "violations": dict(found.violations), "code": code_hash()}
        output.say_json({**answer, "planted_found_at": {name: each.first for name, each in planted.items()}})
    else:
        output.out.print(f"the matcher of this machine: {found.total} of {found.worlds} worlds were not neutral")
        for why, count in sorted(found.violations.items()):
            output.out.print(f"  [red]{count}[/] {why}")
        output.out.print("\nwould it be seen? each of these was planted and searched for in the same worlds:")
        rows = [(name, each.first or "not found", next(iter(each.violations), "")) for name, each in planted.items()]
        output.table(("PLANTED", "FOUND IN WORLD", "BECAUSE"), rows, right=("FOUND IN WORLD",))
    if found.total:
        raise Damaged("the matcher is not neutral", hint="run it with --json, and report it")


@group.command()
def replay(
    number: int = typer.Argument(-1, metavar="[N]", help="One decision (default: all that are kept)."),
    as_json: bool = JSON,
) -> None:
    """Make choices again from what was put down, and compare byte for byte."""
    shelf = _shelf(default_home())
    if number >= 0:
        entry = auditing.one(shelf, number)
        if not isinstance(entry.record, ChosenRecord):
            kind = auditing.row(entry)["kind"]
            raise BadRequest(f"decision {number} ({kind}) is no choice", hint="choices are those matched and unmatched")
        same = auditing.same_again(entry)
        found = auditing.Replayed(1, [] if same else [number], "")
    else:
        with output.waiting("making every choice again ..."):
            found = auditing.replay(shelf, os.cpu_count() or 1)
    if as_json:
        answer = {"replayed": found.choices, "differing": found.differing[:100]}
        output.say_json({**answer, "code": code_hash(), "code_then": found.code})
    else:
        differ = len(found.differing)
        output.out.print(
            f"{found.choices} choices made again: " + ("all as then" if not differ else f"{differ} differ")
        )
    if found.differing:
        other = found.code and found.code != code_hash()
        hint = "another version decided then: replay it with that one" if other else "the log or the node is not honest"
        raise Damaged(f"decision {found.differing[0]} comes out otherwise than it was put down", hint=hint)


@group.command()
def erase(
    number: int = typer.Argument(metavar="N", help="The decision."),
    why: str = typer.Option("", "--why", help="For the entry that says so."),
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask."),
) -> None:
    """Take the words of a decision out of the log; that it was made, and when, stays provable."""
    if not yes:
        person.sure(f"Erase what decision {number} was? This cannot be undone.")
    with Asking(default_home()) as agent:
        done = agent.ask("audit_erase", number=number, why=why)
    output.out.print(f"the words of decision {done['number']} are gone; its leaf and its proofs stay")


def moment(at_s: int) -> str:
    """Write a moment for people."""
    return datetime.datetime.fromtimestamp(at_s, tz=datetime.UTC).astimezone().strftime("%m-%d %H:%M:%S")


@group.command()
def providers(as_json: bool = JSON) -> None:
    """Show whose machines worked for us, how often they were checked, and who lied.

    A machine is in as long as no word of it was wrong; one that is out gets no more work. Jobs are calls, or tasks.
    """
    with Asking(default_home()) as agent:
        rows = agent.ask("providers")
    if as_json:
        output.say_json(rows)
        return
    if not rows:
        output.out.print("no machine of another account has worked for us under checks (worldos.checked, wos submit)")
        return
    cells = [
        (
            row["node"][:8],
            row["of"],
            row["jobs"],
            row["checks"],
            "every job" if row["probation"] else f"{row['checked_ppm'] / 10_000:.0f} % of jobs",
            f"out: {row['out']}" if row["out"] else "in",
        )
        for row in rows
    ]
    output.table(("NODE", "DID", "JOBS", "CHECKS", "CHECKED", "STANDING"), cells, right=("JOBS", "CHECKS"))


def _shelf(home: Home) -> DecisionShelf:
    """Open the log of a home, with all that its agent decided up to now if one runs."""
    with suppress(NoAgent), Asking(home) as agent:
        agent.ask("audit_flush")
    return open_shelf(Path(home.decisions_folder))


def _names() -> dict[str, str]:
    """Return what nodes are called, by the beginnings of their ids, if an agent runs that can say it."""
    with suppress(NoAgent), Asking(default_home()) as agent:
        return {row["node"][:8]: row["name"] for row in agent.ask("nodes")}
    return {}


def _called(node: str, names: dict[str, str]) -> str:
    """Return what a node is called, or the beginning of its id."""
    return output.text(names.get(node[:8], node[:8]))


def _named(text: str, names: dict[str, str]) -> str:
    """Write ids of nodes as their names."""
    words = (names.get(word[:8], word[:8]) if len(word) == ID_CHARS else names.get(word, word) for word in text.split())
    return output.text(" ".join(words))


def _owner(shelf: DecisionShelf) -> NodeId:
    return log_of(shelf.load("checkpoint"))


def _show_one(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.say_json(found)
        return
    for label in ("number", "kind", "what", "why"):
        output.out.print(f"[bold]{label:>8}[/]  {output.text(str(found[label]))}")
    output.out.print(f"[bold]{'when':>8}[/]  {moment(found['at_s'])}")
    if "offers" not in found:
        return
    record = found["record"]
    output.out.print(f"[bold]{'choice':>8}[/]  number {record['number']} of this life, use {record['use']}\n")
    rows = list(zip(found["offers"], record["seats"], strict=True))
    if "expected" not in found:
        cells = [(offer["node"][:8], seat[1], _known(seat), _free(offer)) for offer, seat in rows]
        output.table(("NODE", "ROUND TRIP US", "KNOWN OF IT", "FREE"), cells, right=("ROUND TRIP US",))
        return
    output.out.print(
        "for calls of which it was learned how long a round of them works there, and what they bring is on the way"
    )
    learned = [
        (offer["node"][:8], seat[1], _known(seat), *_ends(ends), _free(offer))
        for (offer, seat), ends in zip(rows, found["expected"], strict=True)
    ]
    columns = ("NODE", "ROUND TRIP US", "KNOWN OF IT", "WORKS", "ON THE WAY", "FREE")
    output.table(columns, learned, right=("ROUND TRIP US", "WORKS", "ON THE WAY"))


def _ends(expected: list[int] | None) -> tuple[str, str]:
    return ("", "") if expected is None else (output.micros(expected[0]), output.micros(expected[1]))


def _seen_when(each: dict[str, Any]) -> str:
    if each["refuses_at"]:
        return f"refuses: it knows {each['refuses_at']} decisions"
    return moment(each["at_s"]) if each["at_s"] else "not yet"


def _say_other(found: dict[str, Any]) -> None:
    output.out.print(f"log of [bold]{found['log'][:8]}[/]: {found['decisions']} decisions, fetched and reckoned again")
    output.out.print(f"  {found['cosigned_before']} of them cosigned by this machine before")
    output.out.print(f"  {found['receipts']} of {found['leases_held']} leases that it granted us are in it")
    _say_end(found)


def _known(seat: list[Any]) -> str:
    names = ("", "", "lost before", "in doubt", "gone", "has just refused")
    return ", ".join(name for name, value in zip(names, seat, strict=True) if name and value)


def _free(offer: dict[str, Any]) -> str:
    return ", ".join(f"{r['kind']} {output.amount(r['kind'], r['free'])}" for r in offer["resources"])


def _say_verified(found: dict[str, Any]) -> None:
    kinds = ", ".join(f"{count} {kind}" for kind, count in found["kinds"].items())
    output.out.print(f"log of [bold]{found['log'][:8]}[/]: {found['decisions']} decisions ({kinds})")
    kept = f"{found['words_kept']} with their words, {found['erased']} erased, {found['dropped']} dropped for their age"
    output.out.print(f"  {kept}")
    rounds = (
        f"{found['rounds_witnessed']} rounds with a witness's beacon, {found['rounds_by_own_word']} by its own word"
    )
    output.out.print(f"  {found['draws_checked']} draws checked ({rounds})")
    output.out.print(f"  {found['witnessed']} of them cosigned")
    _say_end(found)


def _say_end(found: dict[str, Any]) -> None:
    names = _names() if found["witnesses"] else {}
    seen = ", ".join(_called(each["node"], names) for each in found["witnesses"]) or "nobody yet"
    output.out.print(f"  its witnesses: {seen}")
    output.out.print("  all as it should be" if not found["wrong"] else "  [red]not as it should be:[/]")
    for line in found["wrong"]:
        output.out.print(f"  - {output.text(line)}")
