"""The decision log of a running node: takes what was decided, and never lets anything wait for that.

``take`` is called with what one event decided and only puts it into a queue. Once a second, when something lies there, the
queue is written: records and leaves are made in small slices between other work of the event loop, the files are written and
synced in a thread, and then the new root is signed as a checkpoint. So a decision counts within about a second, and a crash
loses at most that second, of which no checkpoint speaks.

What cannot be written (a full disk) is counted, and the count is the next entry; a queue that is full does the same. A log that
was damaged or cut is set aside and told, and a new one begins: no witness that knew the old one will cosign that.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

from worldos.agent.decision_files import Batch, DecisionFiles, set_aside
from worldos.agent.draws import Draws
from worldos.errors import CorruptFile, DiskFull, NotThere
from worldos.kernel.decisions import Acted, Answered, Made
from worldos.kernel.effects import Notice
from worldos.kernel.records import (
    SALT_BYTES,
    Committed,
    Revealed,
    record_of,
    write_leaf,
    write_offer,
    write_record,
)
from worldos.model.ids import LeaseId, NodeId
from worldos.model.offer import Offer
from worldos.trust.keys import DeviceKey
from worldos.trust.note import sign_checkpoint

QUEUE_MAX: Final = 100_000
SLICE: Final = 32  # decisions that are made to bytes in one go: about a millisecond
EVERY_S: Final = 1.0
GRANTED_MAX: Final = 4096  # grants of which receipts can be given
HASHED_MAX: Final = 4096  # offers whose hashes are remembered
CODE: Final = (
    "kernel/blind.py",
    "kernel/cores.py",
    "kernel/decisions.py",
    "kernel/match.py",
    "kernel/match_gang.py",
    "kernel/question.py",
    "kernel/score.py",
    "kernel/spread.py",
    "model/units.py",
    "model/where.py",
)
"""What decides a choice: its hash is the first entry of each life, so that who replays knows which code to take."""

Entry = Made | Committed | Revealed


class Receipt(NamedTuple):
    """Where a grant is in the log, and what its leaf commits to."""

    number: int
    salt: bytes
    payload: bytes


class DecisionLog:
    """The log of this node. Without a folder (an embedded node) nothing is kept."""

    def __init__(self, folder: Path | None, key: DeviceKey, tell: Callable[[Notice], None]) -> None:
        self.folder = folder
        self.node = NodeId(key.node_id)
        self.key = key
        self.files: DecisionFiles | None = None
        self.damage = ""
        self.granted: dict[tuple[NodeId, LeaseId], Receipt] = {}  # of the newest grants
        self.grown: list[Callable[[], None]] = []  # called when a new checkpoint was signed
        self._tell = tell
        self._queue: deque[tuple[int, Entry]] = deque()
        self._missed = 0
        self._hashed: dict[int, tuple[Offer, bytes]] = {}
        self._writing = asyncio.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decisions")
        self.draws = Draws(folder.with_name("draws") if folder is not None else None)
        if folder is not None:
            try:
                self._open(folder)
            except DiskFull as error:  # it is tried again with the first thing to write
                tell(Notice(name="decision log stopped", fields={"why": str(error)}))

    def begin(self, life: int) -> None:
        """Put down that a life begins, by which code, and what its draws are committed to."""
        fields: dict[str, str | int] = {"life": life, "version": _version(), "code": code_hash()}
        if self.damage:
            fields["damaged"] = self.damage
        self.take([Acted(what="began", about=self.node, why="the agent started", fields=fields)])
        for over in self.draws.reveal_unfinished():
            self._put(over)
        for committed in self.draws.commitments():
            self._put(committed)

    def take(self, made: list[Made]) -> None:
        """Take over what was decided; returns at once."""
        for each in made:
            self._put(each)

    async def run(self) -> None:
        """Write what there is, every second, for as long as the agent lives."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Write all that was decided up to now, and sign the root."""
        if self.folder is None:
            self._queue.clear()
            return
        async with self._writing:
            try:
                await self._flush(self.folder)
            except DiskFull as error:
                if self.files is not None:
                    self._tell(Notice(name="decision log stopped", fields={"why": str(error)}))
                    self._missed += self.files.size - self.files.durable
                self.files = None  # opened again from what is on disk, which cuts off the half of a batch

    def close(self) -> None:
        """Write what is left, at the end of the agent, when no loop is there to slice the work."""
        self._thread.shutdown()  # a batch that is being written is written whole
        if self.folder is None or self.files is None:
            return
        while self._queue:
            self._append(self.files, *self._queue.popleft())
        batch = self.files.batch()
        try:
            if batch is not None:
                self._write(self.files, batch)
        except DiskFull as error:
            self._tell(Notice(name="decision log stopped", fields={"why": str(error)}))

    def witnessed(self, note: bytes, size: int) -> None:
        """A witness cosigned this checkpoint: ties may be drawn by what nobody could have known before."""
        for over in self.draws.witnessed(note, size):
            self._put(over)
            for committed in self.draws.commitments():
                self._put(committed)

    async def erase(self, number: int) -> None:
        """Take the words of a decision out of the files, and out of what receipts are given from."""
        self.granted = {key: receipt for key, receipt in self.granted.items() if receipt.number != number}
        async with self._writing:
            await asyncio.get_running_loop().run_in_executor(self._thread, self.whole().erase, number)

    # -- reading ----------------------------------------------------------------------------------------------------------

    def whole(self) -> DecisionFiles:
        """Return the files; raise NotThere where there are none."""
        if self.files is None:
            raise NotThere("this node keeps no decision log now", hint="wos log says why; an embedded node has none")
        return self.files

    # -- inside -----------------------------------------------------------------------------------------------------------

    def _put(self, entry: Entry) -> None:
        if len(self._queue) >= QUEUE_MAX:
            self._missed += 1
            return
        self._queue.append((int(time.time()), entry))

    def _open(self, folder: Path) -> None:
        try:
            self.files = DecisionFiles(folder)
        except CorruptFile as error:
            aside = set_aside(folder)
            self.damage = str(error)
            self._tell(Notice(name="decision log damaged", fields={"why": str(error), "kept_in": aside.name}))
            self.files = DecisionFiles(folder)

    async def _flush(self, folder: Path) -> None:
        if not self._queue and not self._missed:
            return
        if self.files is None:
            self._open(folder)
        files = self.whole()
        if self._missed:
            missed, self._missed = self._missed, 0
            fields: dict[str, str | int] = {"count": missed}
            gap = Acted(what="missed", about=self.node, why="these could not be written", fields=fields)
            self._append(files, int(time.time()), gap)
        left = len(self._queue)
        while left:
            for _ in range(min(left, SLICE)):
                self._append(files, *self._queue.popleft())
                left -= 1
            await asyncio.sleep(0)
        batch = files.batch()
        if batch is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write, files, batch)
            for told in self.grown:
                told()

    def _append(self, files: DecisionFiles, at_s: int, entry: Entry) -> None:
        fresh: dict[bytes, bytes] = {}
        files.turn()
        record = record_of(entry, lambda offer: self._keep(files, offer, fresh))
        payload = write_record(record)
        salt = secrets.token_bytes(SALT_BYTES)
        number = files.append(write_leaf(record, at_s, salt, payload), salt, payload, fresh)
        if isinstance(entry, Committed):
            self.draws.committed(entry.round, number)
        elif isinstance(entry, Answered) and entry.lease:
            if len(self.granted) >= GRANTED_MAX:
                del self.granted[next(iter(self.granted))]
            self.granted[entry.holder, entry.lease] = Receipt(number, salt, payload)

    def _keep(self, files: DecisionFiles, offer: Offer, fresh: dict[bytes, bytes]) -> bytes:
        """Return the hash of an offer, and see to it that this segment has it."""
        known = self._hashed.get(id(offer))
        if known is not None and known[0] is offer:
            hashed = known[1]
            if files.has_offer(hashed):
                return hashed
            data = write_offer(offer)
        else:
            data = write_offer(offer)
            hashed = sha256(data).digest()
            if len(self._hashed) >= HASHED_MAX:
                self._hashed.clear()
            self._hashed[id(offer)] = (offer, hashed)
        if not files.has_offer(hashed):
            fresh[hashed] = data
        return hashed

    def _write(self, files: DecisionFiles, batch: Batch) -> None:
        files.write(batch)
        self._sign(files)

    def _sign(self, files: DecisionFiles) -> None:
        files.save("checkpoint", sign_checkpoint(self.key, files.durable, files.root(files.durable)))


@lru_cache(maxsize=1)
def code_hash() -> str:
    """Return the hash of the code that chooses, 16 characters."""
    whole = sha256()
    for name in CODE:
        whole.update(resources.files("worldos").joinpath(name).read_bytes())
    return whole.hexdigest()[:16]


def _version() -> str:
    """Return the version; read from the package that runs, since importing it here would load what programs say as well."""
    return str(getattr(sys.modules.get("worldos"), "__version__", ""))
