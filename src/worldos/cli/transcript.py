"""A transcript: what a command puts out, told on in a session while it runs, so that another device can follow.

The command never waits for it: pieces are gathered for a moment and written by a thread; what comes faster than
``PIECES_PER_S`` pieces is left out, and the transcript says how much. Where another device takes the session over, the
transcript ends and the command goes on.
"""

from __future__ import annotations

import codecs
import shlex
import sys
import threading
import time
from types import TracebackType
from typing import Final, Self

from worldos.errors import BadRequest, WorldError
from worldos.home import Home
from worldos.sdk.asking import Asking

PIECE_BYTES: Final = 8 * 1024
GATHER_S: Final = 0.15
PIECES_PER_S: Final = 20
WAITING_BYTES_MAX: Final = 512 * 1024
END_S: Final = 5.0


class Transcript:
    """The writing end. Use it in a ``with``; give ``hear`` what the command puts out."""

    def __init__(self, home: Home, session: str, command: list[str]) -> None:
        self._home = home
        self._session = _ready(home, session)
        self._command = shlex.join(command)
        self._waiting = bytearray()
        self._left_out = 0
        self._told = threading.Condition()
        self._ended = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._thread = threading.Thread(target=self._write_all, name="transcript", daemon=True)

    def __enter__(self) -> Self:
        """Begin: say which command it is."""
        self._say(f"$ {self._command}"[:1000])
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End: what waits is written, within a bound."""
        with self._told:
            self._ended = True
            self._told.notify()
        self._thread.join(END_S)

    def hear(self, data: bytes | bytearray) -> None:
        """Take what the command put out; never waits."""
        with self._told:
            room = max(0, WAITING_BYTES_MAX - len(self._waiting))
            self._waiting += data[:room]
            self._left_out += max(0, len(data) - room)
            self._told.notify()

    def exited(self, code: int) -> None:
        """Say how the command ended."""
        with self._told:
            self._ended = True
            self._told.notify()
        self._thread.join(END_S)
        self._say(f"exit code {code}: {self._command}"[:1000])

    def _write_all(self) -> None:
        while True:
            with self._told:
                self._told.wait_for(lambda: bool(self._waiting) or self._ended)
            time.sleep(0 if self._ended or len(self._waiting) >= PIECE_BYTES else GATHER_S)
            with self._told:
                data, self._waiting = bytes(self._waiting[:PIECE_BYTES]), self._waiting[PIECE_BYTES:]
                left_out = 0 if self._waiting else self._left_out
                self._left_out -= left_out
                last = self._ended and not self._waiting
            text = self._decoder.decode(data, final=last)
            if left_out:
                text += f"\n... {left_out} bytes left out: they came too fast\n"
            if text and not self._say(text, kind="out"):
                return
            if last:
                return
            time.sleep(1 / PIECES_PER_S)

    def _say(self, text: str, kind: str = "say") -> bool:
        try:
            with Asking(self._home) as agent:
                agent.ask("session_say", session=self._session, text=text, kind=kind)
        except WorldError as error:
            sys.stderr.write(f"wos: the session hears no more of this command: {error}\n")
            return False
        return True


def _ready(home: Home, session: str) -> str:
    """Return the id of the session of this name, in which this device writes from now on; begin it if there is none."""
    with Asking(home) as agent:
        try:
            row = agent.ask("session_show", session=session, since=1 << 52)
        except BadRequest:
            row = None
        if row is None or not row["open"]:
            row = agent.ask("session_start", name=session)
        elif not row["here"]:
            row = agent.ask("session_move", session=row["id"])
    return str(row["id"])
