"""Presence: who is there, who is only away, and who is lost. Two clocks.

The first is fast and forgives everything: a device that was silent for a second is *suspect*, and asked last. The second is
slow and costs a repair when it is wrong: a device is *lost* only when it has been away far longer than it ever is. What
"ever" means is learnt of each device alone: its absences go into a histogram of their lengths, and the length that all but
one in a thousand stay below, with a margin that is wide while few are known, is how long it may be away. A server that never
sleeps is given up after an hour, a laptop after days, a boat in winter after weeks. Its owner may say so at once.

Time is the watcher's own, and what it cannot have seen does not count. Who was asleep himself, or whose clock was set, counts
that gap as a day at most and judges nobody for an hour after; while nobody at all is heard it is the watcher who is away, and
no time passes. Evidence is a sign of life that cannot be old news (a link that answers, the next number of a beat that the
device signed), so devices that are never on at the same hours know of each other through a third.

Source: research of the project (lost after 12 h: 384 false repairs for each object and year; by habit: 0.00).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from worldos.store.durability import PPM
from worldos.store.limits import (
    ABSENCE_NS_MIN,
    ABSENCES_KNOWN_MIN,
    DAY_NS,
    LOST_NS_MAX,
    LOST_NS_MIN,
    LOST_STEADY_NS_MIN,
    LOST_UNKNOWN_NS,
    NODES_WATCHED_MAX,
    PAUSE_NS_MIN,
    STEADY_NS_MIN,
    STEADY_PPM_MIN,
    SUSPECT_NS,
    WAKE_GRACE_NS,
    WATCH_GAP_NS_MAX,
    WATCH_PERIOD_NS_MAX,
)

STEPS: Final = 4  # buckets in each doubling: a length is known to a quarter
BUCKETS: Final = 48  # an hour doubled twelve times is half a year
QUANTILE_MILLI: Final = 999
ABSENCES_MANY: Final = 512
SPAN_NS_MAX: Final = 180 * DAY_NS  # of the time behind ``online_ppm``: what is older fades


class Status(StrEnum):
    """What is believed of a device now."""

    HERE = "here"
    SUSPECT = "suspect"
    LOST = "lost"


class Learnt(msgspec.Struct, frozen=True, kw_only=True):
    """What one watcher knows of one device: goes to its disk, and to nobody."""

    node: str
    on_ns: int = 0
    off_ns: int = 0
    absences: tuple[int, ...] = ()  # how many of each length, by bucket
    away_ns: int = 0  # of the absence that goes on
    given_up: bool = False  # its owner said that it does not come back


class Device(msgspec.Struct, kw_only=True):
    """One device as it is watched."""

    heard_ns: int  # on the watcher's clock
    on_ns: int = 0
    off_ns: int = 0
    absences: list[int] = msgspec.field(default_factory=lambda: [0] * BUCKETS)
    given_up: bool = False
    doubted: bool = False  # another watcher declared it lost


class Presence:
    """The two clocks of all devices that one watcher has heard of."""

    def __init__(self, learnt: Iterable[Learnt] = (), *, saved_ns: int = 0) -> None:
        """Go on from what a watcher had learnt when it looked last, at ``saved_ns``; 0 where none ever did."""
        self._clock_ns = 0  # of watching: stands still where nothing can be concluded
        self._slept_ns = self._woke_ns = 0  # on that clock: the last time that it was not looking
        self._looked_ns = saved_ns  # on the machine's clock, as the next one
        self._heard_ns = saved_ns  # anybody
        self._devices: dict[str, Device] = {}
        for known in learnt:
            absences = [*known.absences[:BUCKETS], *([0] * (BUCKETS - len(known.absences)))]
            self._devices[known.node] = Device(
                heard_ns=-known.away_ns,
                on_ns=known.on_ns,
                off_ns=known.off_ns,
                absences=absences,
                given_up=known.given_up,
            )

    def watch(self, now_ns: int) -> None:
        """Say that the watcher is awake. To be called often: what lies between two calls is time only in part."""
        first, gap_ns = not self._looked_ns, now_ns - self._looked_ns
        self._looked_ns = now_ns
        if first or gap_ns < 0 or gap_ns > WATCH_PERIOD_NS_MAX:
            self._slept_ns = self._clock_ns
            self._clock_ns += 0 if first else min(max(gap_ns, 0), WATCH_GAP_NS_MAX)
            self._woke_ns = self._clock_ns
            self._heard_ns = now_ns
        elif now_ns - self._heard_ns <= WATCH_PERIOD_NS_MAX:
            self._clock_ns += gap_ns

    def seen(self, node: str, now_ns: int) -> None:
        """Take in a sign of life of ``node`` that cannot be old news. Above the bound a new device is not watched."""
        if now_ns != self._looked_ns:
            self.watch(now_ns)
        self._heard_ns = now_ns
        device = self._devices.get(node)
        if device is not None:
            self._learn(device)
            device.heard_ns = self._clock_ns
            device.given_up = device.doubted = False
        elif len(self._devices) < NODES_WATCHED_MAX:
            self._devices[node] = Device(heard_ns=self._clock_ns)

    def _learn(self, device: Device) -> None:
        """Count a silence that ends as time on or off, without what the watcher slept through."""
        if device.on_ns + device.off_ns > SPAN_NS_MAX:
            device.on_ns, device.off_ns = device.on_ns // 2, device.off_ns // 2
        silence_ns = unseen_ns = self._clock_ns - device.heard_ns
        if device.heard_ns < self._woke_ns:
            before_ns = max(0, self._slept_ns - device.heard_ns)
            unseen_ns = before_ns + self._clock_ns - self._woke_ns
            if unseen_ns <= WATCH_PERIOD_NS_MAX:
                return  # there when the watcher fell asleep, there when it woke
        if unseen_ns < PAUSE_NS_MIN:
            device.on_ns += unseen_ns
            return
        device.off_ns += unseen_ns
        if silence_ns >= ABSENCE_NS_MIN:
            device.absences[_bucket(silence_ns)] += 1

    def expect(self, node: str) -> None:
        """Begin to wait for a device that is known to exist and was never heard."""
        if node not in self._devices and len(self._devices) < NODES_WATCHED_MAX:
            self._devices[node] = Device(heard_ns=self._clock_ns)

    def give_up(self, node: str) -> None:
        """Take the owner's word that this device does not come back; should it be heard again, it is back."""
        device = self._devices.setdefault(node, Device(heard_ns=self._clock_ns))
        device.given_up = True

    def doubt(self, node: str) -> None:
        """Take in that another watcher of the account, who may know it better, declared this device lost.

        Half the patience is then enough: who met it less often agrees sooner, and who heard it lately does not.
        """
        if device := self._devices.get(node):
            device.doubted = True

    def forget(self, node: str) -> None:
        """Watch this device no longer: it left the account."""
        self._devices.pop(node, None)

    def status(self, node: str, now_ns: int) -> Status:
        """Return what is believed of the device at ``now_ns``; of one never heard, that it is suspect."""
        self.watch(now_ns)
        device = self._devices.get(node)
        if device is None:
            return Status.SUSPECT
        if device.given_up:
            return Status.LOST
        silence_ns = self._clock_ns - device.heard_ns
        if silence_ns <= SUSPECT_NS:
            return Status.HERE
        awake_ns = self._clock_ns - self._woke_ns
        if awake_ns >= WAKE_GRACE_NS and silence_ns > patience_ns(device) // (2 if device.doubted else 1):
            return Status.LOST
        return Status.SUSPECT

    def silent_ns(self, node: str) -> int:
        """Return for how long of the watched time nothing was heard of the device; -1 if it never was."""
        device = self._devices.get(node)
        return -1 if device is None else self._clock_ns - device.heard_ns

    def patience_ns(self, node: str) -> int:
        """Return how long this device may be away before it is lost."""
        device = self._devices.get(node)
        return LOST_UNKNOWN_NS if device is None else patience_ns(device)

    def online_ppm(self, node: str) -> int:
        """Return which part of the time the device is on line, in millionths; half for one of which nothing is known."""
        device = self._devices.get(node)
        return PPM // 2 if device is None else _online_ppm(device)

    def nodes(self) -> list[str]:
        """Return all devices that are watched, in order."""
        return sorted(self._devices)

    def snapshot(self) -> tuple[Learnt, ...]:
        """Return what has been learnt, for the disk."""
        return tuple(
            Learnt(
                node=node,
                on_ns=device.on_ns,
                off_ns=device.off_ns,
                absences=tuple(device.absences),
                away_ns=self._clock_ns - device.heard_ns,
                given_up=device.given_up,
            )
            for node, device in sorted(self._devices.items())
        )


