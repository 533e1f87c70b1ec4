"""Permits: what of the files a grant opens, for what serves them to programs that have no rights of their own.

Whether the grant holds is asked of the agent, since it may end or be revoked; an answer is remembered for a moment. What lies on
the way to something that may be read is shown, so that it can be found; nothing else is.
"""

from __future__ import annotations

import threading
import time

from worldos.config import Home
from worldos.model.rights import FILES, Op, file_labels
from worldos.sdk.asking import Asking
from worldos.trust.grant import read_chain

REMEMBERED_S = 2.0
REMEMBERED_MAX = 4096


class Permit:
    """One grant, as it opens files. Used by many threads."""

    def __init__(self, home: Home, grant: bytes) -> None:
        self._grant = grant
        authority = read_chain(grant).authority
        self._account = str(authority.account)
        self._paths = authority.paths
        self._lock = threading.Lock()
        self._agent = Asking(home, "files")
        self._known: dict[tuple[Op, tuple[str, ...]], tuple[float, str]] = {}

    def refusal(self, op: Op, name: str) -> str:
        """Say why this may not be done with a file or folder, or nothing."""
        below = (FILES, *file_labels(name))
        with self._lock:
            at_s, why = self._known.get((op, below), (-REMEMBERED_S, ""))
            if time.monotonic() - at_s < REMEMBERED_S:
                return why
            why = str(self._agent.ask("weigh", grant=self._grant, op=str(op), below=below))
            if len(self._known) >= REMEMBERED_MAX:
                self._known.clear()
            self._known[op, below] = (time.monotonic(), why)
            return why

    def leads_to(self, name: str) -> bool:
        """Tell whether something that the grant names lies below this folder."""
        path = (self._account, FILES, *file_labels(name))
        return all(any(named[: len(path)] == path for named in paths) for paths in self._paths)

    def close(self) -> None:
        """Hang up."""
        self._agent.close()
