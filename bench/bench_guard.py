"""What does it cost a node to guard itself: to hear a statement, to look at what waits, to be lied to?

One node, the roll of a planet (12 nations of 7, 5 witnesses), statements as they come over a link. There is no peer to compare
with that checks quorums, waves and witnesses on every node, so the limit is what no node can do without: one strict Ed25519 check
of each statement (libsodium).

Guess on the back of an envelope: a signature is 55 us. To read a command is msgpack twice (encode again, compare) and one
SHA-256: 5 + 5 + 2 us; to judge an approval one dictionary and a count over what is there, at most 84: 15 us. A second's tick over
one command that waits: void keys, a count, the gates (kept): 20 us; over the 256 that there may be 5 ms of each second, half a
per cent of a core. A hostile command is at most 14 kB: reading is linear, 30 us.

    uv run python bench/bench_guard.py [--rounds 7]
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

from tests.attacks.rolls import QUORUM, a_planet, an_order  # noqa: E402

from worldos.errors import WorldError  # noqa: E402
from worldos.kernel.guard.command import SetConfig, command_id, encode_command, read_command  # noqa: E402
from worldos.kernel.guard.limits import COMMAND_BODY_BYTES_MAX, COMMANDS_MAX  # noqa: E402
from worldos.kernel.guard.said import Approval, encode_said  # noqa: E402
from worldos.kernel.guard.waves import rank  # noqa: E402
from worldos.model.ids import AccountId, NodeId  # noqa: E402
from worldos.model.limits import SECOND  # noqa: E402
from worldos.model.statements import Statement, Topic  # noqa: E402
from worldos.node import Node, new_node  # noqa: E402
from worldos.sim.guard_scale import BEGIN_S, Campaign  # noqa: E402
from worldos.trust.keylog import KeyLog  # noqa: E402
from worldos.trust.keys import DeviceKey  # noqa: E402
from worldos.trust.statements import check_statement, sign_statement  # noqa: E402

ROLL = a_planet(size=1_000_000)
TICK_TARGET_US, HOSTILE_TARGET_US = 20_000, 1_000  # of a second; DESIGN: any hostile bytes cost 1 ms at most
AT_SCALE = 100_000


def a_node() -> Node:
    me = NodeId("a-node")
    node = new_node(node=me, account=AccountId("a"), boot=1, name="n", place="", keylog=KeyLog(), seed=1, now_ns=SECOND)
    node.wall_ahead_ns = BEGIN_S * SECOND
    node.guard.set_roll(ROLL)
    return node


def stated(who: NodeId, topic: Topic, body: bytes) -> Statement:
    return Statement(topic=topic, signer=who, body=body, signature=bytes(64))


def body_of(number: int) -> bytes:
    return encode_command(an_order(ROLL, SetConfig(key="a", value=str(number)), not_before_s=BEGIN_S + 86_400))


def timed_us(act: Callable[[int], object], many: int) -> float:
    """What one of so many takes."""
    begun = time.perf_counter()
    for number in range(many):
        act(number)
    return (time.perf_counter() - begun) / many * 1e6


def signature_us() -> float:
    """The limit: the check of one statement's signature."""
    statement = sign_statement(DeviceKey.from_seed(bytes(32)), Topic.APPROVAL, bytes(120))
    return timed_us(lambda _: check_statement(statement), 500)


def proposed_us() -> float:
    node = a_node()
    said = [stated(QUORUM[number % len(QUORUM)], Topic.COMMAND, body_of(number)) for number in range(200)]
    took = timed_us(lambda number: node.guard.judge(SECOND, said[number], node), len(said))
    assert len(node.guard.commands) == len(said)
    return took


def approved_us() -> float:
    node = a_node()
    body = body_of(0)
    node.guard.judge(SECOND, stated(QUORUM[0], Topic.COMMAND, body), node)
    said = [stated(key, Topic.APPROVAL, encode_said(Approval(command=command_id(body), key=key))) for key in QUORUM]
    took = timed_us(lambda number: node.guard.judge(SECOND, said[number], node), len(said))
    assert len(node.guard.commands[command_id(body)].approvals) == len(QUORUM)
    return took


def tick_us() -> float:
    """A second's look at as many commands as there may be, each with its quorum."""
    node = a_node()
    for number in range(COMMANDS_MAX):
        body = body_of(number)
        node.guard.buckets.proposals.clear()
        node.guard.judge(SECOND, stated(QUORUM[number % len(QUORUM)], Topic.COMMAND, body), node)
        known = command_id(body)
        for key in QUORUM:
            node.guard.judge(SECOND, stated(key, Topic.APPROVAL, encode_said(Approval(command=known, key=key))), node)
    assert len(node.guard.commands) == COMMANDS_MAX
    return timed_us(lambda number: node.guard.tick(SECOND * (2 + number), node), 5)


def hostile_us() -> float:
    """The dearest of many broken commands: cut, grown, with other bytes, nested, as long as they may be."""
    body = body_of(1)
    broken = [body[:cut] for cut in range(0, len(body), 7)]
    broken += [body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :] for at in range(0, len(body), 3)]
    broken += [
        b"\x91" * COMMAND_BODY_BYTES_MAX,
        b"\xdf" + bytes(COMMAND_BODY_BYTES_MAX - 1),
        bytes(COMMAND_BODY_BYTES_MAX),
    ]
    broken += [body + bytes(COMMAND_BODY_BYTES_MAX - len(body))]
    dearest = 0.0
    for data in broken:
        begun = time.perf_counter()
        try:
            read_command(data)
        except WorldError:
            dearest = max(dearest, time.perf_counter() - begun)
    return dearest * 1e6


def campaign_s() -> float:
    """A good command through all waves of 100 000 simulated nodes."""
    begun = time.perf_counter()
    roll = a_planet(size=AT_SCALE)
    good = Campaign(roll, an_order(roll, SetConfig(key="a", value="b")), harmful=False)
    good.propose(QUORUM[0])
    for key in QUORUM:
        good.say(key, Approval(command=good.known, key=key))
    good.run(16 * 86_400, 43_200)
    assert good.reached == AT_SCALE
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    kinds: dict[str, Callable[[], float]] = {
        "signature (the limit)": signature_us,
        "hear a command": proposed_us,
        "hear an approval": approved_us,
        f"tick, {COMMANDS_MAX} commands wait": tick_us,
        "the dearest broken command": hostile_us,
        "own rank": lambda: timed_us(lambda number: rank("c" * 52, bytes(32), str(number)), 2000),
    }
    took: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, measure in kinds.items():
            took[kind].append(measure())
    print(f"{'us, median of ' + str(rounds):<32} {'one':>10} {'x signature':>12}")
    limit = took["signature (the limit)"]
    for kind, each in took.items():
        ratio = statistics.median(one / floor for one, floor in zip(each, limit, strict=True))
        print(f"{kind:<32} {statistics.median(each):>10.1f} {ratio:>12.2f}")
    tick, hostile = (statistics.median(took[kind]) for kind in list(kinds)[3:5])
    print(f"tick: {tick / 1e4:.2f} % of a core (target {TICK_TARGET_US / 1e4:.0f} %)")
    print(f"hostile: {hostile / HOSTILE_TARGET_US:.2f} of the 1 ms that any bytes may cost")
    print(f"simulated: {AT_SCALE} nodes, 16 days, all waves: {campaign_s():.1f} s")


if __name__ == "__main__":
    main()
