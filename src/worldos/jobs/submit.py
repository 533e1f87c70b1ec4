"""``worldos.submit``: a function or a command into the line, from a program; what comes back is a ``Job``.

    job = worldos.submit(train, array=[1, 2, 3], cpu=4, after=[prepare])
    for loss in job: ...

A function travels with its arguments by value, as it does on a lane; files that are named go along. Small parcels travel in
the job itself, larger ones lie in the realm's files until the job is forgotten.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from worldos.errors import BadRequest, WorldError
from worldos.home import default_home
from worldos.jobs.desk import Desk
from worldos.jobs.job import Job
from worldos.jobs.limits import PARCEL_IN_LINE_BYTES
from worldos.jobs.outputs import Spool, packed
from worldos.jobs.shelf import Shelf, parcel_path
from worldos.jobs.words import new_job_id, parse_array, parse_budget, parse_deadline
from worldos.lanes.resident import RESIDENT
from worldos.model.isolation import Isolation
from worldos.model.units import parse_duration_ns
from worldos.model.work import (
    AFTER_MAX,
    ARRAY_TASKS_MAX,
    COPIES_MAX,
    PARCEL_BYTES_MAX,
    PRIORITY_MAX,
    JobId,
    JobSpec,
    Span,
)
from worldos.sdk.needs import parse_need

if TYPE_CHECKING:
    from worldos.sdk.connection import Connection
    from worldos.sdk.needs import Amount

CALL: Final = ("{python}", "-m", "worldos.jobs.call")
STAYS: Final = (RESIDENT, CALL[2])  # its tasks share an interpreter
INDEX_TOLD: Final = "WOS_CALL_INDEX"
SECOND_NS: Final = 1_000_000_000
RETRIES_MAX: Final = 100
NAME_CHARS_MAX: Final = 128

_opening = threading.Lock()
_connection: Connection | None = None


def submit(  # noqa: PLR0913 - one call, by name, as a person writes it
    what: Callable[..., Any] | Sequence[str],
    /,
    *args: Any,
    kwargs: Mapping[str, Any] | None = None,
    array: str | Iterable[Any] | None = None,
    cpu: Amount = 1,
    gpu: Amount | None = None,
    memory: Amount | None = None,
    where: str | None = None,
    near: str | None = None,
    realm: str | None = None,
    objective: str = "fastest",
    isolation: str = "",
    after: Iterable[Job | str] = (),
    deadline: str | datetime | None = None,
    budget: float | str | None = None,
    priority: int = 0,
    retries: int = 0,
    together: int = 0,
    runtime: Amount | None = None,
    preemptible: bool = False,
    twice: bool = False,
    checked: bool | int | None = None,
    name: str = "",
    files: Iterable[str | Path] = (),
    env: Mapping[str, str] | None = None,
    inside: bool = False,
) -> Job:
    """Put a function with its arguments, or a command, into the line; return at once.

    ``array``: one task for each item, which is the first argument of the function; or for each index of a text like ``"1-100"``
    (a command finds it in ``$WOS_TASK``). The other words are those of ``wos submit``; ``checked``: what machines of others make
    counts when those of so many owners made the same (True: two; False: it is taken as it is). ``inside``: the tasks of a
    function run one after another in one process of each lease, not in one each: a tenth of the time for small ones, but they
    see what others leave in memory, and files that came along are for reading only. Raises NoAgent where none runs: a job
    outlives its program, so an agent must (``wos up``).
    """
    spans, most, items = _array(array)
    spec = spec_of(
        argv=_call(what, inside=inside) if callable(what) else _argv(what),
        cpu=cpu, gpu=gpu, memory=memory, where=where, near=near, realm=realm, objective=objective, isolation=isolation,
        spans=spans, after=[job.id if isinstance(job, Job) else job for job in after], deadline=deadline, budget=budget,
        priority=priority, retries=retries, together=together or most, runtime=runtime, preemptible=preemptible, twice=twice,
        checked=checked, name=name or getattr(what, "__name__", ""), env=env,
    )  # fmt: skip
    desk = own_desk()
    paths = [Path(each) for each in files]
    if not callable(what):
        if inside:
            raise BadRequest("only functions run inside a process that is there", hint="leave out inside=")
        if args or kwargs:
            raise BadRequest("a command has its arguments in the list", hint='submit(["prog", "argument"])')
        return Job(hand_in(desk, spec, paths, Path.cwd()), desk, many=array is not None)
    if isinstance(array, str):
        spec = replace(spec, env={**spec.env, INDEX_TOLD: "1"})
    call = _pickled(what, args, dict(kwargs or {}), items)
    return Job(hand_in(desk, spec, paths, Path.cwd(), call), desk, calls=True, many=array is not None)


def spec_of(  # noqa: PLR0913 - as many words as a job may have
    *,
    argv: Sequence[str],
    cpu: Amount = 1,
    gpu: Amount | None = None,
    memory: Amount | None = None,
    where: str | None = None,
    near: str | None = None,
    realm: str | None = None,
    objective: str = "fastest",
    isolation: str = "",
    spans: tuple[Span, ...] = (),
    after: Sequence[str] = (),
    deadline: str | datetime | None = None,
    budget: float | str | None = None,
    priority: int = 0,
    retries: int = 0,
    together: int = 0,
    runtime: Amount | None = None,
    grace: Amount | None = None,
    preemptible: bool = False,
    twice: bool = False,
    checked: bool | int | None = None,
    keep: bool = True,
    name: str = "",
    env: Mapping[str, str] | None = None,
) -> JobSpec:
    """Return the job that these words say; BadRequest for what cannot be."""
    need = parse_need(
        "GPU" if gpu is not None else "CPU", gpu if gpu is not None else cpu,
        memory=memory, where=where, near=near, realm=realm, objective=objective,
    )  # fmt: skip
    if isolation and isolation not in list(Isolation):
        raise BadRequest(f"isolation={isolation!r} is unknown", hint=f"there are: {', '.join(Isolation)}")
    if not -PRIORITY_MAX <= priority <= PRIORITY_MAX:
        raise BadRequest(
            f"a priority of {priority}", hint=f"it goes from -{PRIORITY_MAX} to {PRIORITY_MAX}; 0 is usual"
        )
    if not 0 <= retries <= RETRIES_MAX:
        raise BadRequest(f"{retries} retries", hint=f"a task that fails is tried again up to {RETRIES_MAX} times")
    if len(after) > AFTER_MAX:
        raise BadRequest(f"a job waits for {AFTER_MAX} others at most, not {len(after)}")
    if len(name) > NAME_CHARS_MAX:
        raise BadRequest(f"a name of {len(name)} characters, at most {NAME_CHARS_MAX}")
    return JobSpec(
        argv=tuple(argv),
        need=replace(need, isolation=isolation, workers=1),
        name=name,
        env=dict(env or {}),
        array=spans,
        after=tuple(after),
        deadline_s=_deadline_s(deadline),
        budget_uwos=0 if budget is None else parse_budget(budget),
        priority=priority,
        retries=retries,
        twice=twice,
        preemptible=preemptible,
        grace_s=30 if grace is None else _seconds("grace", grace, 3600),
        together=together,
        keep=keep,
        runtime_s=0 if runtime is None else _seconds("runtime", runtime, 2**31),
        copies=_copies(checked),
    )


def hand_in(desk: Desk, spec: JobSpec, paths: Iterable[Path], base: Path, call: bytes = b"") -> JobId:
    """Pack what goes along, and put the job into the line; return its id."""
    from worldos.jobs.call import ASKED  # noqa: PLC0415 - loads cloudpickle

    job = new_job_id()
    with tempfile.TemporaryDirectory(prefix="wos-submit-") as made:
        spool = Spool(Path(made) / "parcel")
        named = list(paths)
        if call:
            asked = Path(made) / ASKED
            asked.write_bytes(call)
            named.append(asked)
        packed(named, base, spool)
        shelf: Shelf | None = None
        try:
            if spool.size > PARCEL_IN_LINE_BYTES:
                shelf = Shelf(default_home(), Path(made))
                spec = _laid_down(shelf, spool, job, spec)
            elif spool.size:
                spec = replace(spec, parcel=spool.data())
            try:
                desk.submit(job, spec)
            except WorldError:
                if shelf is not None and spec.parcel_file:
                    shelf.remove(spec.parcel_file)
                raise
        finally:
            spool.close()
            if shelf is not None:
                shelf.close()
    return job


def own_desk() -> Desk:
    """Return the line as the agent of this machine's home shows it; one conversation for the program."""
    return Desk(_ask)


