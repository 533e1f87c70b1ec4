"""What does it cost to know whether a request may be done, and what can a stranger make it cost?

A grant of three blocks (an account to a person, the person to a device, the device to a program) and a request signed by its
holder, checked as a node does: read, chain, time, signature, numbers seen, operation, path, class, level. Warm: the grant was
seen before; cold: nothing is remembered. Hostile: the dearest of what `tests/attacks/test_row_07_hostile_token.py` throws.
The peer is biscuit (biscuit-python, if it is here): parse, verify, authorise one fact by one policy; it is a bearer's token,
so that nothing of a request is signed there, and its rules are a language.

Guess on the back of an envelope: libsodium verifies a signature in 50 us, and that is the limit: one of the request when warm,
one more for each block when cold. Reading costs Python 10 us for the request, 15 for each block, hashing and rules 10: warm
80 us, cold 300. Hostile: at most eight blocks with good signatures but for the last, which only a holder can make: 8 x 50 + 150.

    uv run python bench/bench_authority.py [--rounds 2000]
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.attacks.hostile_tokens import HOSTILE, refused  # noqa: E402

from worldos.model.ids import AccountId, NodeId  # noqa: E402
from worldos.model.realm import Level  # noqa: E402
from worldos.model.rights import Impact, Op  # noqa: E402
from worldos.trust.block import Limits  # noqa: E402
from worldos.trust.grant import Grants, check_chain, grant_hash, issue, narrow, narrow_chain, read_chain  # noqa: E402
from worldos.trust.keys import DeviceKey, id_of, verify  # noqa: E402
from worldos.trust.request import Request, Requests, read_request, sign_request  # noqa: E402

NOW_S = 1_800_000_000
ACCOUNT = AccountId(id_of(b"a" * 32))
KEYS = [DeviceKey.from_seed(bytes([number + 1]) * 32) for number in range(9)]
PLACE = (ACCOUNT, "node", KEYS[0].node_id, "CPU", "0")
WARM_US, COLD_US, NARROW_US, HOSTILE_US, RATE = 100, 500, 50, 1000, 10_000


def ours(account: AccountId, device: NodeId) -> bool:
    return account == ACCOUNT and device == KEYS[0].node_id


def chain_of(depth: int) -> bytes:
    limits = Limits(
        expires_s=NOW_S + 3600,
        ops=(Op.LEASE, Op.READ),
        paths=(PLACE[:2],),
        cls=Impact.COSTLY,
        level=Level.ENTERPRISE,
    )
    data = issue(KEYS[0], account=ACCOUNT, holder=KEYS[1].node_id, limits=limits)
    for number in range(1, depth):
        narrower = Limits(expires_s=NOW_S + 3600 - number, ops=(Op.LEASE,), paths=(PLACE[:3],))
        data = narrow(data, KEYS[number], holder=KEYS[number + 1].node_id, limits=narrower)
    return data


def asked(data: bytes, key: DeviceKey, number: int) -> bytes:
    request = Request(
        op=Op.LEASE,
        path=PLACE,
        body=hashlib.sha256(b"body").digest(),
        at_s=NOW_S,
        stream=1,
        number=number,
        chain=grant_hash(data),
    )
    return sign_request(key, request)


def authorise(cache: Grants, requests: Requests, data: bytes, wire: bytes) -> None:
    signed = read_request(wire)
    authority = check_chain(cache.read(data), root_key_ok=ours, now_s=NOW_S, cache=cache)
    requests.check(signed, authority, NOW_S)
    asked = signed.request
    assert authority.allows(asked.op, asked.path, Impact.REVERSIBLE, Level.HOME, NOW_S) is None


def median_us(run: Callable[[Any], object], inputs: Iterable[Any]) -> float:
    took = []
    for each in inputs:
        begun = time.perf_counter_ns()
        run(each)
        took.append(time.perf_counter_ns() - begun)
    return statistics.median(took) / 1e3


def ours_us(depth: int, rounds: int) -> tuple[float, float]:
    """Return what a request costs with everything remembered, and with nothing."""
    data, key = chain_of(depth), KEYS[depth]
    wires = [asked(data, key, number) for number in range(1, rounds + 1)]
    cache, requests = Grants(), Requests()
    warm = median_us(lambda wire: authorise(cache, requests, data, wire), wires)
    return warm, median_us(lambda wire: authorise(Grants(), Requests(), data, wire), wires[: max(50, rounds // 10)])


def biscuit_us(depth: int, rounds: int) -> float | None:
    """Return what the peer takes to parse, verify and authorise a token of so many blocks; None where it is not here."""
    try:
        import biscuit_auth as biscuit  # type: ignore[import-not-found]
    except ImportError:
        return None
    root = biscuit.KeyPair()
    token = biscuit.BiscuitBuilder('right("node/n1/CPU", "lease")').build(root.private_key)
    for number in range(1, depth):
        token = token.append(biscuit.BlockBuilder(f"check if time($t), $t < {NOW_S + number}"))
    wire = token.to_base64()

    def authorise(_: int) -> None:
        read = biscuit.Biscuit.from_base64(wire, root.public_key)
        text = f'time({NOW_S - 9}); allow if right("node/n1/CPU", "lease")'
        biscuit.AuthorizerBuilder(text).build(read).authorize()

    return median_us(authorise, range(rounds))


def hostile_us() -> tuple[str, float]:
    """Return the dearest of the hostile tokens, the best of some tries each."""
    dearest = ("", 0.0)
    for name, data in HOSTILE.items():
        took = min(median_us(refused, [data]) for _ in range(7))
        dearest = max(dearest, (name, took), key=lambda each: each[1])
    return dearest


def main() -> None:
    parser = argparse.ArgumentParser(description="What does it cost to know whether a request may be done?")
    parser.add_argument("--rounds", type=int, default=2000)
    rounds = parser.parse_args().rounds
    message = bytes(200)
    signature = KEYS[0].sign("bench", message)
    limit = median_us(lambda _: verify(KEYS[0].public, "bench", message, signature), range(rounds))
    print(f"the limit: one signature checked by libsodium, {limit:.1f} us; a request cannot cost less\n")
    print(f"{'':44}{'ours us':>9}{'to limit':>10}{'biscuit':>9}{'ratio':>7}{'to reach':>10}")

    def row(what: str, us: float, signatures: int, peer: float | None = None, target: str = "") -> None:
        least = f"{us / (limit * signatures):9.2f}x" if signatures else f"{'':10}"
        other = f"{peer:9.0f}{us / peer:7.2f}" if peer else f"{'':16}"
        print(f"{what:44}{us:9.1f}{least}{other}{target:>10}")

    warmest = 0.0
    for depth in (1, 3, 8):
        warm, cold = ours_us(depth, rounds)
        warmest = warm if depth == 3 else warmest
        row(f"a request, grant of {depth} blocks, warm", warm, 1, None, f"<= {WARM_US}" if depth == 3 else "")
        peer = biscuit_us(depth, rounds)
        row(f"a request, grant of {depth} blocks, cold", cold, depth + 1, peer, f"<= {COLD_US}" if depth == 3 else "")
    chain = read_chain(chain_of(2))
    narrower = Limits(expires_s=NOW_S, ops=(Op.LEASE,))
    passed_on = median_us(
        lambda _: narrow_chain(chain, KEYS[2], holder=KEYS[3].node_id, limits=narrower), range(rounds // 4)
    )
    row("a grant passed on", passed_on, 0, None, f"<= {NARROW_US}")
    row("a grant of 3 blocks read", median_us(read_chain, [chain_of(3)] * (rounds // 4)), 0)
    name, us = hostile_us()
    row(f"hostile: {name}", us, 0, None, f"<= {HOSTILE_US}")
    print(f"\n{1e6 / warmest:,.0f} requests a second on one core (to reach: {RATE:,})")


if __name__ == "__main__":
    main()
