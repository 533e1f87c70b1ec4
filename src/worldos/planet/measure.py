"""Measuring the real kernel: how long each kind of message takes, what the layers below cost, what tables weigh.

Processor time of this thread, the median of many short spans: what the code costs when the machine is left alone.
Takes half a minute.
"""

from __future__ import annotations

import gc
import platform
import resource
import ssl
import statistics
import subprocess
import tempfile
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from worldos.agent.scanner import Scanner
from worldos.fabric.session import Session
from worldos.fabric.tls import Credentials, TlsPipe
from worldos.kernel.effects import Effect
from worldos.kernel.events import Event, PeerSaid
from worldos.kernel.summary import merged
from worldos.model import wire
from worldos.model.limits import SECOND
from worldos.model.need import Need
from worldos.model.offer import Offer
from worldos.model.resource import Kind
from worldos.node import Node
from worldos.planet import said
from worldos.planet.parameters import Parameters
from worldos.sim.world import World
from worldos.trust.certs import fresh_leaf, root_certificate

SITE: Final = 20
SITE_S: Final = 15
CHILDREN: Final = 300
PIPES: Final = 200


def measure() -> Parameters:
    """Measure everything on this machine."""
    cpu = {**handling(), **coding(), **securing(), **summing()}
    return Parameters(
        machine=_machine(),
        python=f"{platform.python_version()}, {ssl.OPENSSL_VERSION}",
        commit=_commit(),
        cpu_ns=dict(sorted(cpu.items())),
        memory_bytes=dict(sorted(keeping().items())),
        offer_bytes=len(wire.encode(wire.OfferTold(offer=offer_here()))),
    )


def handling(seconds: int = SITE_S) -> dict[str, int]:
    """Return the median time of ``Node.handle`` by kind of event, in an idle site of ``SITE`` nodes."""
    world = World(1, SITE, drift=False)
    world.run_until(world.now_ns + 5 * SECOND)
    spans: dict[str, list[int]] = defaultdict(list)
    handle = Node.handle

    def timed(node: Node, event: Event) -> list[Effect]:
        began_ns = time.perf_counter_ns()
        effects = handle(node, event)
        took_ns = time.perf_counter_ns() - began_ns
        spans[type(event.message if isinstance(event, PeerSaid) else event).__name__].append(took_ns)
        return effects

    Node.handle = timed  # type: ignore[method-assign, assignment]
    try:
        world.run_until(world.now_ns + seconds * SECOND)
    finally:
        Node.handle = handle  # type: ignore[method-assign]
    clock_ns = _clock_ns()
    return {f"handle {kind}": max(0, round(statistics.median(took)) - clock_ns) for kind, took in spans.items()}


def coding() -> dict[str, int]:
    """Return how long it takes to encode and to decode one of each message."""
    messages: dict[str, wire.PeerMessage] = {
        "OfferTold": wire.OfferTold(offer=said.offer(said.node_id(1), len(said.RESOURCES))),
        "heartbeat": said.heartbeat(),
        "Register": said.register(1),
        "Registered": said.registered(1),
        "CenterTold": said.center_told(1),
        "SummaryTold": said.summary_told(),
        "BidAsk": said.bid_ask(),
        "BidAnswer": said.bid_answer(),
    }
    result = {}
    for name, message in messages.items():
        data = wire.encode(message)
        result[f"encode {name}"] = _median_ns(lambda message=message: wire.encode(message))  # type: ignore[misc]
        result[f"decode {name}"] = _median_ns(lambda data=data: wire.decode(data))  # type: ignore[misc]
    return result


def securing() -> dict[str, int]:
    """Return what one end of a link pays: for a handshake, and for a message of 200 bytes sent or received."""
    a, b = _credentials(1, 2), _credentials(2, 1)
    handshake_ns = _median_ns(lambda: _shaken(a, b), rounds=40, repeat=1)
    dialer, door = _shaken(a, b)
    room = memoryview(bytearray(4096))
    data = bytes(200)

    def send() -> None:
        dialer.write(data)
        door.feed(dialer.take())
        door.read_into(room)

    return {"handshake, one end": handshake_ns // 2, "TLS record, one end": _median_ns(send) // 2}


def summing() -> dict[str, int]:
    """Return what one more child costs when a center puts all summaries together."""
    summaries = [said.summary(12)] * 100
    return {"merge a summary": _median_ns(lambda: merged(summaries), rounds=30, repeat=1) // len(summaries)}


def keeping() -> dict[str, int]:
    """Return the memory of what a center keeps: measured where it is Python's, by the process where it is OpenSSL's."""
    registers = [wire.encode(said.register(1, voters=3)), wire.encode(said.register(1, voters=5))]
    told = wire.encode(wire.OfferTold(offer=said.offer(said.node_id(1), len(said.RESOURCES))))
    return {
        "a child, council of 3": _held(lambda: wire.decode(registers[0])),
        "a child, council of 5": _held(lambda: wire.decode(registers[1])),
        "an offer": _held(lambda: wire.decode(told)),
        "a session": _held(lambda: Session(said.node_id(2), 7, None, odd=True)),  # type: ignore[arg-type]
        "TLS of a link": _tls_bytes(),
    }


def offer_here() -> Offer:
    """Return what this machine would offer."""
    with tempfile.TemporaryDirectory() as folder:
        resources, facts = Scanner([folder], lambda _what, _why: None).look()
    world = World(1, 1, drift=False)
    node = world.machines[0].node
    assert node is not None
    node.registry.facts = facts
    node.registry.addresses = said.ADDRESSES
    node.registry.scan(0, 0, resources, node.leases)
    return node.registry.own_offer(node.leases)


def a_need() -> Need:
    """Return what programs ask for most."""
    return Need(kind=Kind.CPU, amount=1000)


def _median_ns(call: Callable[[], object], *, rounds: int = 200, repeat: int = 20) -> int:
    call()
    spans = []
    for _ in range(rounds):
        began_ns = time.perf_counter_ns()
        for _ in range(repeat):
            call()
        spans.append((time.perf_counter_ns() - began_ns) / repeat)
    return round(statistics.median(spans))


def _clock_ns() -> int:
    return _median_ns(time.perf_counter_ns)


def _held(make: Callable[[], Any]) -> int:
    """Return the memory of one of many that are kept."""
    make()
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    kept = [make() for _ in range(CHILDREN)]
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) // len(kept)


def _tls_bytes() -> int:
    a, b = _credentials(1, 2), _credentials(2, 1)
    kept = [_shaken(a, b) for _ in range(20)]
    before = _resident_bytes()
    kept += [_shaken(a, b) for _ in range(PIPES)]
    return (_resident_bytes() - before) // (2 * PIPES)


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _credentials(me: int, other: int) -> Credentials:
    leaf = fresh_leaf(said.key(me), int(time.time()), bytes(32))
    return Credentials(*leaf, [root_certificate(said.key(number)) for number in (me, other)])


def _shaken(a: Credentials, b: Credentials) -> tuple[TlsPipe, TlsPipe]:
    dialer, door = TlsPipe(a, dialed=True), TlsPipe(b, dialed=False)
    done = [False, False]
    while not all(done):
        for which, (here, there) in enumerate(((dialer, door), (door, dialer))):
            if not done[which]:
                done[which] = here.handshake()
            there.feed(here.take())
    return dialer, door


def _machine() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return f"{len(names)} virtual cores ({names[0]})" if names else platform.machine()


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return done.stdout.strip()
