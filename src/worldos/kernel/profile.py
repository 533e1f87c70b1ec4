"""Profiles: what was learned of functions from their runs, and of the ways to nodes from what they carried.

For each function (by the digest of its pickle): how long a call takes on each node, how much of that is processor time and how
much is waiting, how many bytes it brings and returns, how many it reads from disks and writes, and how much memory it takes. For
each far node: how many bytes its way carries in a second, and how long the shortest trip takes. All are running means with their
mean deviation, in integers (of memory, where too little is fatal, the most that was seen lately), and the tables are bounded:
what was not used for the longest time goes first.

A node on which a function has not run is judged by another: what is processor time there is scaled by how much slower the
one is than the other, as seen by all functions that ran on both; waiting is the same everywhere.
Units: microseconds, bytes. Source: V. Jacobson, "Congestion Avoidance and Control", SIGCOMM 1988 (mean and deviation).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, NamedTuple

import msgspec

from worldos.errors import PeerBroke
from worldos.kernel.score import SPEED_MIPS_DEFAULT
from worldos.model.ids import NodeId
from worldos.model.need import WORK_BYTES_MAX, WORK_MI_MAX, WORK_NODES_MAX, WORK_US_MAX, KnownNode, Work

FUNCTIONS_MAX: Final = 2048
NODES_MAX: Final = 32  # of one function, and of ways
US_MAX: Final = 1 << 40
RATE_DEFAULT_BYTES_S: Final = 50_000_000  # of a way that nobody has measured
RATE_MIN_BYTES_S: Final = 1_000
RATE_BYTES_MIN: Final = 32 * 1024  # less says nothing about a rate
TRIP_DEFAULT_US: Final = 500
WORK_DEFAULT_US: Final = 1_000  # of a function that has never run
SMALL_US: Final = 50  # of a call that was too short to be measured alone
PERMILLE: Final = 1000
MOST_FALL: Final = 8
ROUND_US: Final = 1_000_000
SLOWNESS_MAX: Final = 1000 * PERMILLE
STATE_BYTES_MAX: Final = 4 * 1024 * 1024

Natural = Annotated[int, msgspec.Meta(ge=0, le=US_MAX)]
Name = Annotated[str, msgspec.Meta(max_length=128)]


class Mean(msgspec.Struct, array_like=True):
    """A running mean, its mean deviation, and of how many."""

    mean: Natural = 0
    deviation: Natural = 0
    count: Natural = 0

    def learn(self, value: int) -> None:
        """Take in one more: the first ones count fully, later ones by an eighth."""
        value = 0 if value < 0 else US_MAX if value > US_MAX else value  # for each call, six times
        count, mean = self.count + 1, self.mean
        weight = 8 if count > 8 else count
        if count > 1:
            self.deviation += (abs(value - mean) - self.deviation) // weight
        self.mean = mean + (value - mean) // weight
        self.count = count if count < US_MAX else US_MAX


class Most(msgspec.Struct, array_like=True):
    """The most that was seen lately: quickly up, slowly down. 0: nothing was seen. A guess holds until one is seen."""

    value: Natural = 0
    is_guess: bool = False

    def learn(self, value: int) -> None:
        """Take in one more, if it is known."""
        value = max(0, min(US_MAX, value))
        if value:
            falls = value < self.value and not self.is_guess
            self.value = self.value - (self.value - value) // MOST_FALL if falls else value
            self.is_guess = False

    def guess(self, value: int) -> None:
        """Believe this much, as it was too much."""
        if value > self.value:
            self.value, self.is_guess = min(US_MAX, value), True


class Profile(msgspec.Struct, kw_only=True):
    """What was learned of one function. ``on``: how long a call takes on which node. ``memory``: beyond a bare worker's."""

    name: Name = ""
    wall_us: Mean = msgspec.field(default_factory=Mean)
    cpu_us: Mean = msgspec.field(default_factory=Mean)
    in_bytes: Mean = msgspec.field(default_factory=Mean)
    out_bytes: Mean = msgspec.field(default_factory=Mean)
    read_bytes: Mean = msgspec.field(default_factory=Mean)
    written_bytes: Mean = msgspec.field(default_factory=Mean)
    memory: Most = msgspec.field(default_factory=Most)
    on: dict[NodeId, Mean] = {}
    cpu_on: dict[NodeId, Mean] = {}
    used: Natural = 0

    @property
    def cpu_permille(self) -> int:
        """How much of a call's time is processor time; the rest is waiting."""
        return min(PERMILLE, PERMILLE * self.cpu_us.mean // max(1, self.wall_us.mean))


class Way(msgspec.Struct, kw_only=True):
    """What was learned of the way to a node."""

    rate_bytes_s: Natural = 0  # 0: not known yet
    trip_us: Natural = 0
    used: Natural = 0

    def transfer_us(self, size_bytes: int) -> int:
        """Return how long so many bytes and the way itself take."""
        rate = max(RATE_MIN_BYTES_S, self.rate_bytes_s or RATE_DEFAULT_BYTES_S)
        return (self.trip_us or TRIP_DEFAULT_US) + size_bytes * 1_000_000 // rate


class Took(NamedTuple):
    """What a call took at its worker, as the worker says; all zero: it was too short to be measured. No memory: not known."""

    wall_us: int = 0
    cpu_us: int = 0
    memory_bytes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """One call that came back. ``away_us``: how long it was on the way, there and back; -1: cannot be told."""

    node: NodeId
    took: Took
    in_bytes: int
    out_bytes: int
    away_us: int = -1


class Profiles(msgspec.Struct, kw_only=True):
    """The tables. ``slowness``: how much longer a node computes than the one it was compared with, in thousandths."""

    functions: dict[Name, Profile] = {}
    ways: dict[NodeId, Way] = {}
    slowness: dict[NodeId, Natural] = {}
    clock: Natural = 0  # counts what was learned, for what is forgotten first

    def function(self, digest: str, name: str = "") -> Profile:
        """Return the profile of a function, an empty one at first."""
        known = self.functions.get(digest)
        if known is None:
            if len(self.functions) >= FUNCTIONS_MAX:
                del self.functions[min(self.functions, key=lambda each: (self.functions[each].used, each))]
            known = self.functions[digest] = Profile(name=name[:128])
        return known

    def way(self, node: NodeId) -> Way:
        """Return what is known of the way to a node."""
        known = self.ways.get(node)
        if known is None:
            if len(self.ways) >= NODES_MAX:
                del self.ways[min(self.ways, key=lambda each: (self.ways[each].used, each))]
            known = self.ways[node] = Way()
        return known

    def learn(self, digest: str, ran: Ran) -> None:
        """Take in one call; one that was too short to be measured says something of the way alone."""
        self.clock = min(US_MAX, self.clock + 1)
        if ran.away_us >= 0:
            self._learn_way(ran)
        if ran.took.wall_us <= 0:
            return
        profile = self.function(digest)
        profile.used = self.clock
        took = ran.took
        wall_us, cpu_us = max(0, min(US_MAX, took.wall_us)), max(0, min(US_MAX, took.cpu_us))
        profile.wall_us.learn(wall_us)
        profile.cpu_us.learn(min(cpu_us, 64 * wall_us))
        profile.in_bytes.learn(ran.in_bytes)
        profile.out_bytes.learn(ran.out_bytes)
        for mean, size_bytes in ((profile.read_bytes, took.read_bytes), (profile.written_bytes, took.written_bytes)):
            if size_bytes or mean.count:  # most calls never touch a disk
                mean.learn(size_bytes)
        if took.memory_bytes:
            profile.memory.learn(took.memory_bytes)
        for table, value in ((profile.on, wall_us), (profile.cpu_on, min(cpu_us, wall_us))):
            if ran.node not in table and len(table) >= NODES_MAX:
                del table[min(table, key=lambda node: (table[node].count, node))]
            table.setdefault(ran.node, Mean()).learn(value)
        self._compare(profile, ran.node)

    def _learn_way(self, ran: Ran) -> None:
        way = self.way(ran.node)
        way.used = self.clock
        size = max(0, ran.in_bytes + ran.out_bytes)
        if size < RATE_BYTES_MIN:
            shortest = min(way.trip_us, ran.away_us) if way.trip_us else ran.away_us
            way.trip_us = max(1, min(US_MAX, shortest + (ran.away_us - shortest) // 64))
            return
        rate = max(RATE_MIN_BYTES_S, size * 1_000_000 // max(1, ran.away_us - way.trip_us))
        way.rate_bytes_s = min(US_MAX, (3 * way.rate_bytes_s + rate) // 4 if way.rate_bytes_s else rate)

    def _compare(self, profile: Profile, node: NodeId) -> None:
        """Learn how slow a node is beside the others, from a function that computes and ran on several."""
        here = profile.on[node]
        others = [(other, mean) for other, mean in profile.on.items() if other != node and mean.count]
        if not others or profile.cpu_permille < PERMILLE // 4:
            return
        other, there = max(others, key=lambda each: (each[1].count, each[0]))
        ratio = self.slowness.get(other, PERMILLE) * here.mean // max(1, there.mean)
        ratio = max(1, min(SLOWNESS_MAX, ratio))
        if node not in self.slowness and len(self.slowness) >= NODES_MAX:
            del self.slowness[min(self.slowness)]
        known = self.slowness.get(node, PERMILLE)
        self.slowness[node] = known + (ratio - known) // 4 if node in self.slowness else ratio
        self.slowness.setdefault(other, PERMILLE)

    def work_us(self, digest: str, node: NodeId) -> int:
        """Return how long a call of this function takes on this node, bytes on the way not counted."""
        profile = self.functions.get(digest)
        if profile is None or not profile.wall_us.count:
            return WORK_DEFAULT_US
        known = profile.on.get(node)
        if known is not None and known.count:
            return max(1, known.mean)
        if not profile.on:
            return max(1, profile.wall_us.mean)
        model = max(profile.on, key=lambda each: (profile.on[each].count, each))
        wall_us = profile.on[model].mean
        cpu_us = min(wall_us, profile.cpu_on[model].mean if model in profile.cpu_on else 0)
        scaled = cpu_us * self.slowness.get(node, PERMILLE) // max(1, self.slowness.get(model, PERMILLE))
        return max(1, scaled + wall_us - cpu_us)

    def estimate_us(self, digest: str, node: NodeId, size_bytes: int, *, far: bool) -> int:
        """Return how long a call takes there in all: the bytes on the way, and the work."""
        work_us = self.work_us(digest, node)
        return work_us + (self.way_us(digest, node, size_bytes) if far else 0)

    def way_us(self, digest: str, node: NodeId, size_bytes: int) -> int:
        """Return how long the bytes of a call are on the way, there and back."""
        profile = self.functions.get(digest)
        back_bytes = profile.out_bytes.mean if profile is not None else 0
        return self.ways.get(node, _UNKNOWN_WAY).transfer_us(size_bytes + back_bytes)

    def memory_bytes(self, digest: str) -> int:
        """Return how much memory a call of this function takes; 0: not known."""
        profile = self.functions.get(digest)
        return profile.memory.value if profile is not None else 0

    def known_as(self, digest: str) -> str:
        """Return under which name a function is known: its own, or that of chunks of it; the one used last. Empty: it is not."""
        names = [name for name in self.functions if name.partition("*")[0] == digest]
        return max(names, key=lambda name: (self.functions[name].used, name), default="")

    def work(self, name: str, speeds: Mapping[NodeId, int]) -> Work | None:
        """Return what a round of calls of a function is: as many as take a second where most of them ran.

        ``speeds``: in millions of instructions a second, of the nodes that say.
        """
        profile = self.functions.get(name)
        if profile is None or not profile.on:
            return None
        model = max(profile.on, key=lambda each: (profile.on[each].count, each))
        wall_us = max(1, profile.on[model].mean)
        cpu_us = min(wall_us, profile.cpu_on[model].mean if model in profile.cpu_on else 0)
        move_bytes = (profile.in_bytes.mean + profile.out_bytes.mean) * ROUND_US // wall_us
        measured = sorted({*profile.on, *(self.slowness if model in self.slowness else ()), *self.ways})[
            :WORK_NODES_MAX
        ]
        known = [self._known(name, node, profile.on[model].mean) for node in measured]
        return Work(
            cpu_mi=min(WORK_MI_MAX, cpu_us * speeds.get(model, SPEED_MIPS_DEFAULT) // wall_us),
            wait_us=ROUND_US - cpu_us * ROUND_US // wall_us,
            move_bytes=min(WORK_BYTES_MAX, move_bytes),
            known=tuple(known),
        )

    def _known(self, name: str, node: NodeId, wall_us: int) -> KnownNode:
        way = self.ways.get(node, _UNKNOWN_WAY)
        is_known = node in self.functions[name].on or node in self.slowness
        run_us = self.work_us(name, node) * ROUND_US // max(1, wall_us) if is_known else 0
        return KnownNode(node, min(WORK_US_MAX, run_us), min(WORK_BYTES_MAX, way.rate_bytes_s))

    def exceeded(self, digest: str, memory_bytes: int) -> None:
        """A call was stopped, as all of a lease's memory did not hold it beside others: believe that it takes all of it."""
        self.function(digest).memory.guess(memory_bytes)

    def is_measured(self, node: NodeId) -> bool:
        """Tell whether it is known what the way to a node carries."""
        way = self.ways.get(node)
        return way is not None and way.rate_bytes_s > 0

    def merge(self, other: Profiles) -> None:
        """Take over what another table knows of the functions, ways and nodes that it was taught about."""
        for digest, profile in other.functions.items():
            self.clock = min(US_MAX, self.clock + 1)
            self.function(digest)
            self.functions[digest] = msgspec.structs.replace(profile, used=self.clock)
        for node, way in other.ways.items():
            self.way(node)
            self.ways[node] = msgspec.structs.replace(way, used=self.clock)
        for node, slowness in other.slowness.items():
            if node in self.slowness or len(self.slowness) < NODES_MAX:
                self.slowness[node] = slowness

    def since(self, clock: int, functions_max: int) -> Profiles:
        """Return what was learned since then, of at most so many functions: those used last."""
        used = sorted((p.used, digest) for digest, p in self.functions.items() if p.used > clock)[-functions_max:]
        return Profiles(
            functions={digest: self.functions[digest] for _, digest in used},
            ways={node: way for node, way in self.ways.items() if way.used > clock},
            slowness=dict(self.slowness),
            clock=self.clock,
        )

    def snapshot(self) -> bytes:
        """Return all of it as bytes."""
        return _encode(self)

    @classmethod
    def restore(cls, data: bytes) -> Profiles:
        """Return the tables that ``snapshot`` wrote. Raises PeerBroke."""
        if len(data) > STATE_BYTES_MAX:
            raise PeerBroke(f"profiles of {len(data)} bytes")
        try:
            profiles = _decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise PeerBroke(f"these are no profiles: {error}") from None
        if len(profiles.functions) > FUNCTIONS_MAX or max(len(profiles.ways), len(profiles.slowness)) > NODES_MAX:
            raise PeerBroke("profiles of more functions or nodes than there may be")
        if any(max(len(each.on), len(each.cpu_on)) > NODES_MAX for each in profiles.functions.values()):
            raise PeerBroke("a profile with more nodes than there may be")
        return profiles


_UNKNOWN_WAY: Final = Way()
_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Profiles] = msgspec.msgpack.Decoder(Profiles)
