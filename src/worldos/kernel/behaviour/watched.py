"""Watched: one principal, the window it is in, and how far it is beyond what is usual for it.

It learns its baseline from the first windows and keeps it. The sums are looked at with every request, not when the window closes:
a burst trips while it bursts. Windows in which nothing was asked do not exist, so nights wash nothing out.
"""

from __future__ import annotations

import msgspec

from worldos.kernel.behaviour.asked import Asked
from worldos.kernel.behaviour.baseline import Baseline, learn
from worldos.kernel.behaviour.limits import STEP_FORGOTTEN_NS, TARGETS_KNOWN_MAX, WINDOW_NS, WINDOWS_LEARNT
from worldos.kernel.behaviour.window import Feature, Figures, Window
from worldos.model.limits import MINUTE

_ZERO: Figures = (0, 0, 0, 0)


class Watched(msgspec.Struct, kw_only=True):
    """What is known of one principal. While ``baseline`` is None, ``learnt`` are the windows that it has shown."""

    window: Window
    baseline: Baseline | None = None
    sums: Figures = _ZERO
    most: Figures = _ZERO  # the figures of this window at which the sums are at their limits
    learnt: list[Figures] = []
    known: dict[int, None] = {}
    cls: int = 0
    requests: int = 0  # while it was learnt
    worst: int = 0  # the highest class while the sum of the level was above zero
    step: int = 0  # how far it was narrowed (behaviour.py)
    tripped_ns: int = -STEP_FORGOTTEN_NS  # when it did last

    def see(self, now_ns: int, asked: Asked) -> tuple[Feature, ...]:
        """Take in one request; return in which way it is strange now, if any."""
        if now_ns - self.window.start_ns >= WINDOW_NS:
            self._close()
            self._open(now_ns)
        self.window.add(asked, self.known)
        self.worst = max(self.worst, self.window.cls)
        if self.baseline is None:
            return ()
        rate, fan_out, denials, level = self.window.figures()
        most = self.most
        if rate < most[0] and fan_out < most[1] and denials < most[2] and level < most[3]:
            return ()
        return tuple(
            feature
            for feature, figure in zip(Feature, (rate, fan_out, denials, level), strict=True)
            if figure >= most[feature]
        )

    def now(self) -> Figures:
        """Return the sums, the window that is open counted in."""
        if self.baseline is None:
            return _ZERO
        return self._summed(self.baseline)

    def calm(self, now_ns: int) -> None:
        """Begin again at zero: what was strange has had its consequence."""
        self.sums, self.worst = _ZERO, 0
        self._open(now_ns)

    def adopt(self, now_ns: int, baseline: Baseline) -> None:
        """Take this for what is usual."""
        self.baseline, self.learnt, self.known = baseline, [], dict.fromkeys(baseline.known)
        self.calm(now_ns)

    def relearn(self, now_ns: int) -> None:
        """Forget what was usual, by the owner's word."""
        self.baseline, self.learnt, self.known, self.cls, self.requests, self.step = None, [], {}, 0, 0, 0
        self.calm(now_ns)

    def _open(self, now_ns: int) -> None:
        self.window = Window(start_ns=now_ns)
        if self.baseline is not None:
            rate, fan_out, denials, level = (
                norm.strange_at(total) for norm, total in zip(self.baseline.norms, self.sums, strict=True)
            )
            self.most = rate, fan_out, denials, level

    def _close(self) -> None:
        if not self.window.requests:
            return
        if self.baseline is not None:
            self.sums = self._summed(self.baseline)
            self.worst = self.worst if self.sums[Feature.LEVEL] else 0
            return
        self.learnt.append(self.window.figures())
        for mark in list(self.window.strange)[: TARGETS_KNOWN_MAX - len(self.known)]:
            self.known[mark] = None
        self.cls = max(self.cls, self.window.cls)
        self.requests += self.window.requests
        if len(self.learnt) >= WINDOWS_LEARNT:
            per_minute = self.requests * MINUTE // (len(self.learnt) * WINDOW_NS)
            self.baseline = learn(self.learnt, self.cls, per_minute, self.known)
            self.learnt = []

    def _summed(self, baseline: Baseline) -> Figures:
        figures = self.window.figures()
        rate, fan_out, denials, level = (
            norm.summed(total, figure) for norm, total, figure in zip(baseline.norms, self.sums, figures, strict=True)
        )
        return rate, fan_out, denials, level