def _ask(name: str, **arguments: Any) -> Any:
    from worldos.sdk.connection import Connection  # noqa: PLC0415 - it starts a thread

    global _connection  # noqa: PLW0603 - one conversation a program: this module owns it
    with _opening:
        if _connection is None or _connection.ended is not None:
            _connection = Connection(default_home().socket_file)
        connection = _connection
    return connection.ask(name, arguments)


def _forked() -> None:
    global _connection, _opening  # noqa: PLW0603
    _opening = threading.Lock()
    inherited, _connection = _connection, None
    if inherited is not None:
        inherited.forget()


os.register_at_fork(after_in_child=_forked)


def _laid_down(shelf: Shelf, spool: Spool, job: JobId, spec: JobSpec) -> JobSpec:
    """Put the parcel into the realm's files; into the job where there are none and it is not too large."""
    name = parcel_path(job)
    try:
        shelf.put(spool.path if spool.in_file else spool.data(), name)
    except WorldError as error:
        if spool.size <= PARCEL_BYTES_MAX:
            return replace(spec, parcel=spool.data())
        raise BadRequest(
            f"its files are {spool.size} bytes, and the realm's files take none: {error}",
            hint=error.hint or "lend some room for files: wos storage lend 10GB",
        ) from error
    return replace(spec, parcel_file=name)


