"""What a machine has free is known to the others as soon as it changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from tests.e2e.lab import until
from tests.e2e.realm import Machine, Realm, no_leases, program_on, realm_of

from worldos.model.limits import MS, OFFER_REFRESH_NS

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

POLL_S = 0.002


@pytest.fixture(scope="module")
def realm() -> Iterator[Realm]:
    with realm_of(["a", "b", "c"]) as realm:
        yield realm


def seen_ms(viewers: list[Machine], condition: Callable[[Machine], bool]) -> list[float]:
    """Return for each viewer how long after the first one the condition held there too; the first is the node itself."""
    moments: dict[str, float] = {}
    end = time.monotonic() + 10
    while len(moments) < len(viewers):
        assert time.monotonic() < end, f"seen by {sorted(moments)} only; {[viewer.nodes() for viewer in viewers]}"
        for viewer in viewers:
            if viewer.name not in moments and condition(viewer):
                moments[viewer.name] = time.monotonic()
        time.sleep(POLL_S)
    first = moments[viewers[0].name]
    return [1000 * (moments[viewer.name] - first) for viewer in viewers[1:]]


def free(viewer: Machine, of: Machine, kind: str) -> int:
    return int(viewer.nodes()[of.name][f"{kind}_free"])


def test_a_lease_is_seen_by_the_others_when_it_begins_and_when_it_ends(realm: Realm) -> None:
    a, b, c = realm.machines
    whole = free(a, a, "cpu")
    assert whole >= 1000
    late_ms: list[float] = []
    for turn in range(3):
        program = program_on(a, f"hold-{turn}", amount=1.0, calls=0, hold=30.0, on=a.node)
        try:
            program.run.expect("^granted", 30)
            late_ms += seen_ms([a, b, c], lambda viewer: free(viewer, a, "cpu") <= whole - 1000)
        finally:
            program.run.process.kill()
        late_ms += seen_ms([a, b, c], lambda viewer: free(viewer, a, "cpu") == whole)
    print(f"a change was seen by others after {sorted(round(ms) for ms in late_ms)} ms")
    assert max(late_ms) < OFFER_REFRESH_NS / MS / 4, "it was told at once, and did not wait for the next refresh"
    no_leases(realm.machines)


def test_maintenance_is_seen_by_the_others(realm: Realm) -> None:
    a, b, c = realm.machines

    def states(viewer: Machine) -> set[str]:
        return {row["state"] for row in viewer.tell("resources", kind="CPU") if row["node"] == a.node}

    a.wos("drain")
    until(lambda: states(b) == states(c) == {"maintenance"}, 5, "b and c see that a is in maintenance")
    a.wos("drain", "--off")
    until(lambda: states(b) == states(c) == {"available"}, 5, "b and c see that a is back")
