"""The nursery's process, begun before anything heavy is loaded: it loads what workers need while the agent loads the rest.

``begin`` at the very start of the agent's process, ``take`` when the lane host starts. A nursery that nobody takes sees the
end of its input and ends. Only the standard library is imported here.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Final, NamedTuple

HASH_SEED: Final = "0"

# The path comes through stdin, not as PYTHONPATH: commands that workers start must not inherit it. Nor the seed of hashes: it is
# one for the workers of all machines, so that what they make of a set, and where a text belongs among n, is the same.
_NURSERY = (
    'import os, sys; os.environ.pop("PYTHONHASHSEED"); sys.path[:] = sys.stdin.readline().rstrip("\\n").split("\\0"); '
    "from worldos.lanes.nursery import main; main()"
)


class Begun(NamedTuple):
    """A nursery that has its path and waits for its folder (``settle``); ``sock`` is our end."""

    process: subprocess.Popen[bytes]
    sock: socket.socket

    def settle(self, folder: str, cages: list[str]) -> None:
        """Say what it is responsible for; from now on it removes that when it ends."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{folder}\n{chr(0).join(cages)}\n".encode())
        self.process.stdin.close()


def spawn() -> Begun:
    """Start the process of a nursery."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)  # noqa: FBT003 - the socket's own signature
    process = subprocess.Popen(  # noqa: S603 - our own module, by our own interpreter
        [sys.executable, "-c", _NURSERY, str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONHASHSEED": HASH_SEED},
        start_new_session=True,
    )
    theirs.close()
    assert process.stdin is not None
    process.stdin.write(("\0".join(sys.path) + "\n").encode())
    process.stdin.flush()
    return Begun(process, ours)


_begun: list[Begun] = []


def begin() -> None:
    """Start the nursery that the lane host of this process will take."""
    _begun.append(spawn())


def take() -> Begun:
    """Return the nursery that was begun, or one started now."""
    return _begun.pop() if _begun else spawn()
