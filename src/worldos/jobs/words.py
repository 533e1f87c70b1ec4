"""What people write about a job, as values: arrays, deadlines, budgets, and the name of a task.

An array is written as Slurm writes it: ``1-100``, ``1,5,9``, ``0-99:3`` (every third), ``1-100%8`` (eight at once). A deadline
is the next ``08:00`` of this machine's clock, a day and hour, or ``in 2h``. What cannot be is refused here, with what would be
understood.
Units: wall times in seconds since 1970, money in micro-WOSCoin.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from worldos.errors import BadRequest
from worldos.model.units import parse_duration_ns
from worldos.model.work import ARRAY_TASKS_MAX, JobId, Span

INDEX_MAX: Final = 2**31
SPANS_MAX: Final = 1024
TEXT_CHARS_MAX: Final = 16 * 1024
UWOS: Final = 1_000_000
BUDGET_MAX: Final = 2**53 // UWOS
ID_CHARS: Final = 10
SECOND_NS: Final = 1_000_000_000
_LETTERS: Final = "abcdefghijkmnpqrstuvwxyz23456789"
_PART: Final = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")
_ARRAY_HINT: Final = "write it as 1-100, 1,5,9, 0-99:3 (every third) or 1-100%8 (eight at once)"
_DEADLINE_HINT: Final = 'write it as "08:00", "2026-11-23 08:00" or "in 2h"'


def new_job_id() -> JobId:
    """Name a job: ten letters and digits, none of which looks like another. A name never begins with a digit."""
    return JobId(secrets.choice(_LETTERS[:24]) + "".join(secrets.choice(_LETTERS) for _ in range(ID_CHARS - 1)))


def parse_array(text: str) -> tuple[tuple[Span, ...], int]:
    """Return the indices that a text names, rising and apart, and how many may run at once (0: no limit)."""
    body, percent, together = text.strip().partition("%")
    if percent and not (together.isascii() and together.isdecimal() and 0 < int(together[:12]) <= INDEX_MAX):
        raise BadRequest(f"{together[:20]!r} is no number of tasks to run at once", hint=_ARRAY_HINT)
    if len(text) > TEXT_CHARS_MAX:
        raise BadRequest(f"an array in {len(text)} characters", hint=_ARRAY_HINT)
    spans: list[Span] = []
    for part in body.split(","):
        found = _PART.fullmatch(part.strip()) if part.isascii() else None
        if found is None:
            raise BadRequest(f"{part.strip()[:40]!r} names no tasks", hint=_ARRAY_HINT)
        spans += _spans(*found.groups())
    merged = _merged(spans)
    tasks = sum(span.last - span.first + 1 for span in merged)
    if tasks > ARRAY_TASKS_MAX:
        raise BadRequest(
            f"an array of {tasks} tasks: at most {ARRAY_TASKS_MAX}",
            hint="let each task do more, or submit several jobs",
        )
    return merged, int(together) if percent else 0


def _spans(first_text: str, last_text: str | None, step_text: str | None) -> list[Span]:
    if max(len(each or "") for each in (first_text, last_text, step_text)) > len(str(INDEX_MAX)):
        raise BadRequest(f"an index is at most {INDEX_MAX}", hint=_ARRAY_HINT)
    first = int(first_text)
    last = first if last_text is None else int(last_text)
    step = 1 if step_text is None else int(step_text)
    if last < first:
        raise BadRequest(f"{first}-{last} runs backwards", hint=f"write it as {last}-{first}")
    if last > INDEX_MAX:
        raise BadRequest(f"an index is at most {INDEX_MAX}", hint=_ARRAY_HINT)
    if not step:
        raise BadRequest("a step of 0 gets nowhere", hint=_ARRAY_HINT)
    if step == 1:
        return [Span(first, last)]
    if (last - first) // step >= SPANS_MAX:
        raise BadRequest(
            f"{first}-{last}:{step} names {(last - first) // step + 1} tasks apart: at most {SPANS_MAX}",
            hint="number the tasks from 0 on without gaps, and multiply in the command: $((WOS_TASK * 3))",
        )
    return [Span(index, index) for index in range(first, last + 1, step)]


def _merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    found: list[Span] = []
    for span in sorted(spans, key=lambda each: (each.first, each.last)):
        if found and span.first <= found[-1].last + 1:
            found[-1] = Span(found[-1].first, max(found[-1].last, span.last))
        else:
            found.append(span)
    if len(found) > SPANS_MAX:
        raise BadRequest(f"an array of {len(found)} pieces: at most {SPANS_MAX}", hint="name the tasks with fewer gaps")
    return tuple(found)


def parse_deadline(text: str, now: datetime) -> int:
    """Return the second that a text names, as seen at ``now`` (with its zone); one that has passed is refused."""
    words = text.strip()
    if words.startswith("in "):
        due = now + timedelta(seconds=parse_duration_ns(words[3:].strip()) / SECOND_NS)
    else:
        due = _clock(words, now) or _day(words, now)
    if due <= now:
        raise BadRequest(f"the deadline {words!r} has passed", hint="name one that is still to come, as: in 2h")
    return int(due.timestamp())


def _clock(words: str, now: datetime) -> datetime | None:
    found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", words)
    if found is None:
        return None
    due = now.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
    return due if due > now else due + timedelta(days=1)


def _day(words: str, now: datetime) -> datetime:
    try:
        due = datetime.fromisoformat(words)
    except ValueError:
        raise BadRequest(f"{words[:40]!r} is not a time", hint=_DEADLINE_HINT) from None
    return due if due.tzinfo is not None else due.replace(tzinfo=now.tzinfo)


def parse_budget(text: str | float) -> int:
    """Return an amount of WOSCoin in micro-WOSCoin."""
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not 0 < amount <= BUDGET_MAX:
        raise BadRequest(f"{text!r} is not an amount of WOSCoin", hint="write it as 5 or 0.25, or leave it out")
    return max(1, round(amount * UWOS))


def parse_task(text: str) -> tuple[str, int | None]:
    """Read ``JOB`` or ``JOB.INDEX``."""
    name, dot, index = text.strip().partition(".")
    if not dot:
        return name, None
    if not (index.isascii() and index.isdecimal() and len(index) <= len(str(INDEX_MAX)) and int(index) <= INDEX_MAX):
        raise BadRequest(f"{text[:60]!r} names no task", hint="write it as JOB.INDEX, as wos jobs shows them")
    return name, int(index)


def show_array(spans: Iterable[Span]) -> str:
    """Write indices as people do."""
    return ",".join(f"{span.first}" if span.first == span.last else f"{span.first}-{span.last}" for span in spans)
