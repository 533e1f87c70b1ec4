"""Model against simulator: the same site in both, and how far they are apart."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from worldos.planet import simulated, site
from worldos.planet.simulated import Observed
from worldos.planet.sizes import sizes

FILE: Final = "observed.json"
SITES: Final = ((5, 60), (10, 60), (20, 60), (50, 60), (100, 60), (200, 60))  # nodes, simulated seconds
CHANGES_EVERY_S: Final = 4
WITHIN: Final = frozenset({"probes", "offers", "key log"})
SAME: Final = {"probes": ("probes", "full lists")}  # the simulator cannot tell a ping with a full list from another


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What the simulator said, so that it need not run again for each report."""

    idle: tuple[Observed, ...]
    changing: tuple[Observed, ...]


def observe(sites: tuple[tuple[int, int], ...] = SITES) -> Kept:
    """Run the simulator."""
    changing = [(n, s) for n, s in sites if n in {10, 50}]
    return Kept(
        idle=tuple(simulated.watch_site(nodes, seconds) for nodes, seconds in sites),
        changing=tuple(simulated.watch_site(n, s, changes_every_s=CHANGES_EVERY_S) for n, s in changing),
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
