"""What was removed and can be had back, and when it may be forgotten.

Nothing goes by a timer alone. What was removed is forgotten when all active devices have told that they saw it go (so
none can still say something about it), and not before 30 days of this keeper's own aging: time between two looks at
the clock, of which one look counts two days at most. So neither a clock that jumps nor a device that sleeps for a
month takes anything out of the history. What was only moved is then kept as if it had always been where it is. Times
are in ns. Source: A. Demers et al., "Epidemic Algorithms", PODC 1987 (death certificates), with acknowledgements.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping

import blake3
import msgspec

from worldos.store.limits import FORGET_STEP_NS, HISTORY_NS
from worldos.store.ops import FileRef, OpId, decode_file
from worldos.store.tree import Item, Order, Spot, Step, Tree

VERSION_BYTES = 5


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a file under one name: who put it there and when, and what became of it.

    ``version`` names it for people: 8 characters. ``ended_ns`` is 0 while it is current.
    """

    path: str
    version: str
    id: OpId
    file: FileRef
    device: bytes
    at_ns: int
    current: bool
    ended_ns: int = 0
    ended_by: bytes = b""
    moved_to: str = ""
    removed: bool = False  # it was taken away, and not for another version


class Aging(msgspec.Struct):
    """How much time has passed that counts, and when the clock was last looked at."""

    aged_ns: int = 0
    looked_ns: int = 0

    def look(self, now_ns: int) -> None:
        """Let the time since the last look count."""
        if self.looked_ns:
            self.aged_ns += min(max(now_ns - self.looked_ns, 0), FORGET_STEP_NS)
        self.looked_ns = now_ns

    def forget(self, tree: Tree, now_ns: int, stable: Mapping[bytes, int]) -> tuple[FileRef, ...]:
        """Drop what is old enough and known to all; return the files of which nothing is left."""
        self.look(now_ns)
        forgotten: list[FileRef] = []
        done: set[int] = set()
        for path in sorted(tree.ended):
            now, past = tree.holds(path)
            for item in (*now, *past):
                if item.steps is None or id(item) in done or not _is_stable(item.steps, stable):
                    continue
                done.add(id(item))
                shown = item.shown()
                end = shown if shown is not None else max(_last(item.steps), key=lambda step: step.order)
                if not self._is_old(end, now_ns):
                    continue
                _settle(tree, item, shown)
                if shown is None and item.file is not None:
                    forgotten.append(decode_file(item.file))
            if not any(item.steps for item in tree.holds(path)[0]) and not tree.holds(path)[1]:
                tree.ended.discard(path)
        with_cap = [file for file in forgotten if file.cap]
        if not with_cap:
            return ()
        kept = caps(tree, live=True) | caps(tree, live=False)
        return tuple(file for file in with_cap if file.cap not in kept)

    def _is_old(self, end: Step, now_ns: int) -> bool:
        if end.aged < 0:
            end.aged = self.aged_ns
        return self.aged_ns - end.aged >= HISTORY_NS and now_ns - end.origin.at_ns >= HISTORY_NS


def history(tree: Tree, path: str) -> list[Past]:
    """Return all versions that a name has or had, the newest first."""
    now, past = tree.holds(path)
    items = [item for item in (*now, *past) if item.file is not None]
    made_here = {(item.origin.device, item.origin.seq, item.index) for item in items}
    found = [(order, _past(item, path, made_here)) for item in items for order in _orders(item, path)]
    found.sort(key=lambda pair: (pair[1].current, pair[0]), reverse=True)
    return [version for _, version in found]


