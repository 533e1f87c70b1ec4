"""The tree of names: what is and was at each, as steps that know what they were made upon.

An *item* is one version of a file (or the mark that a folder is here). What happens to it are *steps*: it is put
somewhere, moved, taken away. A step ends the steps that its author had seen, and no others. So an item is where its
last steps put it: of two that knew nothing of each other, one that puts it somewhere counts more than one that takes
it away (a delete destroys nothing that it had not seen), and of two places the one of the greater *order*. That is a
function of the set of steps alone. Most items have their first step only; it is not kept apart then, which is what
makes a million of them fit. A name keeps also what was there and is no more, for history and for steps that come late.
Source: M. Shapiro et al., "Conflict-free Replicated Data Types", SSS 2011 (multi-value register, add wins).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from worldos.store.ops import OpId

Order = tuple[int, bytes, int, int]


class Origin:
    """One change: who made it, when, and how much it knew. ``clock`` grows along every chain of knowing."""

    __slots__ = ("at_ns", "clock", "device", "seq")

    def __init__(self, device: bytes, seq: int, clock: int, at_ns: int) -> None:
        self.device = device
        self.seq = seq
        self.clock = clock
        self.at_ns = at_ns


class Step:
    """Where one operation put an item; ``path`` is None if it took it away, ``later`` are the steps made upon it.

    ``aged`` is when the one who keeps this tree first saw that the item had gone, on the clock of ``retention``.
    """

    __slots__ = ("aged", "index", "later", "origin", "path")

    def __init__(self, origin: Origin, index: int, path: str | None) -> None:
        self.origin = origin
        self.index = index
        self.path = path
        self.later: list[Step] = []
        self.aged = -1

    @property
    def order(self) -> Order:
        """Return what decides between steps that knew nothing of each other."""
        return (self.origin.clock, self.origin.device, self.origin.seq, self.index)


class Item:
    """One version of a file, as its packed reference, or a folder's mark (``file`` is None)."""

    __slots__ = ("file", "index", "origin", "steps")

    def __init__(self, origin: Origin, index: int, file: bytes | None) -> None:
        self.origin = origin
        self.index = index
        self.file = file
        self.steps: list[Step] | None = None

    @property
    def id(self) -> OpId:
        """Return the operation that made it."""
        return OpId(self.origin.device, self.origin.seq, self.index)

    @property
    def made(self) -> Order:
        """Return the order of the operation that made it."""
        return (self.origin.clock, self.origin.device, self.origin.seq, self.index)

    def is_made_by(self, op: OpId) -> bool:
        """Whether this is the item that an operation made."""
        return self.origin.seq == op.seq and self.index == op.index and self.origin.device == op.device

    def shown(self) -> Step | None:
        """Return the step that says where it is; None if it is nowhere. Only for items that have steps."""
        return _last([step for step in self.steps or () if not step.later])

    def place(self, here: str) -> str | None:
        """Return where it is now, if one without steps is ``here``."""
        if self.steps is None:
            return here
        shown = self.shown()
        return shown.path if shown is not None else None

    def order(self) -> tuple[Order, Order]:
        """Return what decides which of several items has a name: who came there last, of those then the newest."""
        shown = self.shown() if self.steps is not None else None
        return (shown.order if shown is not None else self.made, self.made)


class View:
    """What the author of one operation knew: the entries it had seen, and its own operations before."""

    __slots__ = ("device", "index", "origin", "seen")

    def __init__(self, origin: Origin, index: int, seen: Mapping[bytes, int]) -> None:
        self.origin = origin
        self.device = origin.device
        self.index = index
        self.seen = seen

    def has(self, origin: Origin, index: int) -> bool:
        """Whether the author knew of an operation."""
        if origin.device == self.device:
            return origin.seq < self.origin.seq or (origin.seq == self.origin.seq and index < self.index)
        return origin.seq <= self.seen.get(origin.device, 0)

    def place(self, item: Item, here: str) -> str | None:
        """Return where the author saw an item; None if nowhere."""
        if item.steps is None:
            return here if self.has(item.origin, item.index) else None
        known = [step for step in item.steps if self.has(step.origin, step.index)]
        last = _last([s for s in known if not any(self.has(later.origin, later.index) for later in s.later)])
        return last.path if last is not None else None


class Spot:
    """A name, with more to it than one item: what is there, what was, and the folder of that name."""

    __slots__ = ("folder", "items", "past")

    def __init__(self, items: tuple[Item, ...] = ()) -> None:
        self.items = items
        self.past: tuple[Item, ...] = ()
        self.folder: Folder | None = None

    @property
    def is_folder(self) -> bool:
        """Whether a folder has this name now."""
        if self.folder is not None and self.folder.live:
            return True
        return any(item.file is None for item in self.items)

    def files(self) -> list[Item]:
        """Return the files of this name: the one that has it first."""
        files = [item for item in self.items if item.file is not None]
        if len(files) > 1:
            files.sort(key=Item.order, reverse=True)
        return files


class Blocks(Protocol):
    """Where the folders of a snapshot lie that nobody has looked at yet."""

    def load(self, folder: Folder, path: str) -> None:
        """Fill ``folder.spots``."""


class Folder:
    """The names in one folder. ``live`` counts the items in it and below that are there now."""

    __slots__ = ("blocks", "live", "number", "parent", "spots")

    def __init__(self, parent: Folder | None) -> None:
        self.parent = parent
        self.spots: dict[str, Item | Spot] = {}
        self.live = 0
        self.number = -1  # of its block in the snapshot; -1: it has none
        self.blocks: Blocks | None = None  # set: the names are still there to be loaded

    def names(self, path: str) -> dict[str, Item | Spot]:
        """Return what is in it, loaded now if it was not."""
        if self.blocks is not None:
            blocks, self.blocks = self.blocks, None
            blocks.load(self, path)
        return self.spots

    def count(self, change: int) -> None:
        """Count items that come or go, here and in all folders above."""
        folder: Folder | None = self
        while folder is not None:
            folder.live += change
            folder = folder.parent


