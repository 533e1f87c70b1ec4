"""What primaries say of themselves is believed from themselves alone, and never of an older reign."""

from __future__ import annotations

import msgspec
from tests.kernel.realms.village import Village

from worldos.kernel.realms import told
from worldos.model.limits import EPOCH_LEAP_MAX
from worldos.model.realm import CenterTold, Epoch


def home() -> Village:
    village = Village(home=3, office=1)
    village.run(4)
    return village


def test_nobody_speaks_for_another_and_no_stranger_for_a_site() -> None:
    village = home()
    node = village.nodes["home2"]
    center = msgspec.structs.replace(village.believed("home2"), epoch=Epoch(9), primary=village.contact("home1"))
    liar = village.nodes["home0"].node
    assert told.center_told(node.realms, village.now_ns, liar, center, node) == []
    stranger = msgspec.structs.replace(center, primary=village.contact("office0"))
    assert told.center_told(node.realms, village.now_ns, village.nodes["office0"].node, stranger, node) == []
    assert village.primary("home2") == "home0"


def test_an_older_primary_is_told_who_reigns() -> None:
    village = home()
    node = village.nodes["home0"]
    old = msgspec.structs.replace(village.believed("home0"), epoch=Epoch(0), primary=village.contact("home1"))
    (answer,) = told.center_told(node.realms, village.now_ns, village.nodes["home1"].node, old, node)
    assert isinstance(answer.message, CenterTold)
    assert answer.message.center.epoch == Epoch(1)


def test_an_island_is_outbid_by_the_council_and_a_leap_is_nobodys() -> None:
    village = home()
    node, peer = village.nodes["home0"], village.nodes["home1"].node
    island = msgspec.structs.replace(village.believed("home0"), epoch=Epoch(5, True), primary=village.contact("home1"))
    leap = msgspec.structs.replace(island, epoch=Epoch(5 + EPOCH_LEAP_MAX, provisional=True))
    told.center_told(node.realms, village.now_ns, peer, leap, node)
    village.run(2)
    assert village.believed("home0").epoch == Epoch(1)
    told.center_told(node.realms, village.now_ns, peer, island, node)
    village.run(2)
    assert village.believed("home2").epoch == Epoch(6)


def test_of_two_councils_of_one_realm_the_larger_stays_and_the_other_gives_up_its_seat() -> None:
    village = Village(home=4)
    village.nodes["home3"].realms.founding = True  # recovered on a bare machine: it knows of no other device
    village.cut(["home3"], ["home0", "home1", "home2"])
    village.run(25)
    assert not village.believed("home3").epoch.provisional
    village.heal()
    village.run(8)
    primary = village.primary("home0", "home1", "home2", "home3")
    assert primary != "home3"
    config = village.nodes[primary].realms.seats[village.site(primary)].raft.log.config
    assert len(config.voters) == 3
    seat = village.nodes["home3"].realms.seats.get(village.site("home3"))
    assert seat is None or seat.raft.log.config == config
    assert [name for name, notice in village.notices if notice.name == "council given up"] == ["home3"]


def test_an_island_that_was_seen_before_an_election_is_outbid_by_who_is_elected() -> None:
    village = Village(home=3)
    village.run(25)
    for node in village.nodes.values():
        node.realms.centers.see(node.realms.site, Epoch(9, provisional=True))
    village.cut(["home0"], ["home1", "home2"])
    village.run(5)
    assert village.believed(village.primary("home1", "home2")).epoch == Epoch(10)
