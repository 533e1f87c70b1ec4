"""Which classes of isolation this machine can give, found by trying; and why it cannot give the others.

At first only what is quick to see is looked at, so that no start waits for it. ``prove`` makes a real sandbox, sees it shut its
doors, and ends it: a kernel may refuse what everything promised. What it found holds until the next proof.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from worldos.errors import WorldError
from worldos.lanes import leftovers, sandbox, seccomp, sweep
from worldos.model.isolation import Isolation

USER_NAMESPACES: Final = Path("/proc/sys/user/max_user_namespaces")


class Classes:
    """What this machine can give. ``word`` is the fact of its offer."""

    def __init__(self) -> None:
        self._missing: dict[Isolation, str] = {}
        if importlib.util.find_spec("wasmtime") is None:
            self._missing[Isolation.WASM] = "wasmtime is not installed (pip install wasmtime)"
        why = _seen()
        if why:
            self._missing[Isolation.SANDBOX] = why

    @property
    def word(self) -> str:
        """The classes as words, the weakest first."""
        return " ".join(each for each in Isolation if each not in self._missing)

    @property
    def missing(self) -> Mapping[Isolation, str]:
        """The classes that this machine cannot give, with why."""
        return self._missing

    def can(self, isolation: str) -> bool:
        """Tell whether it can give a class."""
        return Isolation(isolation) not in self._missing

    def why(self, isolation: str) -> str:
        """Say why it cannot."""
        return f"this machine cannot give the class {isolation}: {self._missing[Isolation(isolation)]}"

    def prove(self) -> None:
        """Make a sandbox and end it again. Blocks for a moment: in a thread."""
        if not _seen():
            why = asyncio.run(_proof())
            self._missing.pop(Isolation.SANDBOX, None)
            if why:
                self._missing[Isolation.SANDBOX] = why


def _seen() -> str:
    """Say why there can be no sandbox, as far as a look tells."""
    if not sandbox.bubblewrap():
        return "bubblewrap is not installed (apt install bubblewrap)"
    if not seccomp.is_known():
        return "there is no filter of system calls for its processor"
    try:
        is_none = os.geteuid() != 0 and int(USER_NAMESPACES.read_text()) == 0
    except (OSError, ValueError):
        is_none = os.geteuid() != 0
    return "its users may not make namespaces (sysctl user.max_user_namespaces)" if is_none else ""


async def _proof() -> str:
    folder, lock = leftovers.run_folder("proof")
    try:
        room = sandbox.Room(folder / "room", sandbox.Extra())
        try:
            await room.settle()
        except (WorldError, OSError) as error:
            return str(error)
        finally:
            await asyncio.to_thread(room.demolish)
    finally:
        sweep.remove(folder)
        os.close(lock)
    return ""
