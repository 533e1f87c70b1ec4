"""What would have to change so that an idle node sends no more than the target, step by step."""

from __future__ import annotations

from typing import Final, NamedTuple

from worldos.planet import centers, site
from worldos.planet.sizes import ACK_FRAME_BYTES, AROUND_BYTES, Sizes
from worldos.planet.tree import Planet
from worldos.planet.world import figures

TARGET_BYTES: Final = 200.0
SELDOM_S: Final = 600.0
NEVER_S: Final = 1e9  # only when something changed
SEALED_BYTES: Final = 28 + 16  # IPv4 and UDP, and the tag of a sealed datagram


class Step(NamedTuple):
    """A change of the kernel's habits, and the pace with it and all that stand before it."""

    name: str
    within: site.Pace
    above: centers.Pace


def steps() -> list[Step]:
    """Return the changes in the order of what they bring."""
    now, over = site.Pace(), centers.Pace()
    quiet = Step("as it is", now, over)
    links = Step(
        "links asked only where nothing else was heard for 10 min",
        site.Pace(link_s=SELDOM_S),
        centers.Pace(link_s=SELDOM_S),
    )
    offers = Step(
        "offers told only when they change, and compared by hash as key logs are",
        site.Pace(link_s=SELDOM_S, refresh_s=NEVER_S),
        links.above,
    )
    told = Step(
        "a center is told when it changes; registering renews by hash",
        offers.within,
        centers.Pace(link_s=SELDOM_S, tell_s=NEVER_S, register_s=60.0),
    )
    lists = Step(
        "full lists only where hashes differ; key logs compared every 30 s",
        site.Pace(link_s=SELDOM_S, refresh_s=NEVER_S, sync_s=NEVER_S, compare_s=30.0),
        told.above,
    )
    councils = Step(
        "a council at rest beats every 3 s",
        lists.within,
        centers.Pace(link_s=SELDOM_S, tell_s=NEVER_S, register_s=60.0, beat_site_s=3.0, beat_above_s=3.0),
    )
    return [quiet, links, offers, told, lists, councils]


def sent(world: Planet, sizes: Sizes, step: Step) -> float:
    """Return the bytes on the wire that an idle node sends in a second."""
    return figures(world, sizes, pace=step.within, pace_above=step.above).total("wire")


def probe_period_s(world: Planet, sizes: Sizes, step: Step, *, target: float = TARGET_BYTES) -> float:
    """Return the period of probes with which a step would reach the target; infinite if the rest alone is above it."""
    all_bytes = figures(world, sizes, pace=step.within, pace_above=step.above)
    probes = all_bytes.by_cause["wire"]["probes"] * step.within.probe_s
    rest = all_bytes.total("wire") - all_bytes.by_cause["wire"]["probes"]
    return probes / (target - rest) if rest < target else float("inf")


def datagram_share(sizes: Sizes) -> float:
    """Return what a probe and its answer would cost as sealed datagrams, as a share of what they cost in a session."""
    said = sizes.ping + sizes.ack
    return (said + 2 * SEALED_BYTES) / (said + 2 * AROUND_BYTES + ACK_FRAME_BYTES)
