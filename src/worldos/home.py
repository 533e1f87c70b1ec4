"""Where World OS keeps its things on this machine.

Layout of a home (``$WORLDOS_HOME``, default ``~/.local/share/worldos``), all of it mode 0700 or 0600:
``config.toml`` choices; ``device.key`` the 32-byte seed of the device key, ``hybrid.key`` that of what is sealed to it;
``keylog`` the account's signed entries;
``statements`` what its devices signed (roles, guarded commands, sessions); ``state`` what is remembered between lives;
``journal/`` events in, one file a life; ``agent.sock`` the local API (or ``agent.path`` naming it, where the home's path
is too long for a Unix socket); ``agent.pid`` the lock; ``lanes/`` scratch;
``depot/`` what stores keep here, ``depot.sock`` the door to it; ``tenancies`` the stores of others that keep ours;
``mount.password`` what the WebDAV folder asks for.
Only the standard library is imported here: a program looks for its agent before it loads anything else.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

from worldos.errors import BadRequest

SOCKET_PATH_BYTES_MAX = 100  # sun_path holds 108 with its end; keep room for lane sockets beside it


class Home(NamedTuple):
    """The folder of one node."""

    path: Path

    @property
    def config_file(self) -> Path:
        """Return the choices' file."""
        return self.path / "config.toml"

    @property
    def key_file(self) -> Path:
        """Return the device key's file."""
        return self.path / "device.key"

    @property
    def keylog_file(self) -> Path:
        """Return the key log's file."""
        return self.path / "keylog"

    @property
    def state_file(self) -> Path:
        """Return the file of what is remembered between lives."""
        return self.path / "state"

    @property
    def hybrid_file(self) -> Path:
        """Return the file of the key that things are sealed to (trust/hybrid.py)."""
        return self.path / "hybrid.key"

    @property
    def copied_file(self) -> Path:
        """Return the file that says why this device must be claimed anew: its key lives twice."""
        return self.path / "copied"

    @property
    def statements_file(self) -> Path:
        """Return the file of what devices signed and this node keeps."""
        return self.path / "statements"

    @property
    def guard_file(self) -> Path:
        """Return the file of what the guard must not forget: rolls, the envelope, what was carried out."""
        return self.path / "guard"

    @property
    def updates_folder(self) -> Path:
        """Return the folder of updates that lie ready for the owner."""
        return self.path / "updates"

    @property
    def decisions_folder(self) -> Path:
        """Return the folder of the decision log."""
        return self.path / "decisions"

    @property
    def journal_folder(self) -> Path:
        """Return the folder of journals."""
        return self.path / "journal"

    @property
    def council_folder(self) -> Path:
        """Return the folder of the logs of council seats."""
        return self.path / "council"

    @property
    def depot_folder(self) -> Path:
        """Return the folder of what is kept here for stores."""
        return self.path / "depot"

    @property
    def depot_socket(self) -> Path:
        """Return the door to the depot."""
        return self.run_folder / "depot.sock"

    @property
    def given_file(self) -> Path:
        """Return the file that is there while something is given away by codes: then the depot answers to other accounts."""
        return self.path / "files" / "given"

    @property
    def lock_file(self) -> Path:
        """Return the file that a running agent holds locked."""
        return self.path / "agent.pid"

    @property
    def log_file(self) -> Path:
        """Return the agent's log of notices."""
        return self.path / "agent.log"

    @property
    def run_folder(self) -> Path:
        """Return a folder short enough for Unix sockets, private to this user and this home."""
        if len(bytes(self.path)) + len("/lanes/xxxxxxxx.sock") <= SOCKET_PATH_BYTES_MAX:
            return self.path
        import hashlib  # noqa: PLC0415 - only for long paths

        digest = hashlib.blake2b(bytes(self.path.absolute()), digest_size=8).hexdigest()
        return Path(f"/tmp/wos-{os.getuid()}-{digest}")  # noqa: S108 - made 0700 by the agent, owner checked

    @property
    def socket_file(self) -> Path:
        """Return the local API's socket."""
        return self.run_folder / "agent.sock"


def default_home() -> Home:
    """Return the home that ``$WORLDOS_HOME`` names, else the platform's data folder."""
    named = os.environ.get("WORLDOS_HOME")
    data = os.environ.get("XDG_DATA_HOME")
    try:
        if named:
            return Home(Path(named).expanduser().absolute())
        if sys.platform == "darwin":
            return Home(Path.home() / "Library" / "Application Support" / "worldos")
        return Home((Path(data) if data else Path.home() / ".local" / "share") / "worldos")
    except RuntimeError:
        raise BadRequest("this user has no home folder", hint="name a place: WORLDOS_HOME=/path") from None


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in a folder outlast a power cut; raise OSError where that fails."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
