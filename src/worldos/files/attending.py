"""What a person asks of the keeper at once: a scrub, a repair, to give a device up. By files in the depot's folder.

A request is a file ``asked`` that names itself by a number of its own; the keeper answers in ``told``, again and again until it
is done. Both are written as a whole or not at all, and only this user can read or write there. Whoever asks waits, and may go
away: the work goes on. ``scrub_now``, ``repair_now`` and ``give_up_now`` are the asking side, ``Attending`` the keeper's.
Format: msgpack; nothing of it leaves the machine.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec

from worldos.agent.home import write_durably
from worldos.errors import DiskFull, NoAgent, Unreachable, WorldError
from worldos.files.auditing import Scrubbing
from worldos.files.caring import STANDING, CareTold, Caring
from worldos.files.watching import Watch
from worldos.home import Home
from worldos.sdk.connection import Connection

SECOND: Final = 1_000_000_000
LOOK_NS: Final = SECOND
POLL_S: Final = 0.05
SILENCE_S: Final = 300.0  # a keeper that says nothing for so long is not there
PROGRESS_S: Final = 0.2

Progress = Callable[[int, int], None]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request."""

    number: int
    what: Literal["scrub", "repair", "give up"]
    node: str = ""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is, and what came of it."""

    number: int
    done: bool = False
    at: int = 0
    of: int = 0
    checked: int = 0
    checked_bytes: int = 0
    bad: int = 0
    looked: int = 0
    repaired: int = 0
    missing: int = 0
    error: str = ""


class Scrub(msgspec.Struct, frozen=True, kw_only=True):
    """What a scrub found: shares checked, those that were bad, and shares made anew for them so far."""

    checked: int
    checked_bytes: int
    bad: int
    repaired: int


class Repaired(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair did: files looked at, shares made, shares still missing, and why."""

    looked: int
    repaired: int
    missing: int
    notes: tuple[str, ...] = ()


_read_asked = msgspec.msgpack.Decoder(Asked).decode
_read_told = msgspec.msgpack.Decoder(Told).decode
_read_standing = msgspec.msgpack.Decoder(CareTold).decode


def scrub_now(home: Home, progress: Progress | None = None) -> Scrub:
    """Have the keeper read all that lies on this device and repair what is bad; return when it is through."""
    told = _ask(home, "scrub", progress)
    return Scrub(checked=told.checked, checked_bytes=told.checked_bytes, bad=told.bad, repaired=told.repaired)


def repair_now(home: Home, progress: Progress | None = None) -> Repaired:
    """Have the keeper look at every file and repair all that can be; return when it is through."""
    told = _ask(home, "repair", progress)
    notes = ("some devices that are needed are away: it goes on by itself when they are back",) if told.missing else ()
    return Repaired(looked=told.looked, repaired=told.repaired, missing=told.missing, notes=notes)


def give_up_now(home: Home, node: str) -> None:
    """Tell the keeper that a device does not come back: what it kept is made anew now."""
    _ask(home, "give up", None, node=node)


def care_standing(home: Home) -> CareTold | None:
    """Return what the carer of this machine found last; None where there is none."""
    try:
        return _read_standing((home.depot_folder / STANDING).read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


class Attending:
    """The loop that carries requests out."""

    def __init__(self, folder: Path, watch: Watch, caring: Caring, scrubbing: Scrubbing) -> None:
        self._folder = folder
        self._watch = watch
        self._caring = caring
        self._scrubbing = scrubbing
        self._done = 0

    def step(self, now_ns: int) -> int:
        """Look whether something is asked, and do it."""
        try:
            asked = _read_asked((self._folder / "asked").read_bytes())
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return now_ns + LOOK_NS
        (self._folder / "asked").unlink(missing_ok=True)
        if asked.number != self._done:
            self._done = asked.number
            self._carry_out(asked, now_ns)
        return now_ns

    def _carry_out(self, asked: Asked, now_ns: int) -> None:
        told = Told(number=asked.number)
        said_s = 0.0

        def progress(at: int, of: int) -> None:
            nonlocal said_s
            if time.monotonic() > said_s + PROGRESS_S:
                said_s = time.monotonic()
                self._say(msgspec.structs.replace(told, at=at, of=of))

        self._say(told)
        try:
            told = self._do(asked, told, now_ns, progress)
        except (WorldError, OSError) as error:
            told = msgspec.structs.replace(told, error=str(error))
        self._say(msgspec.structs.replace(told, done=True))

    def _do(self, asked: Asked, told: Told, now_ns: int, progress: Progress) -> Told:
        checked = checked_bytes = bad = 0
        match asked.what:
            case "scrub":
                checked, checked_bytes, bad = self._scrubbing.run_all(progress)
            case "give up":
                self._watch.give_up(asked.node)
                self._watch.look(now_ns)
            case "repair":
                self._watch.look(now_ns)
        repaired = self._caring.run_all(now_ns, progress) if bad or asked.what != "scrub" else 0
        return Told(
            number=told.number,
            checked=checked,
            checked_bytes=checked_bytes,
            bad=bad,
            looked=sum(1 for _ in self._caring.all_cares()),
            repaired=repaired,
            missing=self._caring.missing,
        )

    def _say(self, told: Told) -> None:
        with contextlib.suppress(DiskFull):
            write_durably(self._folder / "told", msgspec.msgpack.encode(told))


def _ask(home: Home, what: Literal["scrub", "repair", "give up"], progress: Progress | None, *, node: str = "") -> Told:
    connection = Connection(home.socket_file)
    try:
        connection.ask("stores")  # the keeper begins to live when somebody comes for it
    finally:
        connection.close()
    return ask_keeper(home.depot_folder, what, progress, node=node)


def ask_keeper(
    folder: Path, what: Literal["scrub", "repair", "give up"], progress: Progress | None, *, node: str = ""
) -> Told:
    """Leave a request in a depot's folder and wait until it is carried out; NoAgent where nobody does."""
    number = secrets.randbits(62)
    if not folder.is_dir():
        raise NoAgent(
            "this machine keeps no files", hint="start it with: wos up; lend space with: wos storage lend 50GB"
        )
    write_durably(folder / "asked", msgspec.msgpack.encode(Asked(number=number, what=what, node=node)))
    heard_s, last = time.monotonic(), b""
    while True:
        with contextlib.suppress(OSError):
            data = (folder / "told").read_bytes()
            if data != last:
                heard_s, last = time.monotonic(), data
        told = _told(last, number)
        if told is not None and told.done:
            if told.error:
                raise Unreachable(told.error)
            return told
        if told is not None and progress is not None and told.of:
            progress(told.at, told.of)
        if time.monotonic() > heard_s + SILENCE_S:
            raise NoAgent("the keeper of this machine does not answer", hint="see: wos status; wos log")
        time.sleep(POLL_S)


def _told(data: bytes, number: int) -> Told | None:
    try:
        told = _read_told(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return told if told.number == number else None
