"""The key log spreads to whoever misses a part of it, and who is put out loses everything here at once."""

from __future__ import annotations

from tests.test_node import ME, PEER, THIRD, linked, node_of, said

from worldos.kernel import belonging
from worldos.kernel.effects import Forget, Notice, SaveKeyLog
from worldos.model.wire import KeyLogHave, KeyLogTold
from worldos.sim.machine import _recovery_seed, removal
from worldos.trust.keys import DeviceKey
from worldos.trust.sayings import snapshot


def removed(node, device):
    signed = removal(node.keylog, device)
    return ((signed.body, signed.signature),)


def test_what_is_new_is_stored_and_told_on_but_not_back_to_where_it_came_from() -> None:
    node = node_of()
    linked(node, peer=PEER)
    linked(node, peer=THIRD)
    effects = belonging.merge(node, 3, removed(node, THIRD), PEER)
    assert isinstance(effects[0], SaveKeyLog)
    assert any(isinstance(message, KeyLogTold) for message in said(effects, THIRD)), "who is put out hears it too"
    assert not said(effects, PEER)


def test_who_is_put_out_loses_its_link_its_offer_and_its_place() -> None:
    node = node_of()
    linked(node, peer=PEER)
    effects = belonging.merge(node, 3, removed(node, PEER), None)
    assert [effect.node for effect in effects if isinstance(effect, Forget)] == [PEER]
    assert PEER not in node.paths
    assert not node.is_member(PEER)
    assert not belonging.merge(node, 4, belonging.log_entries(node.keylog, node.keylog.entries), None), "known already"


def test_what_is_no_entry_is_named_and_changes_nothing() -> None:
    node = node_of()
    effects = belonging.merge(node, 3, ((b"garbage", bytes(64)),), PEER)
    assert [(e.name, e.fields["from"]) for e in effects if isinstance(e, Notice)] == [("key log refused", PEER)]
    assert len(node.keylog.members().active) == 3


def test_peers_are_told_in_turn_how_far_the_log_goes() -> None:
    node = node_of()
    assert not belonging.compare(node, 1)
    linked(node, peer=PEER)
    linked(node, peer=THIRD)
    told = [effect.node for _ in range(4) for effect in belonging.compare(node, 5)]
    assert sorted(told) == sorted([PEER, THIRD] * 2)
    assert ME not in told


def test_who_has_less_gets_the_rest_and_who_has_more_is_asked() -> None:
    ahead, behind = node_of(0), node_of(1)
    belonging.merge(ahead, 3, removed(ahead, THIRD), None)
    (message,) = said(belonging.tell(ahead, PEER, KeyLogHave(heads=behind.keylog.heads())), PEER)
    assert isinstance(message, KeyLogTold)
    asked = said(belonging.tell(behind, ME, KeyLogHave(heads=ahead.keylog.heads())), ME)
    assert KeyLogHave in [type(each) for each in asked]
    belonging.merge(behind, 4, message.entries, ME)
    assert behind.keylog.heads() == ahead.keylog.heads()


def test_a_long_log_is_told_in_several_messages(monkeypatch) -> None:
    monkeypatch.setattr(belonging, "TOLD_BYTES_MAX", 1500)
    node = node_of()
    told = said(belonging.tell(node, PEER, KeyLogHave(heads=())), PEER)
    assert len(told) > 1
    assert [entry for message in told for entry in message.entries] == list(
        belonging.log_entries(node.keylog, node.keylog.entries)
    )


def test_a_log_begins_at_a_snapshot_when_every_device_has_it() -> None:
    nodes = [node_of(number) for number in range(3)]
    node = nodes[0]
    made = snapshot(node.keylog, DeviceKey.from_seed(_recovery_seed(0)))
    belonging.merge(node, 3, ((made.body, made.signature),), None)
    heads = KeyLogHave(heads=node.keylog.heads())
    assert said(belonging.tell(node, PEER, KeyLogHave(heads=nodes[1].keylog.heads())), PEER), "it is told the snapshot"
    before = len(node.keylog.entries)
    assert not belonging.tell(node, PEER, heads)
    effects = belonging.tell(node, THIRD, heads)
    assert isinstance(effects[0], SaveKeyLog)
    assert len(node.keylog.members().active) == 3
    assert len(node.keylog.entries) <= before
    assert not belonging.tell(node, PEER, heads), "it is done once"
