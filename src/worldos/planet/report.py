"""Everything that ``docs/planet.md`` shows, worked out anew from the parameters that were measured."""

from __future__ import annotations

from worldos.planet import agreement
from worldos.planet.pages import table
from worldos.planet.plot import Axis, Series, chart
from worldos.planet.sizes import sizes
from worldos.planet.world import UNITS, Figures, slope, sweep

TARGET_BYTES: float = 200.0


def scale(figures: list[Figures]) -> tuple[str, str]:
    """Return the table and the picture of what a node sends against the size of the planet."""
    rows = [
        [f"10^{len(str(each.nodes)) - 1}", each.sites, each.realms, each.depth, *(each.total(unit) for unit in UNITS)]
        for each in figures
    ]
    sizes_ = [float(each.nodes) for each in figures]
    fits = [slope(sizes_, [each.total(unit) * each.nodes for each in figures]) for unit in UNITS]
    rows.append(["slope of the total", "", "", "", *(f"{fit:.3f}" for fit in fits)])
    head = ["nodes", "sites", "realms", "levels", "messages/s", "payload bytes/s", "bytes/s on the wire"]
    names = {"messages": "messages", "payload": "payload bytes", "wire": "bytes on the wire"}
    series = [Series(names[unit], [(each.nodes, each.total(unit)) for each in figures]) for unit in UNITS]
    series.append(Series("target: 200 bytes", [(sizes_[0], TARGET_BYTES), (sizes_[-1], TARGET_BYTES)], dashed=True))
    picture = chart(
        "What an idle node sends in a second, against the size of the planet",
        Axis("nodes", sizes_[0], sizes_[-1]),
        Axis("per node and second", 1.0, 1e5),
        series,
    )
    return table(head, rows), picture


def causes(figures: Figures) -> str:
    """Return the table of what an idle node sends, by cause."""
    rows = [
        [cause, *(figures.by_cause[unit][cause] for unit in UNITS)]
        for cause in sorted(figures.by_cause["wire"], key=lambda cause: -figures.by_cause["wire"][cause])
        if figures.by_cause["wire"][cause] > 0
    ]
    rows.append(["**all**", *(figures.total(unit) for unit in UNITS)])
    return table(["cause", "messages/s", "payload bytes/s", "bytes/s on the wire"], rows)


def checked(kept: agreement.Kept) -> str:
    """Return the table of model against simulator."""
    rows: list[list[object]] = []
    for what, seen, changes in (
        ("idle", kept.idle, 0.0),
        ("offers change", kept.changing, 1 / agreement.CHANGES_EVERY_S),
    ):
        for each in seen:
            messages, payload = agreement.modelled(each.nodes, changes=changes)
            rows.append(
                [
                    f"{what}, {each.nodes} nodes",
                    sum(each.messages.values()),
                    sum(messages.values()),
                    f"{agreement.error(messages, each.messages):+.1%}",
                    sum(each.payload.values()),
                    sum(payload.values()),
                    f"{agreement.error(payload, each.payload):+.1%}",
                ]
            )
    head = ["site", "messages/s, simulated", "modelled", "error", "payload bytes/s, simulated", "modelled", "error"]
    return table(head, rows)


def everything() -> tuple[dict[str, str], dict[str, str]]:
    """Return all tables and all pictures, by name."""
    figures = sweep(sizes())
    scale_table, scale_picture = scale(figures)
    blocks = {"scale": scale_table, "causes": causes(figures[-1]), "checked": checked(agreement.load())}
    return blocks, {"scale": scale_picture}
