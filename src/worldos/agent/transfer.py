"""A device goes from one owner to another: its home is wiped, and begins anew with a key that the old owner never had.

Three signatures: the new owner's admission and the acceptance of the device's new key (by a ticket, as any machine joins), and
the removal of its old key by the old owner. The new key and key log are made in a folder beside the old things
(``.transfer``); only when they are whole is the old key signed out, everything else wiped, and the new home moved in. What
is cut off in between goes on where it was: nothing of two owners is ever read by one agent.

The key changes because the old owner may have kept a copy of it. Keys are overwritten before they are removed; all else that
is secret was sealed to them. Others' shares in the depot go too: they have more elsewhere, and their owners repair.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from worldos.agent import home as homes
from worldos.agent.start import leave_files, stored_log
from worldos.errors import DiskFull, NotAllowed
from worldos.home import Home
from worldos.model.ids import NodeId
from worldos.trust.pairing import Joined

STAGE = ".transfer"


def stage_of(home: Home) -> Home:
    """Return the home that is made ready beside the old things."""
    stage = Home(home.path / STAGE)
    homes.make_folder(stage.path)
    return stage


def is_ready(home: Home) -> bool:
    """Tell whether a new owner's key log lies ready: a transfer was cut off after the ticket was used."""
    return (home.path / STAGE / "keylog").exists()


def is_signed_out(home: Home) -> bool:
    """Tell whether a transfer was cut off after the old key was put out: all that is left is to wipe and move in."""
    if not is_ready(home):
        return False
    log = stored_log(home)
    return log is None or not log.is_member(homes.open_key(home).node_id)


def become_theirs(home: Home) -> bool:
    """Wipe, and let what lies ready be the home, if the old owner's key was signed out; return whether it was so."""
    if not is_signed_out(home):
        return False
    wipe(home)
    move_in(home)
    return True


def become_member(home: Home, joined: Joined) -> None:
    """Write down what a ticket led to: the account's key log, and where its other devices are."""
    leave_files(home, joined.account)
    homes.write_keylog(home, tuple((signed.body, signed.signature) for signed in joined.entries))
    remembered = homes.read_remembered(home)
    remembered.peers = {NodeId(peer.node): peer.addresses for peer in joined.peers if peer.addresses}
    homes.write_remembered(home, remembered)


def wipe(home: Home) -> None:
    """Remove everything of the old owner; only what lies ready for the new one stays. No agent may run."""
    if homes.running_pid(home) is not None:
        raise NotAllowed("an agent runs on this home", hint="stop it first: wos down")
    for secret in (home.key_file, home.hybrid_file):
        _overwrite(secret)
    try:
        for entry in sorted(home.path.iterdir()):
            if entry.name == STAGE:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        if home.run_folder != home.path:
            shutil.rmtree(home.run_folder, ignore_errors=True)
        _sync(home.path)
    except OSError as cause:
        raise DiskFull(f"{home.path} cannot be wiped: do not hand this machine on") from cause


def move_in(home: Home) -> None:
    """Let what lies ready be the home."""
    stage = home.path / STAGE
    try:
        for entry in sorted(stage.iterdir(), key=lambda entry: entry.name == "keylog"):  # the key log last
            entry.replace(home.path / entry.name)
        stage.rmdir()
        _sync(home.path)
    except OSError as cause:
        raise DiskFull(f"{stage} cannot be moved to {home.path}") from cause


def _overwrite(file: Path) -> None:
    with suppress(FileNotFoundError), file.open("r+b") as old:
        old.write(os.urandom(max(32, file.stat().st_size)))
        old.flush()
        os.fsync(old.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
