"""What the work sees of its site is what a node knows of it, here as there."""

from __future__ import annotations

from tests.agent.solo import Solo
from tests.kernel.work.sites import Pump, SeenSite

from worldos.kernel.charter import WorkBegan, WorkStands, encode_command
from worldos.kernel.events import CharterAsked
from worldos.kernel.work.site import NodeSite, Site
from worldos.model.ids import ClientId, NodeId


def test_a_site_of_the_tests_is_one() -> None:
    site: Site = SeenSite(Pump("ab", "c"), NodeId("a"))
    assert site.works() is False
    assert site.council() == ("a", "b")
    assert site.alive() == ["a", "b", "c"]
    assert SeenSite(Pump("ab", "c"), NodeId("c")).works() is None


def test_a_node_reads_its_charter_and_clock() -> None:
    solo = Solo()
    site: Site = NodeSite(solo.node)
    me = solo.node.node
    assert site.is_member(me)
    assert site.council() == (me,)
    assert site.alive() == [me]
    assert (site.works(), site.founders()) == (False, ())
    for command, founders in ((WorkBegan(), (me,)), (WorkBegan(), (me,)), (WorkStands(), ())):
        solo.feed(
            CharterAsked(
                now_ns=solo.now_ns,
                client=ClientId("c1"),
                request=1,
                realm=solo.node.realms.site,
                command=encode_command(command),
            )
        )
        assert (site.works(), site.founders()) == (True, founders)
    assert list(site.offers()) == [me]
    assert not site.looks_further()
    assert site.view(5).home == me