class Tree:
    """All names. A path is a string of parts; what lies at it is made when it is first written to."""

    __slots__ = ("_near", "contested", "ended", "numbers", "root", "stored")

    def __init__(self) -> None:
        self.root = Folder(None)
        self.numbers = 0  # the first number that no folder has in a snapshot
        self.stored: Blocks | None = None  # the snapshot that it was read from
        self.contested: set[str] = set()  # paths with more than one claim, or that had
        self.ended: set[str] = set()  # paths at which something was, or may have been
        self._near: tuple[str, Folder] = ("", self.root)  # the folder that was used last: files come in folders

    def folder(self, path: str) -> Folder | None:
        """Return the folder that is or was at a path."""
        if path == self._near[0]:
            return self._near[1]
        folder, walked = self.root, ""
        for part in path.split("/") if path else ():
            found = folder.names(walked).get(part)
            if not isinstance(found, Spot) or found.folder is None:
                return None
            folder = found.folder
            walked = f"{walked}/{part}" if walked else part
        self._near = (path, folder)
        return folder

    def at(self, path: str) -> Item | Spot | None:
        """Return what is or was at a path other than the top."""
        above, _, name = path.rpartition("/")
        folder = self.folder(above)
        return folder.names(above).get(name) if folder is not None else None

    def holds(self, path: str) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
        """Return the items that are at a path, and those that were."""
        found = self.at(path)
        if found is None:
            return (), ()
        return ((found,), ()) if isinstance(found, Item) else (found.items, found.past)

    def find(self, path: str, op: OpId) -> Item | None:
        """Return the item of an operation that is or was at a path."""
        now, past = self.holds(path)
        return next((item for item in (*now, *past) if item.is_made_by(op)), None)

    def show(self, item: Item, path: str) -> None:
        """Let an item be at a path."""
        above, _, name = path.rpartition("/")
        folder = self._made(above)
        spots = folder.names(above)
        found = spots.get(name)
        if found is None and item.steps is None and item.file is not None:
            spots[name] = item
        else:
            spot = self._spot(spots, name)
            spot.past = tuple(other for other in spot.past if other is not item)
            if spot.items or spot.folder is not None:
                self.contested.add(path)
            spot.items = (*spot.items, item)
        folder.count(1)

    def hide(self, item: Item, path: str) -> None:
        """Let an item have been at a path."""
        above, _, name = path.rpartition("/")
        folder = self._made(above)
        spot = self._spot(folder.names(above), name)
        if any(other is item for other in spot.items):
            spot.items = tuple(other for other in spot.items if other is not item)
            folder.count(-1)
        if not any(other is item for other in spot.past):
            spot.past = (*spot.past, item)
        self.ended.add(path)

    def drop(self, item: Item, path: str) -> None:
        """Let a name know no more that an item was there; a name that knows nothing any more goes too."""
        above, _, name = path.rpartition("/")
        folder = self._made(above)
        spots = folder.names(above)
        spot = self._spot(spots, name)
        spot.past = tuple(other for other in spot.past if other is not item)
        if not spot.past:
            self.ended.discard(path)
        while not spot.items and not spot.past and (spot.folder is None or not spot.folder.names(path)):
            del spots[name]
            self._near = ("", self.root)
            if not above:
                return
            path = above
            above, _, name = path.rpartition("/")
            spots = self._made(above).names(above)
            spot = self._spot(spots, name)

    def slim(self, path: str) -> None:
        """Keep a name with one plain file at it as that file alone."""
        above, _, name = path.rpartition("/")
        folder = self.folder(above)
        spot = folder.names(above).get(name) if folder is not None else None
        if not isinstance(spot, Spot) or spot.past or spot.folder is not None or len(spot.items) != 1:
            return
        item = spot.items[0]
        if folder is not None and item.steps is None and item.file is not None:
            folder.names(above)[name] = item

    def below(self, path: str) -> Iterator[tuple[str, Item]]:
        """Go through all items that are or were under a path, and the folder's own marks at it, with their paths."""
        if path:
            now, past = self.holds(path)
            yield from ((path, item) for item in (*now, *past) if item.file is None)
        top = self.folder(path)
        stack = [(path, top)] if top is not None else []
        while stack:
            where, folder = stack.pop()
            for name, found in folder.names(where).items():
                here = f"{where}/{name}" if where else name
                if isinstance(found, Item):
                    yield here, found
                    continue
                yield from ((here, item) for item in found.items)
                yield from ((here, item) for item in found.past)
                if found.folder is not None:
                    stack.append((here, found.folder))

    def _made(self, path: str) -> Folder:
        found = self.folder(path)
        if found is not None:
            return found
        folder, walked = self.root, ""
        for part in path.split("/"):
            spots = folder.names(walked)
            walked = f"{walked}/{part}" if walked else part
            spot = self._spot(spots, part)
            if spot.folder is None:
                spot.folder = Folder(folder)
                if spot.items:
                    self.contested.add(walked)
            folder = spot.folder
        self._near = (path, folder)
        return folder

    def _spot(self, spots: dict[str, Item | Spot], name: str) -> Spot:
        found = spots.get(name)
        if not isinstance(found, Spot):
            found = spots[name] = Spot((found,) if found is not None else ())
        return found


def _last(steps: list[Step]) -> Step | None:
    placed = [step for step in steps if step.path is not None]
    return max(placed, key=lambda step: step.order) if placed else None
