"""What realms say to each other, and what being the center of one takes. A row per realm.

- council: the leader's beat to each other voter, and the answer (kernel/raft);
- told: the primary says who it is to its devices, or its children, on every change and every 10 s (kernel/realms.py);
- registers: every 5 s each child registers, and is answered with all that its superior is (kernel/children.py);
- summaries: what changed by more than a tenth, at most once a second;
- links: a child keeps links with the council and the heirs of its superior (kernel/superior.py ``wanted``), and every link is
  asked for a sign of life once a second from both ends.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from worldos.fabric.limits import PROBE_NS
from worldos.kernel.raft.pace import LAN, WAN
from worldos.model.limits import (
    BID_FANOUT,
    CENTER_LOOK_NS,
    CENTER_TELL_NS,
    REGISTER_PERIOD_NS,
    SECOND,
    SUMMARY_PERIOD_NS,
)
from worldos.model.realm import HEIRS_MAX, Level
from worldos.planet.cities import Floats, Ints
from worldos.planet.parameters import Parameters
from worldos.planet.site import Traffic
from worldos.planet.sizes import ACK_FRAME_BYTES, AROUND_BYTES, LINK_ASKED_BYTES, Sizes
from worldos.planet.tree import Planet, Realms

SEATS_FROM: Final = ((7, 5), (3, 3), (1, 1))  # so many members that are mostly on, so many seats
SPEAKERS: Final = 8  # contacts with which a realm registers: its council, and who would stand in (kernel/realms)
AGENT_BYTES: Final = 45_000_000  # an idle agent and its nursery (bench/bench_idle.py, PSS)


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """The periods of centers, in seconds."""

    beat_site_s: float = LAN.heartbeat_ns / SECOND
    beat_above_s: float = WAN.heartbeat_ns / SECOND
    tell_s: float = CENTER_TELL_NS / SECOND
    register_s: float = REGISTER_PERIOD_NS / SECOND
    link_s: float = PROBE_NS / SECOND


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """How often what a realm has free changes by more than a tenth, and bids at a center, per second."""

    summary_changes: float = 0.0
    bids: float = 0.0


IDLE: Final = Load()
BUSY: Final = Load(summary_changes=SECOND / SUMMARY_PERIOD_NS, bids=10.0)


def seats(members: Ints) -> Ints:
    """Return how many voters a realm of so many members has."""
    result = np.ones_like(members)
    for least, voters in reversed(SEATS_FROM):
        result[members >= least] = voters
    return result


def realm_traffic(
    realms: Realms, sizes: Sizes, *, load: Load = IDLE, pace: Pace | None = None, has_parent: bool = True
) -> Traffic:
    """Return what all nodes together send for each realm of a level, its children's registrations included.

    The primary of a realm is the primary of one of its children too, so that child is told and registers without a message.
    """
    pace = pace or Pace()
    is_site = realms.level is Level.PERSONAL
    real = realms.real.astype(np.float64)
    members = realms.nodes if is_site else realms.children
    voters = seats(members)
    others = (voters - 1) * real
    speakers = np.minimum(realms.nodes / np.maximum(realms.children, 1), SPEAKERS)
    heirs = np.zeros_like(voters) if is_site else np.minimum(np.floor(realms.children * speakers), HEIRS_MAX)
    audience = np.maximum(np.maximum(members, heirs) - 1, 0) * real
    traffic = Traffic(messages={}, payload={}, wire={})
    beat = others / (pace.beat_site_s if is_site else pace.beat_above_s)
    _add(traffic, "council", 2 * beat, beat * (sizes.heartbeat + sizes.heartbeat_answer), acks=beat)
    parents = sizes.joined_by if has_parent and realms.level is not Level.PLANET else 0
    center_bytes = sizes.center + (1 + voters + heirs + parents) * sizes.seat
    told = audience / pace.tell_s
    _add(traffic, "told", told, told * center_bytes, acks=told)
    children = np.zeros_like(audience) if is_site else np.maximum(members - 1, 0) * real
    asked = children / pace.register_s
    register_bytes = sizes.register + speakers * sizes.seat + sizes.lines * sizes.line
    _add(traffic, "registers", 2 * asked, asked * (register_bytes + center_bytes), acks=asked)
    changed = children * load.summary_changes
    _add(traffic, "summaries", changed, changed * sizes.summary_told, acks=changed)
    links = children * np.maximum(voters, heirs) + (0.0 if is_site else 0.5) * others
    traffic.messages["links above"] = traffic.payload["links above"] = np.zeros_like(links)
    traffic.wire["links above"] = links * (2 * LINK_ASKED_BYTES / pace.link_s)
    return traffic


def _add(traffic: Traffic, cause: str, messages: Floats, payload: Floats, *, acks: Floats) -> None:
    """Count messages, and the frames that acknowledge those which nothing answers."""
    traffic.messages[cause] = messages
    traffic.payload[cause] = payload
    traffic.wire[cause] = payload + messages * AROUND_BYTES + acks * ACK_FRAME_BYTES


def above(planet: Planet, sizes: Sizes, *, load: Load = IDLE, pace: Pace | None = None) -> dict[Level, Traffic]:
    """Return what is said for the realms of each level."""
    shared = len(planet.sites.nodes) > 1
    return {
        realms.level: realm_traffic(realms, sizes, load=load, pace=pace, has_parent=shared) for realms in planet.levels
    }


class Center(msgspec.Struct, frozen=True, kw_only=True):
    """What the primary of a realm needs beside being a node: bytes, and shares of one core by what it does."""

    children: int
    memory_bytes: int
    core: dict[str, float]

    @property
    def core_share(self) -> float:
        """Return the whole share of a core."""
        return sum(self.core.values())


def center(children: int, parameters: Parameters, *, load: Load = IDLE, pace: Pace | None = None) -> Center:
    """Return what the center of a realm with so many child realms needs, from what was measured."""
    pace = pace or Pace()
    cpu = parameters.cpu_ns
    line_ns = cpu["TLS record, one end"] + cpu["shell, one message"]
    register_ns = cpu["decode Register"] + cpu["handle Register"] + cpu["encode Registered"] + 2 * line_ns
    summary_ns = cpu["decode SummaryTold"] + cpu["handle SummaryTold"] + line_ns
    bid_ns = cpu["decode BidAsk"] + cpu["handle BidAsk"] + children * cpu["weigh a child for a bid"]
    bid_ns += (1 + BID_FANOUT) * (
        cpu["encode BidAsk"] + cpu["decode BidAnswer"] + cpu["encode BidAnswer"] + 2 * line_ns
    )
    others = int(seats(np.array([children]))[0]) - 1
    beat_ns = cpu["a beat of five, per member"] + others * (
        cpu["encode heartbeat"] + cpu["decode heartbeat"] + 2 * line_ns
    )
    changed = min(load.summary_changes, SECOND / SUMMARY_PERIOD_NS) * children
    looks = SECOND / CENTER_LOOK_NS
    merges = min(looks, changed)
    core = {
        "registers": children / pace.register_s * register_ns,
        "summaries": changed * summary_ns,
        "merging": merges * children * cpu["merge a summary"],
        "heirs": looks * children * cpu["rank a child as heir"],
        "telling": children / pace.tell_s * (cpu["encode CenterTold"] + line_ns),
        "links": (children + others) / pace.link_s * 4 * line_ns,
        "council": beat_ns / pace.beat_above_s,
        "bids": load.bids * bid_ns,
    }
    memory = parameters.memory_bytes
    link_bytes = memory["TLS of a link"] + memory["a session"]
    each = memory["a child, eight contacts"] + link_bytes
    return Center(
        children=children,
        memory_bytes=AGENT_BYTES + children * each + others * link_bytes,
        core={what: amount / SECOND for what, amount in core.items()},
    )
