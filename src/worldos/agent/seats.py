"""The council seats of this machine on its disk: a write-ahead log each, opened when the agent starts or a seat is taken.

``council/r-REALM/`` in the home holds a seat's log, ``council-witness/r-REALM`` how far it was once (see wal.py): elsewhere, so
that who brings ``council`` back from a backup does not bring an old witness along. The name of a realm may come from a stranger,
so it is quoted before it becomes the name of a folder.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote

from worldos.agent.home import make_folder
from worldos.agent.wal import Wal
from worldos.agent.wal_writer import WalWriter
from worldos.errors import WorldError
from worldos.kernel.effects import Persist
from worldos.kernel.stored import Recovered
from worldos.model.realm import RealmId

PREFIX = "r-"
WITNESS = "-witness"


class Seats:
    """All seats' logs. ``done(realm, number)`` and ``failed(realm, why)`` are called in the event loop."""

    def __init__(
        self, folder: Path, done: Callable[[RealmId, int], None], failed: Callable[[RealmId, str], None]
    ) -> None:
        self._folder = folder
        self._done = done
        self._failed = failed
        self._writer: WalWriter | None = None
        self._logs: dict[RealmId, Wal] = {}

    def open_all(self) -> dict[RealmId, Recovered]:
        """Open every log that there is; return what each has."""
        if not has_seats(self._folder):
            return {}
        names = sorted(path.name for path in self._folder.iterdir() if path.is_dir() and path.name.startswith(PREFIX))
        return {realm: self._open(realm).recovered for realm in (RealmId(unquote(n[len(PREFIX) :])) for n in names)}

    def append(self, effect: Persist) -> None:
        """Write something down; a seat that cannot be written any more says nothing, and so takes no part."""
        try:
            log = self._logs.get(effect.realm) or self._open(effect.realm)
        except WorldError as error:
            self._failed(effect.realm, str(error))
            return
        log.append(effect.number, effect.vote, effect.entries, effect.snapshot)

    def mend(self, realm: RealmId) -> None:
        """Note that a damaged log is whole again."""
        log = self._logs.get(realm)
        if log is not None:
            log.mended()

    def drop(self, realm: RealmId) -> None:
        """This machine has no such seat any more: forget what was stored for it."""
        log = self._logs.pop(realm, None)
        if log is not None:
            log.erase()
            return
        path = self._path(realm)
        shutil.rmtree(path, ignore_errors=True)
        self._witness(path).unlink(missing_ok=True)

    def close(self) -> None:
        """Write down what is queued, and end."""
        for log in self._logs.values():
            log.close()
        self._logs.clear()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _path(self, realm: RealmId) -> Path:
        return self._folder / (PREFIX + quote(realm, safe=""))

    def _witness(self, path: Path) -> Path:
        return self._folder.with_name(self._folder.name + WITNESS) / path.name

    def _open(self, realm: RealmId) -> Wal:
        path = self._path(realm)
        witness = self._witness(path)
        for folder in (self._folder, witness.parent):
            make_folder(folder)
        if self._writer is None:
            self._writer = WalWriter(asyncio.get_running_loop())
        log = Wal(
            path,
            witness,
            self._writer,
            done=lambda number: self._done(realm, number),
            failed=lambda error: self._failed(realm, str(error)),
        )
        self._logs[realm] = log
        return log


def has_seats(folder: Path) -> bool:
    """Tell whether a home ever had a council seat."""
    return folder.is_dir()
