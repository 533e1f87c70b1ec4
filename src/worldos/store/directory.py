"""The directory: all names of an account, merged from one log per device, the same in whatever order the logs come.

A change waits until every entry that its author had seen is here, so an operation is always carried out upon what its
author knew; everything that it did not know stays untouched by it. Nothing is lost: two files put under one name at a
time both stay, the one of the greater *order* under the name and the other as "NAME (conflict from DEVICE)"; what was
changed while another device removed it stays; a folder that was removed while something was put in it stays with that.
The order of changes that knew nothing of each other is by how much they knew (the entries in their past, a Lamport
clock that nobody has to send), then by device: no wall clock takes part.

Paths are strings of parts in the one spelling of ``names``. Source: docs/decisions/0016-directory-crdt.md; L. Lamport,
"Time, Clocks, and the Ordering of Events", CACM 1978; M. Shapiro et al., SSS 2011.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from worldos.errors import BadRequest, NotThere, OverQuota
from worldos.store import retention, snapshot
from worldos.store.limits import CHANGES_WAITING_MAX
from worldos.store.names import Parts, clean, conflict_name, is_clean, may_be_conflict, text_of
from worldos.store.ops import Change, FileRef, Folder, Move, Op, OpId, Put, Remove, decode_file, encode_file
from worldos.store.retention import Past
from worldos.store.tree import Item, Origin, Spot, Step, Tree, View

ID_SHOWN_CHARS = 8


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a listing: a file, or a folder where ``file`` is None.

    ``conflict`` names the device on which a file was written at the same time as another of its name; ``real`` is the
    path that it has in the logs.
    """

    path: str
    file: FileRef | None
    real: str
    conflict: str = ""
    id: OpId | None = None  # None: a folder that is there because something is in it
    device: bytes = b""
    at_ns: int = 0


# The class has a method ``list``, so these are named out here.
Listing = list[Named]
Versions = list[Past]
Waiters = list[tuple[bytes, int]]


