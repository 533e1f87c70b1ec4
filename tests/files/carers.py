"""The keepers of a site, loop by loop, without processes: each has its depot, its memory and its own view of the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.files.depots import ACCOUNT, Depot, Site
from tests.patience import patient_s

from worldos.depot.records import Cared
from worldos.depot.wire import Append, Care, Who
from worldos.files.auditing import Auditing, Scrubbing
from worldos.files.caring import GRACE_NS, Caring
from worldos.files.syncing import Peers, Syncing
from worldos.files.watching import LOOK_NS, PEERS_S, Watch
from worldos.trust.keys import DeviceKey

SECOND = 1_000_000_000
DAY_NS = 24 * 3600 * SECOND


class Carer:
    """All loops of one depot's keeper, on a clock that the test moves."""

    def __init__(self, site: Site, depot: Depot) -> None:
        assert depot.store is not None
        assert depot.server is not None
        self.site, self.depot, self.now_ns = site, depot, 1_000 * DAY_NS
        self.key = DeviceKey.from_seed(bytes([depot.number + 1]) * 32)
        self.stores = site.stores(depot.number)
        self.syncing = Syncing(depot.store, self.peers)
        self.watch = Watch(depot.folder, ACCOUNT, self.key, depot.store, self.stores, self.syncing.heard)
        self.caring = Caring(depot.folder, depot.store, self.watch)
        self.auditing = Auditing(self.caring, self.watch)
        self.scrubbing = Scrubbing(depot.store, lambda _: None)
        depot.server.heard = self.heard

    def peers(self) -> Peers:
        return self.watch.peers()

    def heard(self, who: Who, request: Append | Care) -> None:
        if isinstance(request, Care):
            care = Cared(locator=request.locator, verify=request.verify, owner=request.owner)
            self.caring.heard(care, self.now_ns)
        elif who.node == self.depot.node:
            self.syncing.heard(request.entries)

    def look_anew(self) -> None:
        self.stores.refresh(at_once=True)
        self.watch._peers_at_s = -PEERS_S

    def step(self, seconds: int = 1) -> None:
        """Let time pass, and the carer see who is there."""
        self.now_ns += seconds * SECOND
        self.look_anew()
        self.caring.step(self.now_ns)

    def run_pass(self) -> None:
        """Look at all files once."""
        self.look_anew()
        self.watch.look(self.now_ns)
        self.caring.run_all(self.now_ns, lambda at, of: None)

    def live(self, days: int, *, hours: int = 1) -> None:
        """Let days pass as a device that is awake sees them."""
        period_ns = LOOK_NS * 9
        end_ns = self.now_ns + days * DAY_NS
        while self.now_ns < end_ns:
            self.now_ns += period_ns
            self.watch.look(self.now_ns)

    def until(self, condition: Callable[[], bool], *, steps: int = 60) -> None:
        """Step until something is so; where links and disks take their time, go on while hardly any passes on its clock."""
        self.now_ns += GRACE_NS
        end_s = time.monotonic() + patient_s(10)
        while not condition():
            assert steps > 0 or time.monotonic() < end_s, "it never was so"
            self.step(150 if steps > 0 else 1)
            time.sleep(0.005 if steps > 0 else 0.1)
            steps -= 1

    def end(self) -> None:
        if self.depot.server is not None:
            self.depot.server.heard = lambda who, request: None  # what still comes finds nobody, not a closed memory
        self.watch.close()


@contextmanager
def carers(site: Site) -> Iterator[list[Carer]]:
    made = [Carer(site, depot) for depot in site.depots if depot.store is not None]
    try:
        yield made
    finally:
        for carer in made:
            carer.end()
