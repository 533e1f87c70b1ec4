"""``wos replay``: feed a journal to the same kernel again, and see each decision made once more."""

from __future__ import annotations

from pathlib import Path

import msgspec
import typer

from worldos.agent.journal import newest, replay
from worldos.cli import output
from worldos.config import default_home
from worldos.errors import BadRequest, Damaged
from worldos.kernel.events import ClockTicked

MS = 1_000_000


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("replay", rich_help_panel=output.LOOK)(replay_journal)


def replay_journal(
    journal: Path | None = typer.Argument(
        None, metavar="[JOURNAL]", help="A journal file (default: the newest of this node)."
    ),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Print each event and its effects."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Replay a journal: every event again, and whether it led to the same effects as then."""
    file = journal or newest(default_home().journal_folder)
    if file is None:
        raise BadRequest("this node has no journal yet", hint="wos up starts one")
    if not file.is_file():
        raise BadRequest(f"there is no file {file}", hint="journals are in the home's folder journal/")
    events = effects_seen = 0
    differ: list[int] = []
    first_ns = last_ns = 0
    for event, effects, same in replay(file):
        events += 1
        effects_seen += len(effects)
        first_ns = first_ns or event.now_ns
        last_ns = event.now_ns
        if not same:
            differ.append(events)
        if verbose and not (isinstance(event, ClockTicked) and not effects):
            mark = " " if same else "!"
            output.out.print(f"{mark}{(event.now_ns - first_ns) / MS:>12.3f} ms  {_line(event)}", soft_wrap=True)
            for effect in effects:
                output.out.print(f"{'':>18}-> {_line(effect)}", soft_wrap=True)
    found = {
        "journal": str(file),
        "events": events,
        "effects": effects_seen,
        "seconds": round((last_ns - first_ns) / (1000 * MS), 3),
        "differing": differ[:100],
    }
    if as_json:
        output.say_json(found)
    else:
        what = f"{events} events over {found['seconds']} s, {effects_seen} effects"
        output.out.print(f"{file}: {what}; " + ("all as then" if not differ else f"{len(differ)} differ"))
    if differ:
        raise Damaged(
            f"event {differ[0]} led to other effects than then",
            hint="another version of World OS wrote this journal, or the node is not deterministic: report it",
        )


def _line(item: msgspec.Struct) -> str:
    text = msgspec.json.encode(item).decode()
    return text if len(text) <= 400 else text[:397] + "..."
