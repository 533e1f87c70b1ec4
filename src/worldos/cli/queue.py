"""``wos queue``: the durable queues of your machines. What ``put`` said is there is on the disks of a majority."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from worldos.cli import output
from worldos.cli.completion import queues_known
from worldos.cli.names import JSON, when
from worldos.config import default_home
from worldos.errors import BadRequest, NotThere
from worldos.sdk.asking import Asking

if TYPE_CHECKING:
    from worldos.kernel.queues.queues import QueueView
    from worldos.kernel.work.look import Keepers
    from worldos.sdk.queue import Message

MS_NS = 1_000_000
FAR_S = 30 * 24 * 3600.0
NAME = typer.Argument(metavar="NAME", help="The queue's name.", autocompletion=queues_known)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    queue = typer.Typer(
        help="Durable queues: what is put on one machine is taken on any, once it is done with never again.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, command in (("list", list_), ("show", show), ("put", put), ("take", take), ("drop", drop)):
        queue.command(name)(command)
    app.add_typer(queue, name="queue", rich_help_panel=output.WORK)


def list_(as_json: bool = JSON) -> None:
    """Show all queues."""
    from worldos.kernel.work.look import read_queues  # noqa: PLC0415 - only this command needs it

    rows = read_queues(_look("queues"))
    if as_json:
        output.say_json([_plain(row) for row in rows])
    elif not rows:
        print("no queues yet: wos queue put NAME 'some words'")
    else:
        output.table(
            ("QUEUE", "WAITING", "TAKEN", "DEAD", "SIZE", "OLDEST"),
            [
                (
                    output.text(row.queue),
                    row.waiting,
                    row.held,
                    row.dead_waiting,
                    output.size(row.size_bytes),
                    when(row.oldest_ms * MS_NS) if row.oldest_ms else "",
                )
                for row in rows
            ],
            right=("WAITING", "TAKEN", "DEAD", "SIZE"),
        )


def show(name: str = NAME, as_json: bool = JSON) -> None:
    """Show one queue, and which machines keep it."""
    from worldos.kernel.work.look import read_keepers  # noqa: PLC0415

    row, keepers = _view(name), read_keepers(_look("keepers"))
    if as_json:
        output.say_json({**_plain(row), "kept_by": list(keepers.voters), "leader": keepers.leader})
        return
    full = 100 * row.size_bytes // row.bytes_max
    print(f"{row.queue}: {row.waiting} wait, {row.held} are taken and not done with, {row.put} came in all")
    print(f"size: {output.size(row.size_bytes)}, {full} % of what it may hold")
    print(f"a message that was taken {row.deliveries_max} times in vain goes to {row.dead} ({row.dead_waiting} there)")
    print(f"kept by {_machines(keepers)}")


def put(
    name: str = NAME,
    texts: list[str] = typer.Argument(
        None, metavar="[TEXT]...", help="A message each; none: each line of standard input."
    ),
    id_: str = typer.Option("", "--id", help="What to call a single message: put again under it, it is there once."),
    deliveries: int = typer.Option(
        0, min=0, max=1000, help="So often it is handed out before it goes to the dead letters."
    ),
    as_json: bool = JSON,
) -> None:
    """Append messages; they are durable when this returns.

    wos queue put frames one two            ls | wos queue put frames
    """
    from worldos.sdk.queue import Queue  # noqa: PLC0415

    if not name:
        raise BadRequest("a queue has a name", hint="wos queue put NAME TEXT")
    if id_ and len(texts or ()) != 1:
        raise BadRequest("an id is for one message", hint="say one TEXT beside --id")
    with Queue(name, deliveries=deliveries or None) as queue:
        if id_:
            queue.put(texts[0], id=id_)
            count = 1
        else:
            count = queue.put_many(texts or _lines())
        waiting = queue.qsize() if as_json else 0
    if as_json:
        output.say_json({"put": count, "waiting": waiting})
    elif count != 1:
        print(f"{count} messages put", file=sys.stderr)


def take(
    name: str = NAME,
    count: int = typer.Option(1, "--count", "-n", min=1, max=1024, help="How many at most."),
    wait: float = typer.Option(
        0.0, "--wait", "-w", min=0.0, help="How many seconds to wait for the first; 0: not at all."
    ),
    keep: bool = typer.Option(False, "--keep", help="Give them back after showing them."),
    as_json: bool = JSON,
) -> None:
    """Take messages, print them, and be done with them. The exit code is 1 when there was none.

    wos queue take frames            wos queue take frames -n 10 --wait 60 --json
    """
    from worldos.jobs.rows import message_row  # noqa: PLC0415 - as the next, only this command needs it
    from worldos.sdk.queue import Queue  # noqa: PLC0415

    with Queue(name, make=False) as queue:
        found = queue.get_many(count, timeout=min(wait, FAR_S))
        try:
            if as_json:
                output.say_json([message_row(each.id, each.raw, each.deliveries) for each in found])
            else:
                for each in found:
                    _print(each)
            sys.stdout.flush()
        except BaseException:
            queue.nack(*found)
            raise
        (queue.nack if keep else queue.ack)(*found)
    if not found:
        raise typer.Exit(1)


def drop(
    name: str = NAME, yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask when there are messages in it.")
) -> None:
    """Drop a queue and all that is in it."""
    from worldos.kernel.work.words import decode_answers, encode_command  # noqa: PLC0415
    from worldos.model.work import QueueDropped, WorkCommand  # noqa: PLC0415

    row = _view(name)
    left = row.waiting + row.held
    if left and not yes and not typer.confirm(f"{left} messages are in {name}. Drop them?", err=True):
        raise typer.Exit(1)
    with Asking(default_home()) as agent:
        decode_answers(agent.ask("work", command=encode_command(WorkCommand(said=(QueueDropped(queue=name),)))))
    output.out.print(f"{output.text(name)} is dropped, with {left} messages")


def _look(what: str) -> bytes:
    with Asking(default_home()) as agent:
        answer: bytes = agent.ask("work_look", what=what)
    return answer


def _view(name: str) -> QueueView:
    from worldos.kernel.work.look import read_queue  # noqa: PLC0415

    row = read_queue(_look(f"queue {name}"))
    if row is None:
        raise NotThere(f"there is no queue {name}", hint="wos queue list shows which there are")
    return row


def _machines(keepers: Keepers) -> str:
    with Asking(default_home()) as agent:
        names = {row["node"]: str(row["name"]) for row in agent.ask("nodes")}
    shown = [names.get(node, node[:8]) + (" (leads)" if node == keepers.leader else "") for node in keepers.voters]
    return output.text(", ".join(shown))


def _plain(row: QueueView) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__struct_fields__}


def _lines() -> Iterator[str]:
    if sys.stdin.isatty():
        print("one message a line, and an end of file (Ctrl-D) to end:", file=sys.stderr)
    for line in sys.stdin:
        yield line.rstrip("\n")


def _print(message: Message) -> None:
    from worldos.jobs.rows import message_row  # noqa: PLC0415

    said = message_row(message.id, message.raw, message.deliveries)
    if "text" in said:
        print(said["text"])
    elif said["form"] == "bytes":
        sys.stdout.flush()
        sys.stdout.buffer.write(message.raw[1:])
        sys.stdout.buffer.flush()
    else:
        print(f"<a Python object of {len(message.raw) - 1} bytes: take it with worldos.use>")
