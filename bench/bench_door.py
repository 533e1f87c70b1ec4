"""What does it cost a lease that a node asks first who may have it?

One node, pure: a member, a stranger with a grant that it shows (warm: seen before; cold: the caches are empty), and one with a
role that the node knows, each ask for a core and give it back. The limit is the same two messages without the door; what the
door itself takes is shown beside it. Pairs of both are run in turn and their ratio is the median of all pairs.

Guess on the back of an envelope: for a member a look into two tables and a value made, 2 us on 25 us for asking and releasing. A
warm grant: hash, form and signatures remembered, the intersection remembered: 10 us more. Cold: one block to read and one
signature, 15 + 55 us.

    uv run python bench/bench_door.py [--rounds 2000]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.kernel.realms.village import Village, account  # noqa: E402

from worldos.kernel import lending  # noqa: E402
from worldos.kernel.authority import BY_GRANT  # noqa: E402
from worldos.kernel.events import StatementsOffered  # noqa: E402
from worldos.kernel.roles import RoleGiven, write_role  # noqa: E402
from worldos.model.ids import NodeId, UseId  # noqa: E402
from worldos.model.limits import SECOND  # noqa: E402
from worldos.model.need import Need  # noqa: E402
from worldos.model.realm import Level  # noqa: E402
from worldos.model.statements import Topic  # noqa: E402
from worldos.model.wire import LeaseAsk, LeaseGranted, LeaseRelease  # noqa: E402
from worldos.node import Node  # noqa: E402
from worldos.trust.grant import Grants, issue  # noqa: E402
from worldos.trust.keys import DeviceKey  # noqa: E402
from worldos.trust.roles import RoleName, role_limits  # noqa: E402
from worldos.trust.statements import sign_statement  # noqa: E402

NOW_S = 1_900_000_000
OWNER, MEMBER = account("office", 2)[1]
SHOWS, KNOWN = (DeviceKey.from_seed(letter * 32) for letter in (b"s", b"k"))
WARM_TARGET_US = 100


def site() -> tuple[Node, int]:
    """A node of a site with two devices."""
    village = Village(office=2)
    village.run(3)
    node = village.nodes["office0"]
    node.wall_ahead_ns = NOW_S * SECOND - village.now_ns
    return node, village.now_ns


def grant_for(node: Node, holder: DeviceKey) -> bytes:
    limits = role_limits(RoleName.GUEST, Level.PERSONAL, ((node.registry.owner,),), NOW_S, NOW_S + 3600)
    return issue(OWNER, account=node.registry.owner, holder=NodeId(holder.node_id), limits=limits)


def once(node: Node, now_ns: int, who: NodeId, grant: bytes, *, door: bool) -> int:
    """Ask for a core and give it back; return the ns that it took."""
    resource = next(iter(node.leases.kinds))
    ask = LeaseAsk(
        ask=1,
        use=UseId("u"),
        need=Need(kind="CPU", amount=1000),
        resources=(resource,),
        ttl_ns=10**10,
        hold=False,
        grant=grant,
    )
    begun_ns = time.perf_counter_ns()
    effects = lending.asked(node, now_ns, who, ask) if door else node.leases.ask(now_ns, who, ask)
    asked_ns = time.perf_counter_ns()
    granted = next(e.message for e in effects if type(getattr(e, "message", None)) is LeaseGranted)
    released_ns = time.perf_counter_ns()
    node.leases.release(who, LeaseRelease(lease=granted.terms.lease))
    return asked_ns - begun_ns + time.perf_counter_ns() - released_ns


def pairs(rounds: int, with_door: Callable[[], int], without: Callable[[], int]) -> tuple[float, float, float]:
    """Return the medians with and without, in us, and the median of the ratios."""
    measured = [(with_door(), without()) for _ in range(rounds)]
    with_us, without_us = (statistics.median(column) / 1000 for column in zip(*measured, strict=True))
    return with_us, without_us, statistics.median(one / other for one, other in measured)


def run(rounds: int) -> None:
    node, now_ns = site()
    shown = grant_for(node, SHOWS)
    body = write_role(RoleGiven(grant=grant_for(node, KNOWN), name="known", account=""))
    node.handle(StatementsOffered(now_ns=now_ns, statements=(sign_statement(OWNER, Topic.ROLE, body),)))

    def forget() -> None:
        node.authority.checked = Grants()

    cases: list[tuple[str, NodeId, bytes, Callable[[], None]]] = [
        ("this node's own program", node.node, b"", lambda: None),
        ("a member", NodeId(MEMBER.node_id), b"", lambda: None),
        ("a grant shown, warm", NodeId(SHOWS.node_id), shown, lambda: None),
        ("a grant shown, cold", NodeId(SHOWS.node_id), shown, forget),
        ("a role that is known", NodeId(KNOWN.node_id), b"", lambda: None),
    ]
    print(f"{'who asks':<26}{'with door':>12}{'without':>12}{'ratio':>8}{'door alone':>12}")
    for name, who, grant, before in cases:

        def with_door(who: NodeId = who, grant: bytes = grant, before: Callable[[], None] = before) -> int:
            before()
            return once(node, now_ns, who, grant, door=True)

        def without(who: NodeId = who, grant: bytes = grant) -> int:
            return once(node, now_ns, who, grant, door=False)

        with_us, without_us, ratio = pairs(rounds, with_door, without)
        print(f"{name:<26}{with_us:>9.1f} us{without_us:>9.1f} us{ratio:>8.2f}{with_us - without_us:>9.1f} us")
    ruling = node.authority.judge_lease(now_ns, NodeId(KNOWN.node_id), Need(kind="CPU", amount=1), (), node)
    assert ruling.by == BY_GRANT
    print(f"target for a request that is judged warm: {WARM_TARGET_US} us")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    run(parser.parse_args().rounds)
