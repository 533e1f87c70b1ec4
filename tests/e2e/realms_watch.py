"""A watch over a tree: what every agent has granted and whom it takes for a center, several times a second; judged at the end.

with Watch(tree) as watch:
    ...
watch.judge()
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable

from tests.e2e.lab import LabError, until
from tests.e2e.realm import Machine
from tests.e2e.realms import SECOND, Row, Tree

from worldos.errors import WorldError
from worldos.sdk.asking import Asking

LOOK_S = 0.1
REIGN_S = 12.0


class Seen:
    """What one agent said at one moment. ``granted``: lease -> (kind, amount); ``rows``: the realms by id."""

    def __init__(self, at_ns: int, machine: Machine, granted: list[Row], rows: list[Row]) -> None:
        self.at_ns = at_ns
        self.node = machine.node
        self.name = machine.name
        self.granted = {row["lease"]: (row["kind"], row["amount"]) for row in granted}
        self.rows = {row["realm"]: row for row in rows}


class Watch:
    """Asks every agent of a tree again and again what it has granted and who is the center of what."""

    def __init__(self, tree: Tree, look_s: float = LOOK_S) -> None:
        self._tree = tree
        self._look_s = look_s
        self._stop = threading.Event()
        self._seen: list[Seen] = []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._watch, args=(m,), daemon=True) for m in tree.machines]
        self._capacity: dict[tuple[str, str], int] = {}

    def __enter__(self) -> Watch:
        for machine in self._tree.machines:
            for row in machine.tell("resources"):
                if row["node"] == machine.node and row["kind"] in {"CPU", "Memory"}:
                    self._capacity[machine.node, row["kind"]] = row["capacity"]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(5)

    def _watch(self, machine: Machine) -> None:
        while not self._stop.is_set():
            try:
                with Asking(machine.home, "watch") as agent:
                    while not self._stop.wait(self._look_s):
                        granted = agent.ask("leases", timeout_s=1)["granted"]
                        rows = agent.ask("realm_tree", timeout_s=1)
                        with self._lock:
                            self._seen.append(Seen(time.monotonic_ns(), machine, granted, rows))
            except (WorldError, OSError):
                self._stop.wait(self._look_s)

    def seen(self, since_ns: int = 0) -> list[Seen]:
        """All that was seen after a moment, in order of time."""
        with self._lock:
            return sorted((seen for seen in self._seen if seen.at_ns >= since_ns), key=lambda seen: seen.at_ns)

    def first_ns(self, fits: Callable[[Seen], bool], since_ns: int, within_s: float, what: str) -> int:
        """Wait until something is seen after a moment; return when."""
        found: list[int] = []

        def some() -> bool:
            found[:] = [seen.at_ns for seen in self.seen(since_ns) if fits(seen)][:1]
            return bool(found)

        try:
            until(some, within_s, what)
        except LabError as error:
            raise LabError(f"{error}\n{self._tree.describe()}") from None
        return found[0]

    def judge(self) -> None:
        """Nothing was granted twice, and no epoch of a realm had two legitimate centers."""
        homes: dict[str, set[str]] = defaultdict(set)
        reigns: dict[tuple[str, int], set[str]] = defaultdict(set)
        for seen in self.seen():
            totals: dict[str, int] = defaultdict(int)
            for lease, (kind, amount) in seen.granted.items():
                totals[kind] += amount
                homes[lease].add(seen.node)
            for kind, total in totals.items():
                capacity = self._capacity.get((seen.node, kind))
                assert capacity is None or total <= capacity, f"{seen.name} granted {total} of {capacity} {kind}"
            for realm, row in seen.rows.items():
                if row["primary"] and not row["provisional"] and row["epoch"]:
                    reigns[realm, row["epoch"]].add(row["primary"])
        twice = {lease: nodes for lease, nodes in homes.items() if len(nodes) > 1}
        assert not twice, f"one lease of several nodes: {twice}"
        torn = {reign: primaries for reign, primaries in reigns.items() if len(primaries) > 1}
        assert not torn, f"several centers in one epoch: {torn}"


def new_primary_s(watch: Watch, realm: str, viewers: list[Machine], old: str, since_ns: int) -> float:
    """How long after a moment the first of some nodes saw another legitimate primary of a realm."""
    nodes = {machine.node for machine in viewers}
    before = [
        row for seen in watch.seen() if seen.at_ns <= since_ns for row in seen.rows.values() if row["name"] == realm
    ]
    epoch = max((row["epoch"] for row in before if row["primary"] == old), default=0)

    def another(seen: Seen) -> bool:
        rows = [row for row in seen.rows.values() if row["name"] == realm and row["epoch"] > epoch]
        return seen.node in nodes and any(row["primary"] != old and not row["provisional"] for row in rows)

    at_ns = watch.first_ns(another, since_ns, REIGN_S, f"another primary of {realm}")
    return (at_ns - since_ns) / SECOND
