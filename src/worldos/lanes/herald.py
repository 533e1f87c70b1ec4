"""What is done leaves although the next call takes long: a thread of the worker that sends results which are kept back.

Results of small calls travel together, so one may lie here while the call after it runs; its caller must not wait for that
call, least of all when the call waits for the caller. The thread is begun when a second call first finds results of another
kept back, and sleeps while there are none.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

PROMPT_S: Final = 0.005


class Herald:
    """The thread. ``send`` sends what is kept back, from whichever thread; it may raise OSError when the holder is gone."""

    def __init__(self, send: Callable[[], None]) -> None:
        self._send = send
        self._bell = threading.Event()
        self._thread: threading.Thread | None = None
        self._rung = False

    def watch(self) -> None:
        """Note that something is kept back while another call begins."""
        if self._rung:
            return
        self._rung = True
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="worldos-herald", daemon=True)
            self._thread.start()
        self._bell.set()

    def _run(self) -> None:
        while True:
            self._bell.wait()
            self._bell.clear()
            time.sleep(PROMPT_S)
            self._rung = False
            try:
                self._send()
            except OSError:
                return