def gone_with(tree: Tree, path: str) -> list[tuple[str, FileRef]]:
    """Return the files that went in the last change that took any from a folder, with the names that they had."""
    gone: list[tuple[str, Item, Step]] = []
    for here, item in tree.below(path):
        if item.file is None or item.steps is None or item.shown() is not None:
            continue
        end = max(_last(item.steps), key=lambda step: step.order)
        if any(step.path == here and end in step.later for step in item.steps):
            gone.append((here, item, end))
    if not gone:
        return []
    last = max(gone, key=lambda row: row[2].order)[2].origin
    there = {here for here, item, _ in gone if any(other.file is not None for other in tree.holds(here)[0])}
    files = [
        (here, item)
        for here, item, end in gone
        if (end.origin.device, end.origin.seq) == (last.device, last.seq) and here not in there
    ]
    files.sort(key=lambda row: (row[0], row[1].order()))
    return [(here, decode_file(item.file)) for here, item in dict(files).items() if item.file is not None]


def files(tree: Tree) -> Iterator[tuple[bool, FileRef]]:
    """Go through all files that have a secret, with whether each is there now or in the history."""
    for path, item in tree.below(""):
        if item.file is not None:
            file = decode_file(item.file)
            if file.cap:
                yield item.place(path) is not None, file


def gone(tree: Tree) -> set[FileRef]:
    """Return the files with a secret that were taken away and can be had back. Looks at the names that have a history alone."""
    items = [item for path in sorted(tree.ended) for item in tree.holds(path)[1] if item.shown() is None]
    found = {decode_file(item.file) for item in items if item.file is not None}
    return {file for file in found if file.cap}


def caps(tree: Tree, *, live: bool) -> set[bytes]:
    """Return the secrets of all files that are there now, or of all that are in the history."""
    return {file.cap for there, file in files(tree) if there == live}


def version_of(op: OpId) -> str:
    """Name a version for people."""
    digest = blake3.blake3(op.device + op.seq.to_bytes(8, "big") + op.index.to_bytes(4, "big")).digest()
    return base64.b32encode(digest[:VERSION_BYTES]).decode("ascii").lower()


def _settle(tree: Tree, item: Item, shown: Step | None) -> None:
    """Forget where an item was; where it is, it stays as if it had never been elsewhere."""
    assert item.steps is not None
    here = shown.path if shown is not None else None
    for path in sorted({step.path for step in item.steps if step.path is not None} - {here}):
        tree.drop(item, path)
    if shown is None or here is None:
        item.steps = []
        return
    found = tree.at(here)
    alone = isinstance(found, Spot) and len(found.items) == 1 and here not in tree.contested
    if alone:
        item.steps = None
        tree.slim(here)
    else:
        shown.later = []
        item.steps = [shown]


def _is_stable(steps: list[Step], stable: Mapping[bytes, int]) -> bool:
    return all(step.origin.seq <= stable.get(step.origin.device, 0) for step in steps)


def _last(steps: list[Step]) -> list[Step]:
    return [step for step in steps if not step.later]


def _orders(item: Item, path: str) -> list[tuple[Order, Order]]:
    """Return the order of the last step that put an item at a path, if one did, and that of the item itself."""
    if item.steps is None:
        return [item.order()]
    return sorted([(step.order, item.made) for step in item.steps if step.path == path], reverse=True)[:1]


def _past(item: Item, path: str, made_here: set[tuple[bytes, int, int]]) -> Past:
    origin, place, end = item.origin, item.place(path), None
    current = place == path
    if item.steps is not None:
        put = max((step for step in item.steps if step.path == path), key=lambda step: step.order)
        origin = put.origin
        # A removal that did not know of a move did not end it.
        ends = [step for step in put.later if place is None or step.path is not None]
        if not current and ends:
            end = max(ends, key=lambda step: step.order)
    taken = end is not None and place is None
    return Past(
        path=path,
        version=version_of(item.id),
        id=item.id,
        file=decode_file(item.file or b""),
        device=origin.device,
        at_ns=origin.at_ns,
        current=current,
        ended_ns=end.origin.at_ns if end is not None else 0,
        ended_by=end.origin.device if end is not None else b"",
        moved_to=place if place is not None and not current else "",
        removed=taken and end is not None and (end.origin.device, end.origin.seq, end.index) not in made_here,
    )
