"""Homes of one account for tests: real keys and key logs on disk, no agents."""

from __future__ import annotations

from pathlib import Path

from worldos.agent.home import open_key, write_keylog
from worldos.agent.start import make_account, recover_account, stored_log
from worldos.home import Home
from worldos.model.wire import LogEntry
from worldos.trust.entries import accept_claim
from worldos.trust.keylog import KeyLog, add_device, remove_device
from worldos.trust.roots import root_certificate


def log_of(home: Home) -> KeyLog:
    log = stored_log(home)
    assert log is not None
    return log


def entries_of(log: KeyLog) -> tuple[LogEntry, ...]:
    return tuple((signed.body, signed.signature) for signed in log.entries.values())


class Family:
    """One account: its first home is made with it, others join, and all of them may be told of each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.homes: list[Home] = []
        first = self._home()
        self.words = make_account(first, "first")

    def _home(self) -> Home:
        home = Home(self.folder / f"h{len(self.homes)}")
        home.path.mkdir(mode=0o700, parents=True)
        self.homes.append(home)
        return home

    def join(self) -> Home:
        """Have a new device admitted by the first, and tell all of it."""
        log, admitter = log_of(self.homes[0]), open_key(self.homes[0])
        home = self._home()
        key = open_key(home)
        name = f"device {len(self.homes)}"
        claim = accept_claim(key, log.account, name, root_certificate(key))
        log.merge([add_device(log, admitter, claim)])
        self.tell(log)
        return home

    def put_out(self, place: int) -> None:
        log = log_of(self.homes[0])
        log.merge([remove_device(log, open_key(self.homes[0]), open_key(self.homes[place]).node_id)])
        self.tell(log)

    def recover(self) -> Home:
        """A bare machine takes the account by its words; it knows nobody else, and nobody it."""
        home = self._home()
        recover_account(home, "new", self.words)
        return home

    def tell(self, log: KeyLog) -> None:
        for home in self.homes:
            write_keylog(home, entries_of(log))