def _array(array: str | Iterable[Any] | None) -> tuple[tuple[Span, ...], int, list[Any] | None]:
    if array is None:
        return (), 0, None
    if isinstance(array, str):
        return (*parse_array(array), None)
    items = list(array)
    if not 0 < len(items) <= ARRAY_TASKS_MAX:
        raise BadRequest(f"an array of {len(items)} tasks: 1 to {ARRAY_TASKS_MAX}", hint="let each task do more")
    return (Span(0, len(items) - 1),), 0, items


def _call(function: Callable[..., Any], *, inside: bool) -> tuple[str, ...]:
    """Return the command of a function: with its name, for what is learned of how long it takes."""
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__name__)}"
    return (*(STAYS if inside else CALL), name[:NAME_CHARS_MAX])


def _argv(words: Sequence[str]) -> tuple[str, ...]:
    if isinstance(words, str) or not words or not all(isinstance(word, str) for word in words):
        raise BadRequest(f"{words!r:.80} is neither a function nor a command", hint='submit(["prog", "argument"])')
    return tuple(words)


def _pickled(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], items: list[Any] | None
) -> bytes:
    import cloudpickle  # noqa: PLC0415

    from worldos.lanes.pack import Functions  # noqa: PLC0415

    functions = Functions()
    functions.far = True  # modules of this program travel by value
    functions.of(function)  # says what cannot be sent
    try:
        data: bytes = cloudpickle.dumps((function, args, kwargs, items))
    except Exception as error:
        raise BadRequest(
            f"an argument of {getattr(function, '__name__', 'the function')} cannot be pickled: {error}",
            hint="give it plain data, or the name of a file",
        ) from error
    return data


def _deadline_s(deadline: str | datetime | None) -> int:
    if deadline is None or deadline == "":
        return 0
    now = datetime.now().astimezone()
    return parse_deadline(deadline.astimezone().isoformat() if isinstance(deadline, datetime) else deadline, now)


def _copies(checked: bool | int | None) -> int:  # noqa: FBT001 - as a person writes it
    """Return how many owners' machines must come to the same; 0: as many as it takes where there is no record."""
    if checked is None:
        return 0
    copies = {True: 2, False: 1}[checked] if isinstance(checked, bool) else checked
    if not 1 <= copies <= COPIES_MAX:
        raise BadRequest(f"checked={checked}: by 2 to {COPIES_MAX} owners' machines", hint="checked=True is two")
    return copies


def _seconds(what: str, amount: Amount, most: int) -> int:
    found = parse_duration_ns(amount) // SECOND_NS
    if not 1 <= found <= most:
        raise BadRequest(f"{what}={amount!r}: 1 s to {most} s", hint="write it as 90s, 30min or 8h")
    return found
