"""Losses: a silent node's leases are doubted and replaced, and good again when it is heard."""

from __future__ import annotations

from tests.kernel.realms.village import Village

from worldos.model.local import LeaseAdded, LeaseDoubted, UseGranted


def test_a_lease_on_a_silent_node_is_doubted_and_another_comes_in_its_place() -> None:
    village = Village(home=3)
    village.run(2)
    held = [village.use("home0", cores=2), village.use("home0", cores=2)]
    far = next(
        lease
        for use in held
        if isinstance(use, UseGranted)
        for lease in use.leases
        if lease.node != village.nodes["home0"].node
    )
    name = village.names[far.node]
    village.cut([name], [other for other in village.nodes if other != name])
    village.run(1)
    said = [message for who, message in village.told if who == "home0"]
    assert any(isinstance(message, LeaseDoubted) and message.doubted and message.lease == far.lease for message in said)
    assert any(isinstance(message, LeaseAdded) for message in said)
    village.heal()
    village.run(1)
    said = [message for who, message in village.told if who == "home0"]
    assert any(isinstance(m, LeaseDoubted) and not m.doubted and m.lease == far.lease for m in said)
