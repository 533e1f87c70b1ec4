"""Several devices that write in one directory, each knowing what it happens to know: dice decide, a seed repeats it."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from worldos.errors import BadRequest
from worldos.store.directory import Directory, Named
from worldos.store.ops import Change, FileRef, Op, OpId, encode_change, read_change

NAMES = ("a", "b", "c", "a/x", "a/y", "b/x", "a/x/deep", "c/y/deep", "b/x/deep/er")
DEVICES = tuple(bytes([number]) * 32 for number in range(1, 9))


def file_of(number: int) -> FileRef:
    """Return a file that is told from all others by its secret."""
    secret = number.to_bytes(32, "big")
    return FileRef(write=secret, size_bytes=number % 1_000_000, digest=secret)


@dataclass
class Writers:
    """A few devices, their logs, and which versions any of them took away knowing of it."""

    dice: Random
    devices: int = 3
    directories: list[Directory] = field(default_factory=list)
    logs: dict[bytes, list[Change]] = field(default_factory=dict)
    made: set[OpId] = field(default_factory=set)
    taken: set[OpId] = field(default_factory=set)
    moves: int = 0
    now_ns: int = 0

    def __post_init__(self) -> None:
        self.directories = [Directory() for _ in range(self.devices)]
        self.logs = {DEVICES[number]: [] for number in range(self.devices)}

    def write(self, number: int, ops: tuple[Op, ...]) -> None:
        """Let a device write one change: build, keep, merge in, as a program does."""
        device, directory = DEVICES[number], self.directories[number]
        self.now_ns += 1
        before = versions(directory)
        change = read_change(encode_change(directory.change(device, ops, self.now_ns)))
        self.logs[device].append(change)
        assert directory.apply(device, len(self.logs[device]), change)
        after = versions(directory)
        self.made |= after - before
        self.taken |= before - after

    def act(self) -> None:
        """Let one device do one thing, or hear of what another did."""
        number = self.dice.randrange(self.devices)
        directory = self.directories[number]
        name, other = self.dice.choice(NAMES), self.dice.choice(NAMES)
        listed = [row.path for row in directory.walk()]
        if listed and self.dice.random() < 0.7:
            name = self.dice.choice(listed)
        try:
            match self.dice.randrange(9):
                case 0 | 1 | 2:
                    self.write(number, directory.put(name, file_of(self.dice.getrandbits(60))))
                case 3:
                    self.write(number, directory.folder(name))
                case 4:
                    self.write(number, directory.remove(name, recursive=True))
                case 5:
                    ops = directory.move(name, other)
                    self.moves += 1
                    self.write(number, ops)
                case 6:
                    self.write(number, directory.undelete(name))
                case _:
                    self.tell(self.dice.randrange(self.devices), number)
        except BadRequest:
            pass  # what the dice asked for cannot be done here: a folder of that name, nothing to move

    def tell(self, source: int, target: int) -> None:
        """Let a device hear of the logs that another has, or of the beginning of them."""
        for device, head in self.directories[source].heads().items():
            known = self.directories[target].heads().get(device, 0)
            last = head if self.dice.random() < 0.7 else self.dice.randint(0, head)
            for seq in range(known + 1, last + 1):
                self.directories[target].apply(device, seq, self.logs[device][seq - 1])

    def entries(self) -> list[tuple[bytes, int, Change]]:
        """Return all entries of all logs."""
        return [(device, seq, change) for device, log in self.logs.items() for seq, change in enumerate(log, 1)]

    def merged(self) -> Directory:
        """Merge all logs in some order, some of it twice, here and there by way of a snapshot."""
        entries = self.entries()
        self.dice.shuffle(entries)
        directory = Directory()
        for entry in entries:
            directory.apply(*entry)
            if self.dice.random() < 0.05:
                directory.apply(*self.dice.choice(entries))
            if self.dice.random() < 0.03:
                waiting = directory.missing()
                directory = Directory.restore(directory.snapshot())
                assert not directory.missing()
                if waiting:  # what waited is read again, as the logs are
                    for again in entries:
                        directory.apply(*again)
        return directory


def versions(directory: Directory) -> set[OpId]:
    """Return all versions of files that can be seen."""
    return {row.id for row in directory.walk() if row.file is not None and row.id is not None}


def picture(directory: Directory) -> list[Named]:
    """Return all there is to see, in order."""
    return list(directory.walk())