def patience_ns(device: Device) -> int:
    """Return how long a device with these habits may be away: the longest usual absence, with a margin for what is not known.

    The margin is for the tail: among a few hundred absences the one in a thousand is not to be seen yet.
    """
    known, steady = sum(device.absences), _is_steady(device)
    longest_ns = _longest_ns(device.absences, known)
    if steady:
        least_ns = max(LOST_STEADY_NS_MIN, 2 * longest_ns)
    elif known < ABSENCES_KNOWN_MIN:
        least_ns = max(LOST_UNKNOWN_NS, 2 * longest_ns)
    else:
        least_ns = max(LOST_NS_MIN, (2 if known >= ABSENCES_MANY else 3) * longest_ns)
    return min(LOST_NS_MAX, least_ns)


def _is_steady(device: Device) -> bool:
    return device.on_ns + device.off_ns >= STEADY_NS_MIN and _online_ppm(device) >= STEADY_PPM_MIN


def _online_ppm(device: Device) -> int:
    whole_ns = device.on_ns + device.off_ns
    return device.on_ns * PPM // whole_ns if whole_ns else PPM // 2


def _longest_ns(absences: list[int], known: int) -> int:
    """Return the length below which all but one in a thousand of the absences stay: all of them, while they are few."""
    left = known - known * QUANTILE_MILLI // 1000 if known >= 1000 else 1
    for bucket in range(BUCKETS - 1, -1, -1):
        left -= absences[bucket]
        if left <= 0 and absences[bucket]:
            return _upper_ns(bucket)
    return 0


def _bucket(length_ns: int) -> int:
    """Return the bucket of a length: doublings of the least, each in quarters, as in an HDR histogram."""
    quarters = length_ns * STEPS // ABSENCE_NS_MIN  # at least STEPS
    doublings = quarters.bit_length() - STEPS.bit_length()
    step = (quarters >> doublings) - STEPS
    return min(BUCKETS - 1, doublings * STEPS + step)


def _upper_ns(bucket: int) -> int:
    """Return the least length that lies above a bucket."""
    doublings, step = divmod(bucket, STEPS)
    return ((STEPS + step + 1) << doublings) * ABSENCE_NS_MIN // STEPS
