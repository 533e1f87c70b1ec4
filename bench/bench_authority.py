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
SIGNATURE_US = 50  # the machine that the targets were set on, when it was quiet


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


MESSAGE = bytes(200)
SIGNATURE = KEYS[0].sign("bench", MESSAGE)


def measured(run: Callable[[Any], object], inputs: Iterable[Any]) -> tuple[float, float]:
    """Return the median time in us, and the median of its ratio to one signature checked just before."""
    took, ratios = [], []
    clock = time.perf_counter_ns
    for each in inputs:
        start = clock()
        verify(KEYS[0].public, "bench", MESSAGE, SIGNATURE)
        begun = clock()
        run(each)
        end = clock()
        took.append(end - begun)
        ratios.append((end - begun) / (begun - start))
    return statistics.median(took) / 1e3, statistics.median(ratios)


def ours_us(depth: int, rounds: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return what a request costs with everything remembered, and with nothing."""
    data, key = chain_of(depth), KEYS[depth]
    wires = [asked(data, key, number) for number in range(1, rounds + 1)]
    cache, requests = Grants(), Requests()
    warm = measured(lambda wire: authorise(cache, requests, data, wire), wires)
    few = wires[: max(50, rounds // 10)]
    return warm, measured(lambda wire: authorise(Grants(), Requests(), data, wire), few)


def biscuit_us(depth: int, rounds: int) -> tuple[float, float, int] | None:
    """Return what the peer takes to parse, verify and authorise a token, and how many it refused for its limit of time."""
    try:
        import biscuit_auth as biscuit  # type: ignore[import-not-found]
    except ImportError:
        return None
    root = biscuit.KeyPair()
    token = biscuit.BiscuitBuilder('right("node/n1/CPU", "lease")').build(root.private_key)
    for number in range(1, depth):
        token = token.append(biscuit.BlockBuilder(f"check if time($t), $t < {NOW_S + number}"))
    wire = token.to_base64()
    refusals = 0

    def authorise(_: int) -> None:
        nonlocal refusals
        read = biscuit.Biscuit.from_base64(wire, root.public_key)
        text = f'time({NOW_S - 9}); allow if right("node/n1/CPU", "lease")'
        try:
            biscuit.AuthorizerBuilder(text).build(read).authorize()
        except biscuit.AuthorizationError:
            refusals += 1

    return (*measured(authorise, range(rounds)), refusals)


def hostile_us() -> tuple[str, float, float]:
    """Return the dearest of the hostile tokens: its name, us and ratio, the best of some tries each."""
    dearest = ("", 0.0, 0.0)
    for name, data in HOSTILE.items():
        us, ratio = min(measured(refused, [data]) for _ in range(9))
        dearest = max(dearest, (name, us, ratio), key=lambda each: each[1])
    return dearest


def row(what: str, found: tuple[float, float], least: int, target_us: int = 0, peer: float = 0.0) -> None:
    us, ratio = found
    other = f"{peer:9.0f}{us / peer:7.2f}" if peer else f"{'':16}"
    target = f"<= {target_us} = {target_us / SIGNATURE_US:.0f} s" if target_us else ""
    print(f"{what:42}{us:9.1f}{ratio:8.2f}{f'{least}':>7}{other}{target:>16}")


def main() -> None:
    parser = argparse.ArgumentParser(description="What does it cost to know whether a request may be done?")
    parser.add_argument("--rounds", type=int, default=2000)
    rounds = parser.parse_args().rounds
    limit = measured(lambda _: verify(KEYS[0].public, "bench", MESSAGE, SIGNATURE), range(rounds))[0]
    print(f"one signature checked by libsodium, s: {limit:.1f} us here and now; targets are for {SIGNATURE_US} us\n")
    print(f"{'':42}{'ours us':>9}{'in s':>8}{'least':>7}{'biscuit':>9}{'ratio':>7}{'to reach':>16}")
    denied, rate = [], 0.0
    for depth in (1, 3, 8):
        warm, cold = ours_us(depth, rounds)
        rate = 1e6 / warm[0] if depth == 3 else rate
        row(f"a request, grant of {depth} blocks, warm", warm, 1, WARM_US if depth == 3 else 0)
        peer = biscuit_us(depth, max(50, rounds // 10))
        row(
            f"a request, grant of {depth} blocks, cold",
            cold,
            depth + 1,
            COLD_US if depth == 3 else 0,
            peer[0] if peer else 0,
        )
        denied += [peer[2]] if peer else []
    chain = read_chain(chain_of(2))
    narrower = Limits(expires_s=NOW_S, ops=(Op.LEASE,))
    passed_on = measured(
        lambda _: narrow_chain(chain, KEYS[2], holder=KEYS[3].node_id, limits=narrower), range(rounds // 4)
    )
    row("a grant passed on (signed once)", passed_on, 0, NARROW_US)
    row("a grant of 3 blocks read, not checked", measured(read_chain, [chain_of(3)] * (rounds // 4)), 0)
    name, us, ratio = hostile_us()
    row(f"hostile: {name}", (us, ratio), 8, HOSTILE_US)
    print(f"\n{rate:,.0f} requests a second on one core (to reach: {RATE:,})")
    if denied:
        print(
            f"honest requests that biscuit refused for its limit of 1 ms: {sum(denied)} of {3 * max(50, rounds // 10)}"
        )


if __name__ == "__main__":
    main()
