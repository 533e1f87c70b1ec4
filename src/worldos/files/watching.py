"""Who keeps our shares, as one keeper sees them: who answers, who only sleeps, who is lost, and who lied.

Feeds the two clocks of store/presence.py: by depots that answer, and by *beats*. A beat is a register of each device, on every
depot of the site like all logs: its number rises while the device lives, so two devices that are never on at the same time know
of each other by a third. In it stands also what the device would tell the others: whom it declared lost, and where it put the
shares that it made of late, so that nobody makes them twice. Nothing depends on a beat but the care of carers.

What is learnt lies in ``<home>/depot/watch`` and outlives the keeper. Format of a beat's body: docs/reference/formats/beat.md.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec

from worldos.agent.home import write_durably
from worldos.depot.block_store import BlockStore
from worldos.errors import DiskFull, WorldError
from worldos.files.holders import Holders
from worldos.files.limits import STANDING_S
from worldos.files.stores import Store, Stores, answers
from worldos.files.syncing import Peers
from worldos.store import audit
from worldos.store.entry import Entry, sign_entry
from worldos.store.keys import derive
from worldos.store.presence import Learnt, Presence, Status
from worldos.trust.keys import DeviceKey, public_of

SECOND: Final = 1_000_000_000
LOOK_NS: Final = 30 * SECOND
CAME_NS: Final = 600 * SECOND  # who was silent for so long has come back: what it has is asked again
BEAT_NS: Final = 900 * SECOND
NEWS_NS: Final = 10 * SECOND  # news for other carers waits this long for more
SAVE_NS: Final = 60 * SECOND
ANSWER_S: Final = 2.0
NOTES_MAX: Final = 4096
LOST_MAX: Final = 1024
PEERS_S: Final = 2.0
BEAT_VERSION: Final = 1

Name = Annotated[str, msgspec.Meta(max_length=128)]


class Note(msgspec.Struct, frozen=True, array_like=True):
    """A share that was made, and where it is now."""

    segment: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
    index: Annotated[int, msgspec.Meta(ge=0, lt=256)]
    node: Name


class Beat(msgspec.Struct, frozen=True, array_like=True):
    """What a device tells the other carers of its account."""

    version: int
    lost: Annotated[tuple[Name, ...], msgspec.Meta(max_length=LOST_MAX)]
    notes: Annotated[tuple[Note, ...], msgspec.Meta(max_length=NOTES_MAX)]


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """What goes to the disk."""

    saved_ns: int
    learnt: tuple[Learnt, ...]
    reputations: dict[str, audit.Reputation]


_read_beat = msgspec.msgpack.Decoder(Beat).decode
_read_saved = msgspec.msgpack.Decoder(Saved).decode
_encode = msgspec.msgpack.Encoder().encode


def beat_log(account: str, public: bytes) -> bytes:
    """Return the id of the register in which a device of an account beats."""
    return derive(account.encode(), "beat", public)


class Watch:
    """Everybody who keeps something, and what is believed of them. Safe to use from many threads."""

    def __init__(
        self,
        folder: Path,
        account: str,
        key: DeviceKey,
        store: BlockStore,
        stores: Stores,
        tell: Callable[[Sequence[Entry]], None],
    ) -> None:
        """``tell`` brings our own entries to the other depots."""
        self.account = account
        self.me = str(key.node_id)
        self.stores = stores
        self.holders = Holders(folder / "holders")
        self._file = folder / "watch"
        self._key = key
        self._store = store
        self._tell = tell
        saved = self._read()
        self._presence = Presence(saved.learnt, saved_ns=saved.saved_ns)
        self._reputations = dict(saved.reputations)
        self._beats: dict[str, int] = {}  # the number of each device's beat that was seen last
        self._notes: deque[Note] = deque(maxlen=NOTES_MAX)
        self._lost: frozenset[str] = frozenset()
        self._looked_ns = self._beat_ns = self._saved_ns = self._news_ns = 0
        self._reached: frozenset[str] = frozenset()
        self._peers = Peers()
        self._peers_at_s = -PEERS_S
        self._lock = threading.RLock()

    # -- who is there ------------------------------------------------------------------------------------------------------

    def peers(self) -> Peers:
        """Return the other stores that can be reached now; none while no agent runs."""
        with self._lock:
            if time.monotonic() < self._peers_at_s + PEERS_S:
                return self._peers
            self._peers_at_s = time.monotonic()
        try:
            reachable = [store for store in self.stores.reachable() if store.at.node != self.me]
        except WorldError:
            reachable = []
        peers = Peers(
            tuple(store for store in reachable if store.at.account == self.account),
            tuple(store for store in reachable if store.at.account != self.account),
        )
        with self._lock:
            self._peers = peers
        return peers

    def reachable(self) -> list[Store]:
        """Return all stores that answer, this machine's too; not those that lied too often."""
        peers = self.peers()
        here = self.stores.on(self.me)
        found = ([here] if here is not None and here.at.path else []) + [*peers.own, *peers.foreign]
        return [store for store in found if not store.doubted and self.trusted(store.at.node)]

    def look(self, now_ns: int) -> bool:
        """Take in signs of life, if it is time to; tell whether somebody came, went or was declared lost since."""
        peers = self.peers()
        names = frozenset(store.at.node for store in (*peers.own, *peers.foreign) if not store.doubted)
        with self._lock:
            self._presence.watch(now_ns)
            changed, self._reached = names != self._reached, names
            if not changed and 0 <= now_ns - self._looked_ns < LOOK_NS:
                self._beat(now_ns)
                return False
            self._looked_ns = now_ns
        told = answers(
            [*peers.own, *peers.foreign], lambda link: link.have(()), within_s=ANSWER_S, patience_s=STANDING_S
        )
        with self._lock:
            before = self._lost
            came = [node for node in told if not 0 <= self._presence.silent_ns(node) <= CAME_NS]
            for node in told:
                self._presence.seen(node, now_ns)
            self._hear_beats(now_ns)
            nodes = self._presence.nodes()
            self._lost = frozenset(node for node in nodes if self._presence.status(node, now_ns) is Status.LOST)
            if self._lost - before:
                self._news_ns = self._news_ns or now_ns
            self._beat(now_ns)
            self._save(now_ns)
            return changed or bool(came) or self._lost != before

    def split(self, nodes: Sequence[str], here: Sequence[str]) -> tuple[frozenset[str], frozenset[str]]:
        """Return which of these nodes sleep and which are lost; those in ``here`` are neither."""
        with self._lock:
            away = set(nodes) - set(here)
            lost = (self._lost & away) | {node for node in away if not self.trusted(node)}
            return frozenset(away - lost), frozenset(lost)

    def asleep_since(self, at_ns: int, now_ns: int, here: Sequence[str]) -> list[str]:
        """Return the devices that sleep now and did not sleep at ``at_ns`` already: they may have what was written then."""
        with self._lock:
            nodes = [node for node in self._presence.nodes() if node not in here and node not in self._lost]
            return [node for node in nodes if self._presence.silent_ns(node) <= now_ns - at_ns]

    def give_up(self, node: str) -> None:
        """Take the owner's word that a device does not come back."""
        with self._lock:
            self._presence.give_up(node)
            self._looked_ns = 0

    @property
    def lost(self) -> frozenset[str]:
        """Return who is declared lost."""
        return self._lost

    def online_ppm(self, node: str) -> int:
        """Return how much of the time a device is on line."""
        with self._lock:
            return self._presence.online_ppm(node)

    # -- who lied ----------------------------------------------------------------------------------------------------------

    def judged(self, node: str, verdict: audit.Verdict) -> None:
        """Take in what an answer of a store was worth."""
        with self._lock:
            self._reputations[node] = audit.after(self._reputations.get(node, audit.Reputation()), verdict)

    def reputation(self, node: str) -> audit.Reputation:
        """Return what a store's answers were worth so far."""
        with self._lock:
            return self._reputations.get(node, audit.Reputation())

    def reputations(self) -> dict[str, audit.Reputation]:
        """Return those of all stores that were audited."""
        with self._lock:
            return dict(sorted(self._reputations.items()))

    def trusted(self, node: str) -> bool:
        """Tell whether what a store has still counts. Our own disk is scrubbed, not doubted."""
        return node == self.me or self.reputation(node).trusted

    # -- what carers tell each other -----------------------------------------------------------------------------------------

    def made(self, segment: bytes, index: int, node: str, now_ns: int) -> None:
        """Note for the other carers, and remember, where a share that was made here is now."""
        self.holders.noted(segment, index, node)
        with self._lock:
            self._notes.append(Note(segment, index, node))
            self._news_ns = self._news_ns or now_ns

    def _beat(self, now_ns: int) -> None:
        """Write our own register, if it is time to, or if there is news."""
        news = self._news_ns and now_ns - self._news_ns >= NEWS_NS
        if not news and 0 <= now_ns - self._beat_ns < BEAT_NS:
            return
        self._beat_ns, self._news_ns = now_ns, 0
        log = beat_log(self.account, self._key.public)
        last = self._store.last(log)
        body = _encode(Beat(BEAT_VERSION, tuple(sorted(self._lost))[:LOST_MAX], tuple(self._notes)))
        entry = sign_entry(self._key, log, last.seq + 1 if last is not None else 1, body, register=True)
        try:
            self._store.append_many([entry])
        except DiskFull:
            return  # a full disk beats no more; the links still tell that we live
        self._tell([entry])

    def _hear_beats(self, now_ns: int) -> None:
        """Take in what rose since it was read last."""
        for store in self.stores.known():
            if store.at.account == self.account and store.at.node != self.me:
                self._presence.expect(store.at.node)
        for node in sorted({*self._presence.nodes()} - {self.me}):
            try:
                public = public_of(node)
                entry = self._store.last(beat_log(self.account, public))
                if entry is None or entry.public != public or not entry.register:
                    continue
                beat = _read_beat(entry.body)
            except (WorldError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            before = self._beats.get(node)
            self._beats[node] = entry.seq
            if before == entry.seq:
                continue
            if before is not None:
                self._presence.seen(node, now_ns)
            for other in beat.lost:
                if other != self.me:
                    self._presence.doubt(other)
            for note in beat.notes:
                self.holders.noted(note.segment, note.index, note.node)

    # -- the disk ----------------------------------------------------------------------------------------------------------

    def _read(self) -> Saved:
        try:
            return _read_saved(self._file.read_bytes())
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return Saved(saved_ns=0, learnt=(), reputations={})

    def _save(self, now_ns: int) -> None:
        if 0 <= now_ns - self._saved_ns < SAVE_NS:
            return
        self._saved_ns = now_ns
        saved = Saved(saved_ns=now_ns, learnt=self._presence.snapshot(), reputations=self._reputations)
        try:
            write_durably(self._file, _encode(saved))
        except DiskFull:
            return  # what was learnt lives on in memory

    def close(self) -> None:
        """Save, and end."""
        with self._lock:
            self._saved_ns = 0
            if self._looked_ns:
                self._save(self._looked_ns)
        self.holders.close()
        self.stores.close()
