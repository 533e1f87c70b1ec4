"""The plan of an engine as values: which seats there are, and which processes run on each.

A *seat* is one lease of the engine: so many cores on one node, with an address that the other seats reach. The engine says
what runs there; the words ``{python}``, ``{bin}`` and ``{work}`` in arguments, environment and files stand for the
interpreter, the folder of programs and the working folder there. ``{short}`` is the working folder under a name short enough
for sockets in it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from worldos.engines.limits import FILE_BYTES_MAX, PROCESSES_MAX

FileName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,60}$")]


class Seat(msgspec.Struct, frozen=True, kw_only=True):
    """A place for processes: the ``index``-th lease. ``ports`` are free there, as many as the engine asked for."""

    index: int
    node: str
    address: str
    milli_cpu: int
    gpus: int = 0
    memory_bytes: int = 0
    ports: tuple[int, ...] = ()

    @property
    def cores(self) -> int:
        """Whole cores, one at least."""
        return max(1, self.milli_cpu // 1000)


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One process of an engine. ``ready``: what it says when others may rely on it; ``listens``: ports that are open then.

    ``not_root``: it refuses to run as root, and is shown another user where it would. ``files`` are written into its working
    folder. ``before`` runs first, each to its good end. ``end_signal`` asks it to end; ``leave_signal`` does
    where the rest of the engine goes on. ``again``: one that was ready and ended is
    begun again, a few times. ``tries``: so often it is begun until it is ready.
    """

    name: str
    argv: tuple[str, ...]
    env: dict[str, str] = {}
    files: dict[FileName, Annotated[bytes, msgspec.Meta(max_length=FILE_BYTES_MAX)]] = {}
    before: tuple[tuple[str, ...], ...] = ()
    ready: str = ""
    listens: tuple[int, ...] = ()
    not_root: bool = False
    short: bool = False  # it says ``{short}``
    end_signal: int = 15
    leave_signal: int = 15
    again: bool = False
    tries: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1


Processes = Annotated[tuple[Process, ...], msgspec.Meta(max_length=PROCESSES_MAX)]


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """How a process is: ``code`` is None while it runs; ``said`` is the end of what it printed."""

    name: str
    ready: bool
    code: int | None
    said: str


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a tool that was run to its end."""

    code: int
    out: bytes
    said: str


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """How far the software of an engine is on a node."""

    done: bool
    doing: str = ""
    own: bool = False  # in an environment made for it
    bin: str = ""
