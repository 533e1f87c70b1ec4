"""Providers: what this home knows of the machines of others that worked for it: how often they were checked, and who lied.

The rule is kernel/auditing: the first jobs of a provider are all done twice and compared, later a share drawn after the job was
done; one wrong answer ends it. Here it gets its dice and its file. Who loses the file begins with a new probation, no more.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from worldos.agent.home import make_folder, write_durably
from worldos.errors import DiskFull
from worldos.kernel.auditing import MILLION, PROBATION_CHECKS, Auditing
from worldos.model.ids import NodeId


class Providers:
    """The records of one home."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._auditing: Auditing | None = None

    def wants_check(self, node: NodeId) -> bool:
        """Tell whether the job that this provider has just done is to be done again elsewhere."""
        return self._records().wants_check(node, secrets.randbelow(MILLION))

    def checked(self, node: NodeId, *, is_right: bool) -> None:
        """Take in what came of a check."""
        self._records().checked(node, is_right=is_right)
        with suppress(DiskFull):  # then it is checked anew in the next life
            make_folder(self._file.parent)
            write_durably(self._file, msgspec.msgpack.encode(self._records()))

    def why_out(self, node: NodeId) -> str:
        """Say why a provider gets no more jobs; nothing if it does."""
        records = self._records()
        return records.records[node].out if records.is_out(node) else ""

    def rows(self) -> list[dict[str, Any]]:
        """Say what is known of each, by id."""
        return [
            {
                "node": node,
                "of": "calls",
                "jobs": record.jobs,
                "checks": record.checks,
                "probation": record.checks < PROBATION_CHECKS,
                "checked_ppm": record.rate_ppm,
                "out": record.out,
            }
            for node, record in sorted(self._records().records.items())
        ]

    def _records(self) -> Auditing:
        if self._auditing is None:
            self._auditing = Auditing()
            with suppress(OSError, msgspec.DecodeError, msgspec.ValidationError):
                self._auditing = msgspec.msgpack.decode(self._file.read_bytes(), type=Auditing)
        return self._auditing
