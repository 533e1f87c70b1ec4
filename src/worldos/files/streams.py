"""A file being written piece by piece: it gets its name when it is closed, and nothing of it is seen before."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import TracebackType

from worldos.files.writer import Upload


class FileWriter(io.RawIOBase):
    """Takes bytes in order. ``close`` keeps the file under its name; ``discard``, or an error in a with block, does not."""

    def __init__(self, upload: Upload, keep: Callable[[Upload], None]) -> None:
        self._upload = upload
        self._keep = keep
        self._over = False

    def writable(self) -> bool:
        """It can be written."""
        return True

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._upload.size_bytes

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override] # io takes any buffer
        """Take in bytes; waits while the stores are slower."""
        if self._over:
            raise ValueError("write to a closed file")
        view = memoryview(data).cast("B")
        self._upload.write(view)
        return len(view)

    def discard(self) -> None:
        """Forget all of it."""
        if not self._over:
            self._over = True
            self._upload.abandon()
            super().close()

    def close(self) -> None:
        """Keep it, under its name."""
        if self._over:
            return
        self._over = True
        try:
            self._keep(self._upload)
        except BaseException:
            self._upload.abandon()
            raise
        finally:
            super().close()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is not None:
            self.discard()
        self.close()

    def __del__(self) -> None:
        """What nobody closed was not finished: it is not kept."""
        if getattr(self, "_over", True):
            return
        self.discard()
