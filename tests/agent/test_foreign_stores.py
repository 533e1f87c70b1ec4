"""Stores of another account: leased where the realm lends and the owner's choice lets it, read by who knows the ids."""

from __future__ import annotations

import os
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest
from tests.agent.accounts import two_accounts
from tests.agent.agents import RunningAgent, running, until

from worldos.depot.link import StoreLink
from worldos.depot.wire import Who
from worldos.errors import NotAllowed, OverQuota, Unreachable, WorldError
from worldos.model.local import Use, UseGranted, UseRefused
from worldos.model.need import Need
from worldos.model.resource import Kind
from worldos.sdk import connection as connections
from worldos.sdk.connection import UseMessage

WAIT_S = 60
SHARE, OTHER, THIRD = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32
AMOUNT = 2_000_000  # more than a tenancy
TTL_NS = 10 * 10**9


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[RunningAgent, RunningAgent]]:
    """``office``, which lends; and ``den``, another account below the same realm."""
    with two_accounts(lends=True) as two:
        yield two


class Holding:
    """Leases of Stores, held by this process as a program of an agent."""

    def __init__(self, agent: RunningAgent, count: int, realm: str = "") -> None:
        os.environ["WORLDOS_HOME"] = str(agent.home.path)
        self.connection = connections.connection()
        self.said: SimpleQueue[UseMessage | WorldError] = SimpleQueue()
        self.use = self.connection.next_use(self)
        need = Need(kind=Kind.STORE, amount=AMOUNT, apart=count > 1, realm=realm)
        self.connection.send(Use(use=self.use, needs=(need,) * count, ttl_ns=TTL_NS))
        self.answer = self.said.get(timeout=WAIT_S)

    def heard(self, message: UseMessage) -> None:
        self.said.put(message)

    def cut(self, why: WorldError) -> None:
        self.said.put(why)

    def end(self) -> None:
        leases = [terms.lease for terms in self.answer.leases] if isinstance(self.answer, UseGranted) else []
        self.connection.release(self.use, leases)
        connections.close()


@pytest.fixture
def holding() -> Iterator[Any]:
    home, held = os.environ["WORLDOS_HOME"], list[Holding]()

    def hold(*arguments: Any, **words: Any) -> Holding:
        held.append(Holding(*arguments, **words))
        return held[-1]

    yield hold
    for each in held:
        each.end()
    os.environ["WORLDOS_HOME"] = home


def lends(agent: RunningAgent, whom: str) -> None:
    agent.ask("lend", amount_bytes=10**9, for_=whom)
    until(
        lambda: (
            [row["facts"]["for"] for row in agent.ask("resources", kind="Store") if row["state"] != "offline"] == [whom]
        ),
        "it is offered so",
    )


def foreign(agent: RunningAgent) -> list[dict[str, Any]]:
    mine = agent.ask("status")["account"]
    return [row for row in agent.ask("stores") if row["account"] != mine]


def test_what_is_for_me_is_lent_to_nobody_else(two, holding):
    office, den = two
    lends(office, "me")
    refused = holding(den, 1, realm="acme/office").answer
    assert isinstance(refused, UseRefused)
    assert foreign(den) == []
    assert [row["kind"] for row in office.ask("leases")["granted"]] == []


def test_a_guest_keeps_what_its_lease_allows_and_lists_nothing(two, holding):
    office, den = two
    lends(office, "family")
    held = until(lambda: granted(holding(den, 1, realm="acme/office")), "the store is lent", WAIT_S)
    (terms,) = held.answer.leases
    assert terms.node == office.ask("status")["node"]
    (row,) = foreign(den)
    assert (row["node"], row["linked"], row["lease"]) == (terms.node, True, terms.lease)
    assert row["account"] == office.ask("status")["account"]
    data = os.urandom(1_200_000)
    digests = bytes(-(-len(data) // 16384) * 32)
    with StoreLink.open(row["path"]) as link:
        link.put_share(SHARE, data, digests=digests).result(WAIT_S)
        assert link.get_share(SHARE).result(WAIT_S).data == data
        with pytest.raises(OverQuota):
            link.put_share(OTHER, data, digests=digests).result(WAIT_S)
        with pytest.raises(NotAllowed):
            link.heads().result(WAIT_S)
        (owned,) = [each for each in link.usage().result(WAIT_S).owned if each.kind == "share"]
        assert (owned.owner, owned.size_bytes) == (den.ask("status")["account"], len(data))
    here = next(row for row in office.ask("stores") if row["here"])
    who = Who(node=here["node"], account=here["account"], rights="own")
    with StoreLink.open(here["path"], who) as link:
        link.put_share(OTHER, b"of the office", digests=bytes(32)).result(WAIT_S)
    with StoreLink.open(row["path"]) as link:
        assert link.drop([SHARE, OTHER]).result(WAIT_S) == 1
        assert link.have([SHARE, OTHER]).result(WAIT_S) == (-1, 13)  # by id, for an id is given


def granted(held: Holding) -> Holding | None:
    return held if isinstance(held.answer, UseGranted) else None


def test_a_gang_takes_stores_of_both_accounts_where_one_has_too_few(two, holding):
    office, den = two
    lends(office, "others")
    held = until(lambda: granted(holding(den, 2)), "the two are lent", WAIT_S)
    nodes = {agent.ask("status")["node"] for agent in two}
    assert {terms.node for terms in held.answer.leases} == nodes
    assert {row["node"] for row in den.ask("stores") if row["path"]} == nodes


def test_without_a_lease_the_door_of_another_account_is_shut(two, holding):
    office, den = two
    lends(office, "family")
    held = until(lambda: granted(holding(den, 1, realm="acme/office")), "the store is lent", WAIT_S)
    (row,) = foreign(den)
    link = StoreLink.open(row["path"])
    link.have([SHARE]).result(WAIT_S)
    held.end()
    until(lambda: not link.is_open, "the way that was open is cut")
    until(lambda: row["lease"] not in [each["lease"] for each in foreign(den)], "it is listed no more")
    with pytest.raises(Unreachable):
        StoreLink.open(row["path"]).have([SHARE]).result(WAIT_S)


def test_a_small_site_is_a_tenant_of_others_finds_them_again_and_reads_what_it_put(two):
    office, den = two
    lends(office, "family")
    den.end()  # a new life asks at once
    with running(den.home) as first:
        (row,) = until(lambda: foreign(first), "it is a tenant", WAIT_S)
        assert (row["node"], row["linked"]) == (office.ask("status")["node"], True)
        assert {lease["amount"] for lease in first.ask("leases")["held"]} == {1 << 20}
        with StoreLink.open(row["path"]) as link:
            link.put_share(THIRD, b"of the den", digests=bytes(32)).result(WAIT_S)
        assert (den.home.path / "tenancies").stat().st_mode & 0o777 == 0o600
        lends(office, "me")  # what was granted stays
        assert foreign(first)[0]["lease"] == row["lease"]
    lends(office, "family")
    with running(den.home) as second:
        (row,) = until(lambda: foreign(second), "it is found again", WAIT_S)
        with StoreLink.open(row["path"]) as link:
            assert link.get_share(THIRD).result(WAIT_S).data == b"of the den"
