"""What another account says of its devices: believed with a proof, kept where it concerns us, and acted on at once."""

from __future__ import annotations

import pytest
from tests.kernel.realms.village import Village, account

from worldos.kernel import revocations
from worldos.kernel.effects import CloseLane, Forget
from worldos.kernel.events import KeyLogOffered, StatementsOffered
from worldos.kernel.realms import GUEST
from worldos.model.ids import NodeId
from worldos.model.limits import SECOND
from worldos.model.local import UseGranted
from worldos.model.realm import RealmId
from worldos.model.statements import Topic
from worldos.node import Node
from worldos.trust.keylog import KeyLog, remove_device
from worldos.trust.keys import DeviceKey
from worldos.trust.revocation import DeviceRevoked, GrantRevoked, device_revoked, write_revocation
from worldos.trust.statements import sign_statement

ACME = RealmId("acme")


@pytest.fixture
def village() -> Village:
    """Two accounts below one realm; home1 leases from the office, which lends."""
    village = Village(home=2, office=1)
    village.run(4)
    village.found("home0", "acme")
    assert village.join("home0", "home0", ACME) == ""
    assert village.join("home0", "office0", ACME) == ""
    assert village.lend("office0") == ""
    village.run(5)
    assert isinstance(village.use("home1", cores=2, realm="acme/office"), UseGranted)
    return village


def put_out(village: Village, device: str, by: str) -> None:
    """A device is removed from its account by another, which then says so."""
    site, number = by[:-1], int(by[-1])
    key, node = account(site, 2)[1][number], village.nodes[by]
    target = village.nodes[device].node
    entry = remove_device(node.keylog, key, target)
    village.feed(by, KeyLogOffered(now_ns=village.now_ns, entries=((entry.body, entry.signature),)))
    said = write_revocation(device_revoked(node.keylog, target))
    village.feed(by, StatementsOffered(now_ns=village.now_ns, statements=(sign_statement(key, Topic.REVOKED, said),)))


def test_a_guest_that_its_account_puts_out_loses_its_leases_and_its_way_in(village: Village) -> None:
    host, guest = village.nodes["office0"], village.nodes["home1"].node
    assert GUEST in host.realms.kin.reasons(guest)
    assert any(lease.holder == guest for lease in host.leases.leases.values())
    put_out(village, "home1", by="home0")
    village.run(2)
    assert not any(lease.holder == guest for lease in host.leases.leases.values())
    assert not host.realms.kin.has(guest)
    assert guest not in host.paths


def test_a_device_that_was_put_out_is_welcome_no_more(village: Village) -> None:
    host, guest = village.nodes["office0"], village.nodes["home1"].node
    contact = host.realms.kin.contact(guest)
    assert contact is not None
    put_out(village, "home1", by="home0")
    village.run(2)
    (refused,) = host.realms.kin.welcome(village.now_ns, contact, GUEST, village.now_ns + 10**10)
    assert refused.name == "contact refused"


def proof(village: Village, device: str, signer: DeviceKey, log: KeyLog) -> StatementsOffered:
    said = write_revocation(device_revoked(log, village.nodes[device].node))
    return StatementsOffered(now_ns=village.now_ns, statements=(sign_statement(signer, Topic.REVOKED, said),))


def test_what_is_not_so_in_the_key_log_puts_nobody_out(village: Village) -> None:
    host, guest = village.nodes["office0"], village.nodes["home1"].node
    log, keys = village.nodes["home0"].keylog, account("home", 2)[1]
    effects = host.handle(proof(village, "home1", keys[0], log))
    assert not [effect for effect in effects if isinstance(effect, CloseLane | Forget)]
    assert host.realms.kin.has(guest)


def test_news_of_accounts_that_nobody_knows_is_not_carried_on(village: Village) -> None:
    entries, keys = account("nowhere", 2)
    log = KeyLog(entries=dict(entries))
    entry = remove_device(log, keys[0], keys[1].node_id)
    log.merge([entry])
    said = write_revocation(device_revoked(log, NodeId(keys[1].node_id)))
    statement = sign_statement(keys[0], Topic.REVOKED, said)
    host = village.nodes["office0"]
    host.handle(StatementsOffered(now_ns=village.now_ns, statements=(statement,)))
    assert not host.statements.of(Topic.REVOKED)


def test_our_own_devices_are_put_out_by_the_key_log_alone(village: Village) -> None:
    node: Node = village.nodes["home0"]
    keys = account("home", 2)[1]
    node.handle(proof(village, "home1", keys[0], node.keylog))
    assert not node.statements.of(Topic.REVOKED)
    assert node.is_member(village.nodes["home1"].node)


def test_proofs_take_only_so_much_time_of_a_node_and_the_others_come_later(village: Village) -> None:
    """Kin tells many proofs at once: eight are checked in a second; the others are not forgotten as refused."""
    host, node = village.nodes["office0"], village.nodes["home0"]
    key = account("home", 2)[1][0]
    target = village.nodes["home1"].node
    entry = remove_device(node.keylog, key, target)
    log = KeyLog(entries=dict(node.keylog.entries))
    log.merge([entry])
    body = write_revocation(device_revoked(log, target))
    signers = [DeviceKey.from_seed(bytes([number]) * 32) for number in range(1, 21)]
    told = tuple(sign_statement(signer, Topic.REVOKED, body) for signer in signers)
    for seconds, kept in ((0, 8), (2, 16), (4, 20)):
        host.handle(StatementsOffered(now_ns=village.now_ns + seconds * SECOND, statements=told))
        assert len(host.statements.of(Topic.REVOKED)) == kept


def test_others_cannot_fill_what_our_own_devices_need(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "FOREIGN_MAX", 8)
    monkeypatch.setattr(revocations, "FOREIGN_PER_SIGNER_MAX", 6)
    host = village.nodes["office0"]
    table = host.authority.revocations
    keys = account("home", 2)[1]
    assert all(host.realms.kin.has(NodeId(key.node_id)) for key in keys)

    def say(key: DeviceKey, number: int) -> None:
        body = write_revocation(GrantRevoked(block=DeviceKey.from_seed(bytes([number]) * 32).node_id))
        host.handle(StatementsOffered(now_ns=village.now_ns, statements=(sign_statement(key, Topic.REVOKED, body),)))

    for number in range(1, 11):
        say(keys[0], number)
    assert len(table.grants) == 6, "one signer of another account says so much"
    for number in range(11, 21):
        say(keys[1], number)
    assert len(table.foreign) == len(host.statements.of(Topic.REVOKED)) == len(table.grants) == 8
    ours = account("office", 1)[1][0]
    for number in range(21, 41):
        say(ours, number)
    assert len(table.grants) == 28


def test_nobody_is_said_to_be_put_out_who_never_belonged_to_us(village: Village) -> None:
    node = village.nodes["home0"]
    keys = account("home", 2)[1]
    stranger = NodeId(DeviceKey.from_seed(b"z" * 32).node_id)
    body = write_revocation(DeviceRevoked(device=stranger, account=node.registry.owner))
    node.handle(StatementsOffered(now_ns=village.now_ns, statements=(sign_statement(keys[0], Topic.REVOKED, body),)))
    assert not node.statements.of(Topic.REVOKED)
