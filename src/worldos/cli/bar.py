"""The bar of a put or get: what goes on now, how far it is, how fast. It comes when something takes long, and leaves no trace."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

if TYPE_CHECKING:
    from worldos.files.about import Progress as Far

PATIENCE_S = 0.4
BAR_CELLS = 28
NAME_CHARS = 40


class Bar:
    """Follows what ``put`` and ``get`` tell."""

    def __init__(self, what: str, console: Console | None = None) -> None:
        self._what = what
        self._since = time.monotonic()
        self._drawn = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=BAR_CELLS),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            console=console or Console(stderr=True, highlight=False),
            transient=True,
        )
        self._task = self._drawn.add_task(what, total=None)
        self._begun = False

    def __enter__(self) -> Self:
        """Begin to wait."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave no trace."""
        if self._begun:
            self._drawn.stop()

    def follow(self, far: Far) -> None:
        """Show how far it is."""
        if not self._begun and time.monotonic() - self._since > PATIENCE_S:
            self._begun = True
            self._drawn.start()
        if far.notice:
            self._drawn.console.print(far.notice, markup=False, soft_wrap=True)
        total = far.total_bytes if far.total_bytes >= 0 else None
        self._drawn.update(self._task, description=self._said(far), completed=far.done_bytes, total=total)

    def _said(self, far: Far) -> str:
        count = f" {far.done_files} files," if far.done_files > 1 else ""
        name = far.name if len(far.name) <= NAME_CHARS else f"...{far.name[3 - NAME_CHARS :]}"
        return f"{self._what}{count} {name}"
