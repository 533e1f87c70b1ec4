"""A tape: what is kept without a name, under one secret: numbered parts, and a front that says which of them count.

What has a name stays in the directory and its history for 30 days; what is written every few seconds, and is worth nothing
once something newer is there, would fill both. A part is sealed, coded and spread like any file, and taken back when its owner
says so (stores keep what is dropped for a week, as ever). The front is a register: small, sealed, and of all that were written
only the last counts. So what is to be believed is what the front names; a part that it does not name is room to be given back.
Whoever has the secret reads and writes: it is to lie where only the account sees it. One tape has one writer.
Source: docs/reference/formats/entry.md (registers); docs/decisions/0044-write-ahead-log.md.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from worldos.errors import NotThere, WorldError
from worldos.files import logs
from worldos.files.limits import ABANDON_PATIENCE_S, ANSWER_S
from worldos.files.reader import read_range
from worldos.files.session import Session
from worldos.files.sharing import registers
from worldos.store import keys
from worldos.store.entry import NONCE_BYTES, open_body, seal_body, sign_entry
from worldos.store.manifest import share_ids, sign_withdrawal
from worldos.trust.keys import DeviceKey

_ABOUT = b"tape front"


class Tape:
    """One tape of this account. Errors are those of the files: Unreachable, DiskFull, OverQuota, Damaged."""

    def __init__(self, session: Session, secret: bytes) -> None:
        self.secret = secret
        self._session = session
        self._key = DeviceKey.from_seed(keys.derive(secret, "tape sign"))
        self._seal = keys.derive(secret, "tape seal")
        self._log = keys.derive(secret, "tape front")
        self._seq = 0

    # -- the front ------------------------------------------------------------------------------------------------------

    def front(self) -> bytes | None:
        """Return what the front says, as far as the stores that answer know; None where there is none, or it was ended."""
        entry = registers(self._session.stores.reachable(), {self._log: self._key.public}).get(self._log)
        if entry is None:
            return None
        self._seq = entry.seq
        return open_body(self._seal, entry.body, about=_ABOUT) or None

    def write_front(self, said: bytes) -> None:
        """Let the front say this from now on; return when as many devices have it as a file's manifest is on."""
        body = seal_body(self._seal, said, os.urandom(NONCE_BYTES), about=_ABOUT)
        entry = sign_entry(self._key, self._log, self._seq + 1, body, register=True)
        self._seq += 1  # also where we do not hear that it was kept: it may be
        session = self._session
        logs.append(session.stores.reachable(), [entry], devices=session.code().k + 1)

    # -- the parts ------------------------------------------------------------------------------------------------------

    def keep(self, number: int, data: Iterable[bytes]) -> int:
        """Keep a part under a number that was never used; return how many bytes it has."""
        upload = self._session.uploads.begin(write=self._write(number))
        try:
            for piece in data:
                upload.write(piece)
            return upload.finish(modified_ns=time.time_ns(), inline=False).size_bytes
        except BaseException:
            upload.abandon()
            raise

    def read(self, number: int) -> Iterator[memoryview]:
        """Yield a part, piece by piece, each good until the next one is asked for."""
        opened = self._session.shelf.manifest(keys.read_of(self._write(number)))
        yield from read_range(self._session.shelf, opened, 0, opened.contents.size_bytes)

    def take_back(self, numbers: Iterable[int]) -> None:
        """Give the room of parts back, as far as stores answer; numbers without a part cost a question."""
        for shipment in list(self._session.uploads.unfinished):
            shipment.finish(ABANDON_PATIENCE_S)  # so that what is dropped does not come after its drop
        for number in numbers:
            self._take_back(self._write(number))

    def end(self, numbers: Iterable[int]) -> None:
        """Take back these parts, and let the front say that this tape is over."""
        self.write_front(b"")
        self.take_back(numbers)

    def _take_back(self, write: bytes) -> None:
        verify = keys.verify_of(keys.read_of(write))
        log = keys.locator_of(verify)
        stores = [store for store in self._session.stores.reachable() if not store.doubted]
        entry = logs.last(stores, (log,)).get(log)
        if entry is None:
            return
        with contextlib.suppress(NotThere):  # it was taken back before
            segments = self._session.shelf.manifest(keys.read_of(write)).made.segments
            shares = [share for segment in segments for share in share_ids(segment, verify)]
            _all([store.ask(lambda link: link.drop(shares)) for store in stores])
        withdrawal = sign_withdrawal(write, entry.seq + 1, (os.urandom(NONCE_BYTES), os.urandom(NONCE_BYTES)))
        _all([store.ask(lambda link: link.append([withdrawal])) for store in stores])
        _all([store.ask(lambda link: link.forget(log)) for store in stores])

    def _write(self, number: int) -> bytes:
        return keys.derive(self.secret, "tape part", number.to_bytes(8, "big"))


def _all(futures: Sequence[Future[Any]]) -> None:
    """Wait for all; a store that does not answer keeps what it has until a carer asks it again."""
    for future in futures:
        with contextlib.suppress(WorldError, TimeoutError):
            future.result(ANSWER_S)
