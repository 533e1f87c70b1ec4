"""``wos run``: any command on the best node, as if it ran here."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from worldos.cli import output
from worldos.config import default_home
from worldos.errors import BadRequest, NoCapacity, NodeGone, Unreachable, WorldError
from worldos.model.local import Doors, LeaseLost, Use, UseGranted, UseRefused

if TYPE_CHECKING:
    from worldos.cli.transcript import Transcript
    from worldos.sdk.connection import Connection, UseMessage

GRANT_TIMEOUT_S = 30.0
DOORS_TIMEOUT_S = 30.0


def register(app: typer.Typer) -> None:
    """Add this command."""
    settings = {"ignore_unknown_options": True, "allow_interspersed_args": False}
    app.command("run", context_settings=settings, rich_help_panel=output.WORK)(run)


class _Hearer:
    """Hears what becomes of the one use of this command."""

    def __init__(self) -> None:
        self.messages: SimpleQueue[UseMessage | WorldError] = SimpleQueue()
        self.lost = ""

    def heard(self, message: UseMessage) -> None:
        """Take in a message."""
        if isinstance(message, LeaseLost):
            self.lost = message.why
        self.messages.put(message)

    def cut(self, why: WorldError) -> None:
        """Take in that the agent has ended."""
        self.messages.put(why)

    def wait(self, kinds: tuple[type[Any], ...], timeout_s: float) -> Any:
        """Wait for one of these messages."""
        while True:
            try:
                message = self.messages.get(timeout=timeout_s)
            except Empty:
                raise Unreachable("the agent does not answer", hint="see its log: wos log") from None
            if isinstance(message, WorldError):
                raise message
            if isinstance(message, kinds):
                return message
            if isinstance(message, LeaseLost):
                raise NodeGone(f"the node was lost before the command began: {message.why}")


def run(
    command: list[str] = typer.Argument(metavar="COMMAND...", help="The command and its arguments, after --."),
    cpu: str = typer.Option("1", "--cpu", help="Cores: 2, 0.5, 500m."),
    memory: str = typer.Option("", help="Memory that it may take: 1GB. More ends it."),
    gpu: str = typer.Option("", help="Whole or parts of GPUs, instead of cores alone."),
    where: str = typer.Option("", help="A comparison the node must fulfil: \"arch == 'arm64'\"."),
    near: str = typer.Option("", help="Closer to this is better: 'me', a node, or a place."),
    realm: str = typer.Option("", help="Only in this realm: acme/berlin."),
    objective: str = typer.Option("fastest", help="fastest, cheapest, greenest or nearest."),
    data: list[str] = typer.Option([], "--data", help="A file of wos ls that it reads: best run where that lies."),
    members: int = typer.Option(
        1, help="On so many leases at once, in a network of their own: for MPI, torch and the like."
    ),
    isolation: str = typer.Option("", help="At least so far apart from the machine: process, sandbox or wasm."),
    take: list[Path] = typer.Option([], "--with", help="A file or folder to take along; may be given again."),
    keep: bool = typer.Option(True, help="Bring files that the command made or changed back to this folder."),
    session: str = typer.Option("", "--session", help="Tell what it puts out in this session: follow it elsewhere."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Say on which node it runs."),
) -> None:
    """Run a command on the best node: input, output, exit code and Ctrl-C as if it ran here.

    Inputs go along with --with; files that it makes in its working folder come back. Example:

    wos run --cpu 2 --memory 1GB --with data.csv -- python3 -c "print(open('data.csv').read())"
    """
    from worldos.lanes.command import run_command  # noqa: PLC0415 - loads what a lane needs
    from worldos.lanes.link import Door  # noqa: PLC0415
    from worldos.sdk.connection import close, connection  # noqa: PLC0415
    from worldos.sdk.needs import parse_need  # noqa: PLC0415

    if not all(_is_text(word) for word in command):
        hint = "write it in UTF-8, or put it into a script and take that along: --with script.sh"
        raise BadRequest("an argument of the command is not UTF-8 text", hint=hint)
    kind, amount = ("GPU", gpu) if gpu else ("CPU", cpu)
    if members != 1:
        said = {"memory": memory, "where": where, "near": near, "realm": realm, "isolation": isolation}
        words = {name: value for name, value in said.items() if value}
        raise typer.Exit(_run_members(members, command, take, kind, amount, objective=objective, **words))
    need = parse_need(
        kind,
        amount,
        memory=memory or None,
        where=where or None,
        near=near or None,
        realm=realm or None,
        objective=objective,
        data=_data_at(data),
        isolation=isolation or None,
    )
    need = msgspec.structs.replace(need, workers=1)
    agent = connection()
    hearer = _Hearer()
    try:
        doors, name = _lease(agent, hearer, need)
        if verbose:
            output.err.print(f"[dim]on {name}[/]")
        door = Door(path=doors.paths[0], node=doors.node, local=doors.local)
        with _told_in(session, command) as transcript:
            heard = transcript.hear if transcript is not None else None
            code = run_command(door, command, inputs=take, results=keep, stdin=sys.stdin.fileno(), heard=heard)
            if transcript is not None:
                transcript.exited(code)
    except NodeGone as gone:
        if hearer.lost:
            raise NodeGone(f"the node that ran it was lost: {hearer.lost}", hint="run it again") from gone
        raise
    finally:
        close()
    raise typer.Exit(code)


def _run_members(members: int, command: list[str], take: list[Path], kind: str, amount: str, **words: Any) -> int:
    """Run it as several members of one network."""
    from worldos.cli.members import run_members  # noqa: PLC0415 - most runs are of one
    from worldos.lanes.net_wire import MEMBERS_MAX  # noqa: PLC0415
    from worldos.model.limits import GANG_PARTS_MAX  # noqa: PLC0415
    from worldos.sdk.connection import close  # noqa: PLC0415

    most = min(MEMBERS_MAX, GANG_PARTS_MAX)
    if not 1 < members <= most:
        raise BadRequest(f"--members {members}: a network of leases has 2 to {most}")
    try:
        return run_members(members, command, take, kind, amount, **words)
    finally:
        close()


def _told_in(session: str, command: list[str]) -> AbstractContextManager[Transcript | None]:
    """Begin the transcript, if one is wanted."""
    if not session:
        return nullcontext()
    from worldos.cli.transcript import Transcript  # noqa: PLC0415 - only where one is wanted

    return Transcript(default_home(), session, command)


def _data_at(names: list[str]) -> dict[str, int]:
    """Say how many bytes of these files lie on which node."""
    if not names:
        return {}
    from worldos.files.files import Files  # noqa: PLC0415 - only where files are named

    total: Counter[str] = Counter()
    with Files.open() as files:
        for name in names:
            total.update(files.data_at(name))
    return dict(total)


def _is_text(word: str) -> bool:
    """Tell whether a word came as UTF-8; any other bytes are surrogates in Python's argument list."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _lease(agent: Connection, hearer: _Hearer, need: Any) -> tuple[Doors, str]:
    use = agent.next_use(hearer)
    agent.send(Use(use=use, needs=(need,), ttl_ns=10_000_000_000))
    answer = hearer.wait((UseGranted, UseRefused), GRANT_TIMEOUT_S)
    if isinstance(answer, UseRefused):
        raise NoCapacity(answer.reason, hint=answer.hint)
    (terms,) = answer.leases
    agent.open_doors(use, terms.lease)
    doors = hearer.wait((Doors,), DOORS_TIMEOUT_S)
    if doors.error or not doors.paths:
        raise Unreachable(doors.error or "the lease has no worker")
    return doors, terms.node[:8]
