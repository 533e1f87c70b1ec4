"""How people say what is meant: machines, kinds, files and realms, each as one path or several; and back again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.agent.solo import Solo

from worldos.agent.orders.right_names import holders_called, path_called, path_shown
from worldos.errors import BadRequest
from worldos.kernel.kin import Kinsman
from worldos.model.limits import NEVER_NS
from worldos.model.realm import Contact, RealmId
from worldos.sim.machine import device_key
from worldos.trust.feature_code import feature_code_of


@pytest.fixture(scope="module")
def agent() -> Any:
    """A node with one device, as orders see it."""
    solo = Solo("home")
    realm = solo.found("acme")
    stranger = device_key(7)
    site = RealmId("b" * 51 + "a")
    contact = Contact(node=stranger.node_id, name="bobs-phone", site=site, root_cert=b"", addresses=())
    solo.node.realms.kin.table[stranger.node_id] = Kinsman(contact=contact, reasons={f"child {realm}": NEVER_NS})
    return SimpleNamespace(node=solo.node)


def test_each_way_to_say_a_path(agent: Any) -> None:
    node = agent.node
    owner, me = str(node.registry.owner), str(node.node)
    name = node.keylog.members().active[0].name
    for text, path in {
        "": (owner,),
        name: (owner, "node", me),
        f"{name}/cpu": (owner, "node", me, "CPU"),
        f"{name}/CPU/0": (owner, "node", me, "CPU", "0"),
        f"node/{name}/CPU": (owner, "node", me, "CPU"),
        f"wos://{me}/cpu/0": (owner, "node", me, "CPU", "0"),
        "CPU": (owner, "node", me, "CPU"),
        "files/photos/2026": (owner, "files", "photos", "2026"),
        "devices": (owner, "devices"),
        "realm": (owner, "realm"),
    }.items():
        assert path_called(agent, text) == (path,), text


@pytest.mark.parametrize("text", ["..", "files/../x", "nowhere", "a/b/c/d/e/f/g/h/i", "realm/atlantis"])
def test_what_names_nothing_is_refused(agent: Any, text: str) -> None:
    with pytest.raises(BadRequest):
        path_called(agent, text)


def test_a_path_is_shown_by_the_names_of_things(agent: Any) -> None:
    name = agent.node.keylog.members().active[0].name
    for text in (f"{name}/CPU/0", "files/photos", "devices"):
        assert path_shown(agent, path_called(agent, text)[0]) == text
    assert path_shown(agent, path_called(agent, "")[0]) == "everything"


def test_somebody_is_found_by_name_id_account_code_and_realm(agent: Any) -> None:
    stranger = device_key(7).node_id
    (contact,) = (kinsman.contact for kinsman in agent.node.realms.kin.table.values())
    for text in (stranger, "bobs-phone", str(contact.site), feature_code_of(contact.site), "acme"):  # type: ignore[arg-type]
        (holder,) = holders_called(agent, text)
        assert (holder.node, holder.own) == (stranger, False), text


def test_a_device_that_was_never_met_is_meant_by_its_id(agent: Any) -> None:
    unknown = device_key(9).node_id
    assert holders_called(agent, unknown)[0].node == unknown
    assert holders_called(agent, "me")[0].own


@pytest.mark.parametrize("text", ["", "nobody", "a" * 51 + "1", "wos1" + "a" * 36])
def test_who_is_nobody_is_refused(agent: Any, text: str) -> None:
    with pytest.raises(BadRequest):
        holders_called(agent, text)
