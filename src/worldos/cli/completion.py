"""What the shell completes: jobs, queues, engines, machines; and of which command only that one's module is loaded for it.

Whoever presses Tab waits: what does not answer at once completes nothing, and nothing is ever said on the way. The agent's words
are read without their types, whose modules would take longer to load than all the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from worldos.config import default_home
from worldos.errors import WorldError
from worldos.sdk.asking import Asking

PATIENCE_S: Final = 0.2
JOBS_ASKED: Final = 200
HELP_CHARS: Final = 40
OPEN: Final = frozenset(("held", "waiting", "running"))
FAILED, DROPPED = 3, 4  # places in kernel/line/view.Counts

Found = list[tuple[str, str]]
Complete = Callable[[str], Found]


def command_of(environ: Mapping[str, str]) -> str | None:
    """Return the command whose words are completed; nothing while that is still being typed itself."""
    text = environ.get("COMP_WORDS") or environ.get("_TYPER_COMPLETE_ARGS", "")
    words = text.split()
    if count := environ.get("COMP_CWORD", ""):
        words = words[: int(count)] if count.isdecimal() else []
    elif text and not text[-1].isspace():
        words = words[:-1]
    words = words[1:]
    if words[:1] == ["--grant"]:
        words = words[2:]
    return next((word for word in words if not word.startswith("-")), None)


def _jobs(fits: Callable[[dict[str, Any]], bool]) -> Complete:
    def known(incomplete: str) -> Found:
        """Complete the id or the name of a job; nothing where no agent answers."""
        rows = [row for row in _looked("jobs", count=JOBS_ASKED) if fits(row)]
        found = [(row["job"], _told(row)) for row in rows if row["job"].startswith(incomplete)]
        named = [(row["name"], _told(row)) for row in rows if incomplete and row["name"].startswith(incomplete)]
        return found + [each for each in named if " " not in each[0]]

    return known


def queues_known(incomplete: str) -> Found:
    """Complete the name of a queue; nothing where no agent answers."""
    rows = _looked("queues")
    return [(row["queue"], f"{row['waiting']} wait") for row in rows if row["queue"].startswith(incomplete)]


def engines_known(incomplete: str) -> Found:
    """Complete the name of an engine."""
    from worldos.drivers.installed import entry_points  # noqa: PLC0415 - reads what is installed
    from worldos.sdk.engines import GROUP  # noqa: PLC0415

    names = sorted(point.name for point in entry_points(GROUP))
    return [(name, "") for name in names if name.startswith(incomplete)]


def nodes_known(incomplete: str) -> Found:
    """Complete the name of a machine."""
    return [(row["name"], row["status"]) for row in _asked("nodes") if row["name"].startswith(incomplete)]


any_job: Final = _jobs(lambda row: True)
open_job: Final = _jobs(lambda row: row["state"] in OPEN)
ended_job: Final = _jobs(lambda row: row["state"] not in OPEN)
failed_job: Final = _jobs(lambda row: bool(row["counts"][FAILED] or row["counts"][DROPPED]))


def jobs_or_forget(incomplete: str) -> Found:
    """Complete what may follow ``wos jobs``."""
    word = [("forget", "drop what is known of jobs that have ended")] if "forget".startswith(incomplete) else []
    return [*any_job(incomplete), *word]


def _told(row: dict[str, Any]) -> str:
    return f"{row['state']}: {' '.join((row['name'] or row['command']).split())[:HELP_CHARS]}"


def _looked(what: str, **more: Any) -> list[dict[str, Any]]:
    data = _asked("work_look", what=what, **more)
    return msgspec.msgpack.decode(data) if data else []


def _asked(name: str, **arguments: Any) -> Any:
    with suppress(WorldError, OSError), Asking(default_home()) as agent:
        return agent.ask(name, timeout_s=PATIENCE_S, **arguments)
    return []
