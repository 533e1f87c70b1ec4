"""Measuring the real kernel: how long each kind of message takes, what the layers below cost, what tables weigh.

Processor time of this thread, the lower fifth of many short spans: what the code costs when the machine is left alone.
Takes half a minute.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import platform
import resource
import ssl
import statistics
import tempfile
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop

from worldos.agent.scanner import Scanner
from worldos.fabric.session import Session
from worldos.fabric.tls import Credentials, TlsPipe
from worldos.kernel.bid_route import Route
from worldos.kernel.bids import Bids
from worldos.kernel.effects import Effect
from worldos.kernel.events import Event, PeerSaid
from worldos.kernel.summary import merged
from worldos.model import wire
from worldos.model.limits import SECOND
from worldos.model.offer import Offer
from worldos.model.realm import Level, SummaryTold
from worldos.node import Node
from worldos.planet import said
from worldos.planet.parameters import Parameters
from worldos.planet.tables import NOW_NS, Council, full_children, full_route
from worldos.sim.world import World
from worldos.trust.certs import fresh_leaf, root_certificate

SITE: Final = 20
SITE_S: Final = 15
CHILDREN: Final = 300
PIPES: Final = 200
TIMES: Final = 3  # others run on the machine too: the least counts


def measure() -> Parameters:
    """Measure everything on this machine."""
    cpu: dict[str, int] = {}
    for _ in range(TIMES):
        for what, ns in _once().items():
            cpu[what] = min(ns, cpu.get(what, ns))
    return Parameters(
        machine=_machine(),
        python=f"{platform.python_version()}, {ssl.OPENSSL_VERSION}",
        cpu_ns=dict(sorted(cpu.items())),
        memory_bytes=dict(sorted(keeping().items())),
        offer_bytes=len(wire.encode(wire.OfferTold(offer=offer_here()))),
    )


def _once() -> dict[str, int]:
    return {**handling(), **coding(), **securing(), **serving(), **asking(), **shell()}


def handling(seconds: int = SITE_S) -> dict[str, int]:
    """Return the time of ``Node.handle`` by kind of event, in a site of ``SITE`` nodes that starts and then is idle."""
    spans: dict[str, list[int]] = defaultdict(list)
    handle = Node.handle

    def timed(node: Node, event: Event) -> list[Effect]:
        began_ns = time.thread_time_ns()
        effects = handle(node, event)
        took_ns = time.thread_time_ns() - began_ns
        spans[type(event.message if isinstance(event, PeerSaid) else event).__name__].append(took_ns)
        return effects

    Node.handle = timed  # type: ignore[method-assign, assignment]
    try:
        world = World(1, SITE, drift=False)
        world.run_until(world.now_ns + seconds * SECOND)
    finally:
        Node.handle = handle  # type: ignore[method-assign]
    clock_ns = _clock_ns()
    return {f"handle {kind}": max(0, _typical(took) - clock_ns) for kind, took in spans.items() if len(took) > 10}


def coding() -> dict[str, int]:
    """Return how long it takes to encode and to decode one of each message."""
    messages: dict[str, wire.PeerMessage] = {
        "PeersTold": wire.PeersTold(peers=((said.node_id(1), said.ADDRESSES),)),
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
        result[f"encode {name}"] = _time_ns(lambda message=message: wire.encode(message))  # type: ignore[misc]
        result[f"decode {name}"] = _time_ns(lambda data=data: wire.decode(data))  # type: ignore[misc]
    return result


def securing() -> dict[str, int]:
    """Return what one end of a link pays: for a handshake, and for a message of 200 bytes sent or received."""
    a, b = _credentials(1, 2), _credentials(2, 1)
    handshake_ns = _time_ns(lambda: _shaken(a, b), rounds=40, repeat=1)
    dialer, door = _shaken(a, b)
    room = memoryview(bytearray(4096))
    data = bytes(200)

    def send() -> None:
        dialer.write(data)
        door.feed(dialer.take())
        door.read_into(room)

    return {"handshake, one end": handshake_ns // 2, "TLS record, one end": _time_ns(send) // 2}


def serving() -> dict[str, int]:
    """Return what a center's own tables take: for a child that renews or tells, and for each child where all are read."""
    children, registers = full_children(CHILDREN)
    center = said.center(Level.NATION)
    told = [SummaryTold(child=register.child, epoch=register.epoch, summary=register.summary) for register in registers]
    summaries = [register.summary for register in registers]
    turn = itertools.cycle(range(CHILDREN))

    def renew() -> None:
        register = registers[next(turn)]
        children.registered(NOW_NS, register.council[0].node, register, center)

    def tell() -> None:
        number = next(turn)
        children.summary_told(NOW_NS, registers[number].council[0].node, told[number])

    council = Council(5)
    return {
        "handle Register": _time_ns(renew),
        "handle SummaryTold": _time_ns(tell),
        "merge a summary": _time_ns(lambda: merged(summaries), rounds=20, repeat=1) // CHILDREN,
        "rank a child as heir": _time_ns(children.heirs, rounds=50, repeat=1) // CHILDREN,
        "a beat of five, per member": _time_ns(council.beat, rounds=100, repeat=1) // len(council.members),
    }


def asking() -> dict[str, int]:
    """Return what a bid takes at a center: once, and for each child whose summary is weighed."""
    few, many = full_route(2), full_route(CHILDREN)
    ask = said.bid_ask(trail=2)
    peer = said.node_id(7)

    def pass_on(route: Route) -> None:
        bids = Bids(node=said.node_id(8), boot=1)
        bids.asked(NOW_NS, peer, msgspec.structs.replace(ask, realm=route.realm), route, None)

    few_ns, many_ns = (_time_ns(lambda route=route: pass_on(route), rounds=60, repeat=1) for route in (few, many))  # type: ignore[misc]
    return {"weigh a child for a bid": many_ns // CHILDREN, "handle BidAsk": few_ns}


def shell() -> dict[str, int]:
    """Return what the loop and the system take for a message that comes alone: half of a round trip on loopback."""
    rounds = 2000

    async def run() -> int:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(4096):
                writer.write(data)
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began_ns = time.thread_time_ns()
        for _ in range(rounds):
            writer.write(bytes(200))
            await reader.read(4096)
        took_ns = time.thread_time_ns() - began_ns
        writer.close()
        server.close()
        return took_ns

    return {"shell, one message": uvloop.run(run()) // (rounds * 4)}  # each trip is sent twice and received twice


def keeping() -> dict[str, int]:
    """Return the memory of what a center keeps: measured where it is Python's, by the process where it is OpenSSL's."""
    registers = [wire.encode(said.register(1, voters=3)), wire.encode(said.register(1))]
    told = wire.encode(wire.OfferTold(offer=said.offer(said.node_id(1), len(said.RESOURCES))))
    return {
        "a child, three contacts": _held(lambda: wire.decode(registers[0])),
        "a child, eight contacts": _held(lambda: wire.decode(registers[1])),
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


def _time_ns(call: Callable[[], object], *, rounds: int = 200, repeat: int = 20) -> int:
    call()
    spans = []
    for _ in range(rounds):
        began_ns = time.thread_time_ns()
        for _ in range(repeat):
            call()
        spans.append((time.thread_time_ns() - began_ns) / repeat)
    return _typical(spans)


def _typical(spans: Sequence[float]) -> int:
    """Return the span below which a fifth of them lie."""
    return round(statistics.quantiles(spans, n=5)[0])


def _clock_ns() -> int:
    return _time_ns(time.thread_time_ns)


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
