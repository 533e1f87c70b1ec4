"""Model against simulator: the same site in both, and how far they are apart."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from random import Random
from typing import Final

import msgspec
import numpy as np

from worldos.model.realm import Level
from worldos.planet import centers, simulated, site
from worldos.planet.cities import Ints
from worldos.planet.simulated import Observed, Plan
from worldos.planet.sizes import sizes
from worldos.planet.tree import Realms
from worldos.sim.tree import TOP, even_tree

FILE: Final = "observed.json"
SITES: Final = ((5, 60), (10, 60), (20, 60), (50, 60), (100, 60), (200, 60))  # nodes, simulated seconds
CHANGES_EVERY_S: Final = 4
TREES: Final = (  # 10^2 and 10^3 nodes
    (Plan(sites=20, size=5, fan=4, levels=3), 60),
    (Plan(sites=10, size=10, fan=5, levels=3), 60),
    (Plan(sites=200, size=5, fan=6, levels=5), 60),
)
ABOVE: Final = frozenset({"council", "told", "registers"})
WITHIN: Final = frozenset({"probes", "offers", "key log"})
SAME: Final = {"probes": ("probes", "full lists")}  # the simulator cannot tell a ping with a full list from another


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What the simulator said, so that it need not run again for each report."""

    idle: tuple[Observed, ...]
    changing: tuple[Observed, ...]
    trees: tuple[tuple[Plan, Observed], ...] = ()


def observe(sites: tuple[tuple[int, int], ...] = SITES) -> Kept:
    """Run the simulator."""
    changing = [(n, s) for n, s in sites if n in {10, 50}]
    return Kept(
        idle=tuple(simulated.watch_site(nodes, seconds) for nodes, seconds in sites),
        changing=tuple(simulated.watch_site(n, s, changes_every_s=CHANGES_EVERY_S) for n, s in changing),
        trees=tuple((plan, simulated.watch_tree(plan, seconds)) for plan, seconds in TREES),
    )


def load() -> Kept:
    """Read what was kept beside this module."""
    return msgspec.json.decode(resources.files("worldos.planet").joinpath(FILE).read_bytes(), type=Kept)


def save(kept: Kept) -> None:
    """Write it there."""
    path = Path(str(resources.files("worldos.planet").joinpath(FILE)))
    path.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n")


def modelled(nodes: int, *, changes: float = 0.0) -> tuple[dict[str, float], dict[str, float]]:
    """Return messages and payload a second of one node by the model, with the simulator's machines."""
    traffic = site.site_traffic(np.array([float(nodes)]), sizes(simulated=True), load=site.Load(offer_changes=changes))
    return _grouped(traffic.messages), _grouped(traffic.payload)


def modelled_tree(plan: Plan) -> tuple[dict[str, float], dict[str, float]]:
    """Return messages and payload a second of one node, for what the centers of an even tree say."""
    messages: dict[str, float] = {}
    payload: dict[str, float] = {}
    for realms in rows_of(plan):
        traffic = centers.realm_traffic(realms, sizes(simulated=True))
        for cause in ABOVE:
            messages[cause] = messages.get(cause, 0.0) + float(traffic.messages[cause].sum()) / plan.nodes
            payload[cause] = payload.get(cause, 0.0) + float(traffic.payload[cause].sum()) / plan.nodes
    return messages, payload


def rows_of(plan: Plan) -> list[Realms]:
    """Return the realms of an even tree as the model's columns: its sites, then those of each level."""
    tree = even_tree(plan.sites, plan.size, plan.fan, plan.levels, Random(1))
    below = [
        len(realm.sites) + sum(other.parent == row for other in tree.realms) for row, realm in enumerate(tree.realms)
    ]
    rows = [_realms(Level.PERSONAL, np.zeros(plan.sites, np.int64), np.full(plan.sites, plan.size))]
    for level in sorted({realm.level for realm in tree.realms}):
        at = [row for row, realm in enumerate(tree.realms) if realm.level == level]
        is_top = all(tree.realms[row].parent == TOP for row in at)
        children = np.array([below[row] for row in at])
        rows.append(_realms(Level.PLANET if is_top else Level.GROUP, children, children * plan.size))
    return rows


def _realms(level: Level, children: Ints, nodes: Ints) -> Realms:
    nobody = np.zeros(len(nodes), np.int64)
    return Realms(level, nobody, children, nodes, nobody, np.ones(len(nodes), bool))


def beyond(seen: dict[str, float]) -> dict[str, float]:
    """Return what was seen of the causes that councils and centers have."""
    return {cause: amount for cause, amount in seen.items() if cause in ABOVE}


def _grouped(parts: dict[str, site.Floats]) -> dict[str, float]:
    together = {part: name for name, group in SAME.items() for part in group}
    result: dict[str, float] = {}
    for cause, amount in parts.items():
        name = together.get(cause, cause)
        result[name] = result.get(name, 0.0) + float(amount[0])
    return {cause: amount for cause, amount in result.items() if amount}


def within(seen: dict[str, float]) -> dict[str, float]:
    """Return what was seen of the causes that a site has by itself: its realm's council and center are another matter."""
    return {cause: amount for cause, amount in seen.items() if cause in WITHIN}


def error(model: dict[str, float], seen: dict[str, float]) -> float:
    """Return by how much the model's total differs, as a part of what was seen inside the site."""
    return (sum(model.values()) - sum(within(seen).values())) / sum(within(seen).values())