class Directory:
    """All names of one account. ``names`` says what people call a device, by its public key."""

    def __init__(self, names: Mapping[bytes, str] | None = None) -> None:
        self.names: Mapping[bytes, str] = names if names is not None else {}
        self.tree = Tree()
        self.aging = retention.Aging()
        self._heads: dict[bytes, int] = {}
        self._seen: dict[bytes, dict[bytes, int]] = {}  # what each device had seen when it wrote its last change here
        self._said: dict[
            bytes, int
        ] = {}  # the last entry of each device that does something, and not only acknowledges
        self._waiting: dict[bytes, dict[int, Change]] = {}
        self._wanted: dict[bytes, dict[int, Waiters]] = {}  # device -> entry -> changes that wait for it
        self._waiting_count = 0
        self.clock = 0  # the greatest clock of any change here

    # -- merging ----------------------------------------------------------------------------------------------------------

    def apply(self, device: bytes, seq: int, change: Change) -> bool:
        """Take in entry ``seq`` of a device's log; whether it was news. Any order; what comes too early waits inside.

        Raise OverQuota where too much waits: bring it again after the logs that ``missing`` names.
        """
        if seq <= self._heads.get(device, 0) or seq in self._waiting.get(device, ()):
            return False
        if change.after >= seq:
            raise BadRequest("a change of the directory comes after itself")
        want = self._want(device, change)
        if want is None:
            self._deliver(device, seq, change)
            self._wake(device)
            return True
        if self._waiting_count >= CHANGES_WAITING_MAX:
            raise OverQuota("too many changes of the directory wait for others", hint="read the logs of all devices")
        self._waiting.setdefault(device, {})[seq] = change
        self._waiting_count += 1
        self._wait(want, (device, seq))
        return True

    def heads(self) -> dict[bytes, int]:
        """Return the last entry of each device's log that is merged in here."""
        return dict(self._heads)

    def missing(self) -> dict[bytes, int]:
        """Return which entries changes here wait for: for each device the last one."""
        return {device: max(entries) for device, entries in sorted(self._wanted.items()) if entries}

    def change(self, device: bytes, ops: Sequence[Op], at_ns: int) -> Change:
        """Make the next entry of this device's own log: these operations, made upon everything that is here."""
        known = self._seen.get(device, {})
        seen = [
            (other, seq) for other, seq in sorted(self._heads.items()) if other != device and known.get(other) != seq
        ]
        return Change(at_ns=at_ns, after=self._heads.get(device, 0), seen=tuple(seen), ops=tuple(ops))

    def owes_ack(self, device: bytes) -> bool:
        """Whether others wrote what this device has not yet told that it saw: history ends only when all have."""
        known = self._seen.get(device, {})
        return any(known.get(other, 0) < seq for other, seq in self._said.items() if other != device)

    def stable(self, active: Collection[bytes]) -> dict[bytes, int]:
        """Return the entries of each device that all ``active`` devices have acknowledged."""
        return {
            device: min(
                (seq if other == device else self._seen.get(other, {}).get(device, 0) for other in active), default=seq
            )
            for device, seq in sorted(self._heads.items())
        }

    # -- reading ----------------------------------------------------------------------------------------------------------

    def get(self, path: str | Parts) -> Named | None:
        """Return what has a name now, be it a name that a conflict gave; None if nothing does."""
        text = _text(path)
        if not text:
            return Named(path="", file=None, real="")
        above, _, name = text.rpartition("/")
        rows = self._rows(above, name, self.tree.at(text))
        if rows:
            return rows[0]
        return self._conflict(above, text) if may_be_conflict(name) else None

    def list(self, path: str | Parts = "") -> Listing:
        """Return what is in a folder, by name. Raise NotThere, or BadRequest for a file."""
        text = _text(path)
        folder = self.tree.folder(text)
        if text and (folder is None or not folder.live):
            self._see_folder(text)
            return []
        listed: Listing = []
        if folder is not None:
            prefix = f"{text}/" if text else ""
            for name, found in folder.names(text).items():
                if type(found) is Item:
                    listed.append(_plain(prefix + name, found))
                else:
                    listed += self._rows(text, name, found)
        listed.sort(key=_by_path)
        return listed

    def walk(self, path: str | Parts = "") -> Iterator[Named]:
        """Go through everything below a folder, each folder before what is in it. Nothing may change meanwhile."""
        for named in self.list(path):
            yield named
            if named.file is None:
                yield from self.walk(named.path)

    def conflicts(self) -> Listing:
        """Return all files that share a name with another, under the names by which one gets at them."""
        found: Listing = []
        for path in sorted(self.tree.contested):
            above, _, name = path.rpartition("/")
            rows = [row for row in self._rows(above, name, self.tree.at(path)) if row.conflict]
            found += rows
            if not rows:
                self.tree.contested.discard(path)
        return found

    def history(self, path: str | Parts) -> Versions:
        """Return all versions that a name has or had, the newest first."""
        return retention.history(self.tree, _text(path))

    def live_caps(self) -> set[bytes]:
        """Return the secrets of all files that are there now."""
        return retention.caps(self.tree, live=True)

    def dead_caps(self) -> set[bytes]:
        """Return the secrets of the files that are only in the history."""
        return retention.caps(self.tree, live=False) - self.live_caps()

    def gone(self) -> set[FileRef]:
        """Return the files with a secret that names of the history stand for, be they here under another name or not."""
        return retention.gone(self.tree)

    def kept(self) -> set[FileRef]:
        """Return all files that have a secret, those of the history too: what must not be given up."""
        return {file for _, file in retention.files(self.tree)}

    def forget(self, now_ns: int, active: Collection[bytes]) -> tuple[FileRef, ...]:
        """Drop from the history what is older than 30 days and acknowledged by all active devices.

        Return the files of which nothing is left, so that their shares can go. Call it now and then, with the wall clock.
        """
        return self.aging.forget(self.tree, now_ns, self.stable(active))

    # -- making operations ------------------------------------------------------------------------------------------------

    def put(self, path: str | Parts, file: FileRef) -> tuple[Op, ...]:
        """Return what puts a file under a name, over what has it now, and makes the folders above."""
        text = _named(path)
        there = self.get(text)
        if there is not None and there.file is None:
            raise BadRequest(f"{text} is a folder")
        made = self._folders_above(text)
        if there is None or there.id is None:
            return (*made, Put(path=text, file=file))
        if there.conflict:
            return (*made, Remove(path=there.real, only=there.id), Put(path=text, file=file))
        return (*made, Put(path=text, file=file, over=(there.id,)))

    def folder(self, path: str | Parts) -> tuple[Op, ...]:
        """Return what makes a folder and those above; nothing if it is there."""
        text = _named(path)
        return self._folders_above(text + "/")

    def remove(self, path: str | Parts, *, recursive: bool = False) -> tuple[Op, ...]:
        """Return what removes a file, an empty folder, or with ``recursive`` a folder and all that is in it."""
        there = self._there(_named(path))
        if there.file is not None:
            return (Remove(path=there.real, only=there.id),)
        folder = self.tree.folder(there.path)
        if folder is not None and folder.live and not recursive:
            raise BadRequest(f"{there.path} is a folder and not empty", hint="remove all that is in it with: wos rm -r")
        return (Remove(path=there.path),)

    def move(self, source: str | Parts, target: str | Parts) -> tuple[Op, ...]:
        """Return what gives a file or folder another name; a file takes the place of a file that has it."""
        there, text = self._there(_named(source)), _named(target)
        if there.path == text:
            return ()
        is_folder = there.file is None
        if is_folder and text.startswith(there.path + "/"):
            raise BadRequest(f"{there.path} cannot be moved into itself")
        ops: tuple[Op, ...] = self._folders_above(text)
        over = self.get(text)
        if over is not None:
            if is_folder or over.file is None:
                raise BadRequest(f"{text} is there already")
            ops = (*ops, Remove(path=over.real, only=over.id))
        if is_folder:
            for path, item in self.tree.below(there.path):
                if item.place(path) == path:
                    clean(text + path[len(there.path) :])
        return (*ops, Move(source=there.real, target=text, only=there.id if not is_folder else None))

    def undelete(self, path: str | Parts, version: str = "") -> tuple[Op, ...]:
        """Return what brings back a version of a file, by default the last one, or the last folder of a name.

        ``version`` is as ``history`` says it, or its beginning. Raise NotThere if nothing of it is left.
        """
        text = _named(path)
        wanted = [past for past in self.history(text) if past.version.startswith(version.lower())]
        if version and len(wanted) > 1:
            raise BadRequest(f"more than one version of {text} begins with {version}")
        if wanted and (version or not wanted[0].current):
            return self.put(text, wanted[0].file)
        if any(past.current for past in wanted):
            raise BadRequest(f"{text} is there", hint=f"see its versions with: wos history {text}")
        gone = retention.gone_with(self.tree, text) if not version else []
        if not gone:
            raise NotThere(f"nothing of {text} can be brought back", hint="what was removed is kept for 30 days")
        return tuple(dict.fromkeys(op for where, file in gone for op in self.put(where, file)))

    # -- inside -----------------------------------------------------------------------------------------------------------

    def _want(self, device: bytes, change: Change) -> tuple[bytes, int] | None:
        if change.after > self._heads.get(device, 0):
            return device, change.after
        for other, seq in change.seen:
            if other != device and seq > self._heads.get(other, 0):
                return other, seq
        return None

    def _wait(self, want: tuple[bytes, int], who: tuple[bytes, int]) -> None:
        self._wanted.setdefault(want[0], {}).setdefault(want[1], []).append(who)

    def _wake(self, device: bytes) -> None:
        """Carry out all changes that waited for entries that are here now."""
        ready = [device]
        while ready:
            wanted = self._wanted.get(arrived := ready.pop())
            head = self._heads[arrived]
            for seq in sorted(seq for seq in wanted or () if seq <= head):
                for who, number in (wanted or {}).pop(seq):
                    change = self._waiting.get(who, {}).get(number)
                    if change is None:
                        continue
                    want = self._want(who, change)
                    if want is not None:
                        self._wait(want, (who, number))
                        continue
                    del self._waiting[who][number]
                    self._waiting_count -= 1
                    if number > self._heads.get(who, 0):
                        self._deliver(who, number, change)
                        ready.append(who)
            if not wanted:
                self._wanted.pop(arrived, None)

    def _deliver(self, device: bytes, seq: int, change: Change) -> None:
        seen = self._seen.get(device)
        if seen is None:
            seen = self._seen[device] = {}
        for other, number in change.seen:
            if other != device and number > seen.get(other, 0):
                seen[other] = number
        self._heads[device] = seq
        if change.ops:
            self._said[device] = seq
        origin = Origin(device, seq, seq + sum(seen.values()), change.at_ns)
        self.clock = max(self.clock, origin.clock)
        tree = self.tree
        for index, op in enumerate(change.ops):
            match op:
                case Put():
                    for over in op.over:
                        self._take_away(View(origin, index, seen), op.path, over)
                    tree.show(Item(origin, index, encode_file(op.file)), op.path)
                case Folder():
                    tree.show(Item(origin, index, None), op.path)
                case Remove():
                    view = View(origin, index, seen)
                    if op.only is not None:
                        self._take_away(view, op.path, op.only)
                    else:
                        self._step_all(view, op.path, None)
                case Move():
                    view = View(origin, index, seen)
                    if op.only is None:
                        self._step_all(view, op.source, op.target)
                    elif (item := tree.find(op.source, op.only)) is not None:
                        self._step(view, item, op.source, op.target)

    def _take_away(self, view: View, path: str, op: OpId) -> None:
        item = self.tree.find(path, op)
        if item is not None:
            self._step(view, item, path, None)

    def _step_all(self, view: View, path: str, target: str | None) -> None:
        if target is not None and (target == path or target.startswith(path + "/")):
            return  # into itself: its author would not have let it be written
        for here, item in list(self.tree.below(path)):
            place = None if target is None else target + here[len(path) :]
            if place is None or is_clean(place):  # what would get too long a name stays where it is
                self._step(view, item, here, place)

    def _step(self, view: View, item: Item, here: str, target: str | None) -> None:
        """Let an operation take an item from where its author saw it; nothing if that was not here."""
        if view.place(item, here) != here:
            return
        before = item.place(here)
        if item.steps is None:
            item.steps = [Step(item.origin, item.index, here)]
        step = Step(view.origin, view.index, target)
        for earlier in item.steps:
            if view.has(earlier.origin, earlier.index):
                earlier.later.append(step)
        item.steps.append(step)
        after = item.place(here)
        if before != after:
            if before is not None:
                self.tree.hide(item, before)
            if after is not None:
                self.tree.show(item, after)
                self.tree.ended.add(after)
        if target is not None and target != after:
            self.tree.hide(item, target)

    def _rows(self, above: str, name: str, found: Item | Spot | None) -> Listing:
        """Return what is to be seen of one name: what has it, then the others under their names."""
        path = f"{above}/{name}" if above else name
        if found is None:
            return []
        if isinstance(found, Item):
            return [_plain(path, found)]
        files = found.files()
        rows: Listing = []
        if found.is_folder:
            rows.append(Named(path=path, file=None, real=path))
        elif files:
            rows.append(_plain(path, files.pop(0)))
        taken: set[str] = set()
        for item in files:
            device = self._device_name(item.origin.device)
            number, other = 1, conflict_name(name, device)
            while other in taken or self._is_taken(above, other):
                number += 1
                other = conflict_name(name, device, number)
            taken.add(other)
            rows.append(_plain(f"{above}/{other}" if above else other, item, real=path, conflict=device))
        return rows

    def _device_name(self, device: bytes) -> str:
        return self.names.get(device) or device.hex()[:ID_SHOWN_CHARS]

    def _is_taken(self, above: str, name: str) -> bool:
        folder = self.tree.folder(above)
        found = folder.names(above).get(name) if folder is not None else None
        return isinstance(found, Item) or (found is not None and (bool(found.items) or found.is_folder))

    def _conflict(self, above: str, text: str) -> Named | None:
        for path in sorted(self.tree.contested):
            if path.rpartition("/")[0] == above:
                for row in self._rows(above, path.rpartition("/")[2], self.tree.at(path)):
                    if row.path == text:
                        return row
        return None

    def _there(self, text: str) -> Named:
        there = self.get(text)
        if there is None:
            raise NotThere(f"{text} is not there", hint="see what is with: wos ls")
        return there

    def _see_folder(self, text: str) -> None:
        if self._there(text).file is not None:
            raise BadRequest(f"{text} is a file")

    def _folders_above(self, text: str) -> tuple[Op, ...]:
        """Return what makes the folders above a name that are not there; raise BadRequest if one is a file."""
        made: tuple[Op, ...] = ()
        above = text.rpartition("/")[0]
        while above:
            there = self.get(above)
            if there is not None:
                if there.file is not None:
                    raise BadRequest(f"{above} is a file, not a folder")
                break
            made = (Folder(path=above), *made)
            above = above.rpartition("/")[0]
        return made

    # -- the cache on disk ------------------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """Write all of it as bytes for a cache on this machine; they hold secrets in the clear."""
        return snapshot.encode(
            self.tree,
            snapshot.Known(heads=self._heads, seen=self._seen, said=self._said, aging=self.aging, clock=self.clock),
        )

    @classmethod
    def restore(cls, data: bytes, *, names: Mapping[bytes, str] | None = None) -> Directory:
        """Read a snapshot back; folders are decoded when they are looked at. Raise CorruptFile."""
        directory = cls(names)
        directory.tree, known = snapshot.decode(data)
        directory._heads, directory._seen, directory._said = known.heads, known.seen, known.said
        directory.aging, directory.clock = known.aging, known.clock
        return directory


def _by_path(named: Named) -> str:
    return named.path


def _plain(path: str, item: Item, *, real: str = "", conflict: str = "") -> Named:
    assert item.file is not None
    return Named(
        path=path,
        file=decode_file(item.file),
        real=real or path,
        conflict=conflict,
        id=item.id,
        device=item.origin.device,
        at_ns=item.origin.at_ns,
    )


def _text(path: str | Parts) -> str:
    return text_of(clean(path)) if isinstance(path, str) else text_of(path)


def _named(path: str | Parts) -> str:
    text = _text(path)
    if not text:
        raise BadRequest("the top folder has no other name, and stays")
    return text
