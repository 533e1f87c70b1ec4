"""Everything that ``docs/planet.md`` shows, worked out anew from the parameters that were measured."""

from __future__ import annotations

from typing import Final

import numpy as np

from worldos.fabric.limits import KIN_MAX
from worldos.model.limits import CHARTER_CHILDREN_MAX, CHILDREN_MAX
from worldos.planet import agreement, centers, needs, parameters, site, storm, thrift
from worldos.planet.cities import CONTINENTS
from worldos.planet.pages import said, table
from worldos.planet.parameters import Parameters
from worldos.planet.plot import Axis, Series, chart
from worldos.planet.sizes import sizes
from worldos.planet.tree import Planet, planet
from worldos.planet.world import UNITS, Figures, shapes, slope, sweep

TARGET_BYTES: Final = 200.0
TARGET_MEMORY_BYTES: Final = 1e9
TARGET_CORE: Final = 0.25
SITES_SHOWN: Final = (5, 10, 20, 50, 100, 200)
CHILDREN_SHOWN: Final = (50, 185, 500, 1000, 2000, 10_000)
DOORS_SHOWN: Final = (100, 185, 1000, 2048, 10_000)
CHILDREN_POSSIBLE: Final = min(CHILDREN_MAX, CHARTER_CHILDREN_MAX, KIN_MAX)
RUNS: Final = 20
MILLION: Final = 1_000_000
ABROAD: Final = 0.3
MEGABYTE: Final = 1e6


def power(nodes: int) -> str:
    """Write a power of ten."""
    return f"10^{len(str(nodes)) - 1}"


def scale(figures: list[Figures]) -> tuple[str, str]:
    """Return the table and the picture of what a node sends against the size of the planet."""
    rows: list[list[object]] = [
        [power(each.nodes), each.sites, each.realms, each.depth, *(each.total(unit) for unit in UNITS)]
        for each in figures
    ]
    across = [float(each.nodes) for each in figures]
    fits = [slope(across, [each.total(unit) * each.nodes for each in figures]) for unit in UNITS]
    rows.append(["**slope of the total**", "", "", "", *(f"**{fit:.3f}**" for fit in fits)])
    head = ["nodes", "sites", "realms", "levels", "messages/s", "payload bytes/s", "bytes/s on the wire"]
    names = {"messages": "messages", "payload": "payload bytes", "wire": "bytes on the wire"}
    series = [Series(names[unit], [(each.nodes, each.total(unit)) for each in figures]) for unit in UNITS]
    series.append(Series("target: 200 bytes", [(across[0], TARGET_BYTES), (across[-1], TARGET_BYTES)], dashed=True))
    picture = chart(
        "What an idle node sends in a second, against the size of the planet",
        Axis("nodes", across[0], across[-1]),
        Axis("per node and second", 1.0, 1e5),
        series,
    )
    return table(head, rows), picture


def busy(figures: list[Figures]) -> str:
    """Return the sentence on the slope of a planet at work."""
    across = [float(each.nodes) for each in figures]
    fits = {unit: slope(across, [each.total(unit) * each.nodes for each in figures]) for unit in UNITS}
    last = figures[-1]
    return (
        f"At work, {power(last.nodes)} nodes: {said(last.total('messages'))} messages and {said(last.total('wire'))} bytes "
        f"on the wire per node and second; slope of the total {fits['messages']:.3f} in messages, {fits['payload']:.3f} in "
        f"payload, {fits['wire']:.3f} on the wire."
    )


def causes(figures: Figures) -> str:
    """Return the table of what an idle node sends, by cause."""
    rows: list[list[object]] = [
        [cause, *(figures.by_cause[unit][cause] for unit in UNITS)]
        for cause in sorted(figures.by_cause["wire"], key=lambda cause: -figures.by_cause["wire"][cause])
        if figures.by_cause["wire"][cause] > 0
    ]
    rows.append(["**all**", *(figures.total(unit) for unit in UNITS)])
    return table(["cause", "messages/s", "payload bytes/s", "bytes/s on the wire"], rows)


def by_site() -> tuple[str, str]:
    """Return the table and the picture of what a node sends against the size of its site."""
    nodes = np.array([float(number) for number in SITES_SHOWN])
    traffic = site.site_traffic(nodes, sizes())
    shown = ["probes", "full lists", "offers", "key log", "links"]
    rows: list[list[object]] = [
        [f"{number} nodes", *(float(traffic.wire[cause][row]) for cause in shown), float(traffic.total("wire")[row])]
        for row, number in enumerate(SITES_SHOWN)
    ]
    many = np.geomspace(5.0, 200.0, 12)
    drawn = site.site_traffic(many, sizes())
    series = [Series(cause, list(zip(many, drawn.wire[cause], strict=True))) for cause in shown]
    series.append(Series("all", list(zip(many, drawn.total("wire"), strict=True))))
    series.append(Series("target: 200 bytes", [(5, TARGET_BYTES), (200, TARGET_BYTES)], dashed=True))
    picture = chart(
        "What an idle node sends inside its site, by cause",
        Axis("nodes in the site", 5, 200),
        Axis("bytes on the wire per second", 10, 1e5),
        series,
    )
    return table(["site", *shown, "**all**"], rows), picture


def saving(world: Planet) -> str:
    """Return the table of what would reach the target."""
    rows: list[list[object]] = []
    for step in thrift.steps():
        period_s = thrift.probe_period_s(world, sizes(), step)
        reach = f"{period_s:.1f} s" if np.isfinite(period_s) else "none"
        boxed = f"{period_s * thrift.datagram_share(sizes()):.1f} s" if np.isfinite(period_s) else "none"
        rows.append([step.name, thrift.sent(world, sizes(), step), reach, boxed])
    head = ["and", "bytes/s on the wire", "probe period that meets 200", "... with probes as sealed datagrams"]
    return table(head, rows)


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
                    sum(agreement.within(each.messages).values()),
                    sum(messages.values()),
                    f"{agreement.error(messages, each.messages):+.1%}",
                    sum(agreement.within(each.payload).values()),
                    sum(payload.values()),
                    f"{agreement.error(payload, each.payload):+.1%}",
                ]
            )
    head = ["site", "messages/s, simulated", "modelled", "error", "payload bytes/s, simulated", "modelled", "error"]
    return table(head, rows)


def trees(kept: agreement.Kept) -> str:
    """Return the table of model against simulator for what centers say."""
    rows: list[list[object]] = []
    for plan, seen in kept.trees:
        messages, payload = agreement.modelled_tree(plan)
        for cause in sorted(agreement.ABOVE):
            apart = payload[cause] / seen.payload[cause] - 1
            rows.append(
                [
                    f"{plan.nodes:,} nodes, {plan.sites} sites, {plan.levels} levels: {cause}",
                    seen.messages[cause],
                    messages[cause],
                    f"{messages[cause] / seen.messages[cause] - 1:+.1%}",
                    seen.payload[cause],
                    payload[cause],
                    f"{apart:+.1%}",
                ]
            )
    head = ["tree", "messages/s, simulated", "modelled", "error", "payload bytes/s, simulated", "modelled", "error"]
    return table(head, rows)


def center_loads(measured: Parameters) -> tuple[str, str]:
    """Return the table and the picture of what a center takes against its children."""
    rows: list[list[object]] = []
    for children in CHILDREN_SHOWN:
        idle = centers.center(children, measured)
        work = centers.center(children, measured, load=centers.BUSY)
        rows.append(
            [
                f"{children:,} children",
                idle.memory_bytes / MEGABYTE,
                f"{idle.core_share:.1%}",
                f"{work.core_share:.1%}",
                max(work.core, key=lambda what: work.core[what]),
            ]
        )
    many = [2.0 ** (step / 2) for step in range(4, 28)]
    loads = [(children, centers.center(round(children), measured)) for children in many]
    worked = [(children, centers.center(round(children), measured, load=centers.BUSY)) for children in many]
    picture = chart(
        "What a center takes of one core, against its children",
        Axis("child realms", 4, 10_000),
        Axis("share of a core", 1e-4, 10),
        [
            Series("idle", [(n, c.core_share) for n, c in loads if n <= 10_000]),
            Series("at work, 10 bids/s", [(n, c.core_share) for n, c in worked if n <= 10_000]),
            Series("target: 25 %", [(4, TARGET_CORE), (10_000, TARGET_CORE)], dashed=True),
        ],
    )
    head = ["center of", "memory, MB", "core, idle", "core, at work", "most of it"]
    return table(head, rows), picture


def by_level(world: Planet, measured: Parameters) -> str:
    """Return the table of the centers of each level of the largest planet."""
    rows: list[list[object]] = []
    for realms in reversed(world.levels[1:]):
        most = int(realms.children[realms.real].max())
        typical = round(float(np.median(realms.children[realms.real])))
        work = centers.center(most, measured, load=centers.BUSY)
        rows.append(
            [
                realms.level.name.lower(),
                int(realms.real.sum()),
                f"{typical} / {most}",
                int(realms.nodes.max()),
                work.memory_bytes / MEGABYTE,
                f"{centers.center(most, measured).core_share:.1%}",
                f"{work.core_share:.1%}",
            ]
        )
    head = [
        "level",
        "realms",
        "children, median / most",
        "nodes below, most",
        "memory, MB",
        "core, idle",
        "core, at work",
    ]
    return table(head, rows)


def depths(sites: int, measured: Parameters) -> str:
    """Return the table of how deep a tree would have to be."""
    rows: list[list[object]] = []
    for shape in shapes(sites):
        load = centers.center(shape.children, measured)
        fits = f"no, at most {CHILDREN_POSSIBLE:,}" if shape.children > CHILDREN_POSSIBLE else "yes"
        rows.append([f"{shape.levels} above the sites", shape.children, shape.hops, f"{load.core_share:.1%}", fits])
    return table(["levels", "children of each center", "hops at most", "core of a center, idle", "possible"], rows)


def travels(world: Planet, scattered: Planet, measured: Parameters) -> tuple[str, str]:
    """Return the table and the picture of how far needs travel."""
    rows: list[list[object]] = []
    series = []
    for what, each in (("neighbours", world), (f"{ABROAD:.0%} of sites abroad", scattered)):
        for spread in needs.SPREADS:
            trips = needs.trips(each, spread, measured)
            row = needs.row(spread, trips)
            rows.append(
                [
                    f"{spread.name}; {what}",
                    row.hops_mean,
                    row.hops_p99,
                    f"{row.within_target:.1%}",
                    row.messages_mean,
                    *row.matched_ms,
                    *row.leased_ms[:2],
                ]
            )
            if each is world:
                ways = np.sort(trips.matched_ms[trips.rise > 0])
                at = np.linspace(0, len(ways) - 1, 60).astype(int)
                series.append(Series(spread.name, [(float(ways[n]), (n + 1) / len(ways)) for n in at]))
    head = [
        "needs",
        "hops, mean",
        "99 %",
        "<= 5 hops",
        "messages at most, mean",
        "matched ms, median",
        "90 %",
        "99 %",
        "leased ms, median",
        "90 %",
    ]
    picture = chart(
        "How soon a need that leaves its site is matched",
        Axis("milliseconds until the candidates are there", 5, 1000),
        Axis("share of these needs", 0, 1, linear=True),
        series,
    )
    return table(head, rows), picture


def losses(measured: Parameters, scattered: Planet) -> str:
    """Return the table of the loss of each continent."""
    rows: list[list[object]] = []
    near = [planet(MILLION, seed=seed) for seed in range(1, RUNS + 1)]
    for code, name in CONTINENTS.items():
        runs = [storm.lose(world, code, measured, seed=seed) for seed, world in enumerate(near)]
        firm = storm.lose(scattered, code, measured)
        rows.append(
            [
                name,
                f"{np.mean([run.nodes_lost for run in runs]):.0%}",
                float(np.mean([run.moved for run in runs])),
                max(run.most for run in runs),
                max(run.all_s for run in runs),
                firm.headless,
                firm.moved,
                firm.most,
                firm.half_s,
                firm.all_s,
            ]
        )
    head = [
        "lost",
        "nodes",
        "neighbours: anew, mean",
        "most at one",
        "all, s",
        "firms: headless",
        "anew",
        "most at one",
        "half, s",
        "all, s",
    ]
    return table(head, rows)


def doors(measured: Parameters) -> tuple[str, str]:
    """Return the table and the picture of strangers that come to one center all at once."""
    runs = {children: [storm.door(children, measured, seed=seed) for seed in range(5)] for children in DOORS_SHOWN}
    rows: list[list[object]] = [
        [
            f"{children:,}",
            float(np.mean([run.half_s for run in some])),
            max(run.all_s for run in some),
            float(np.mean([run.refused for run in some])),
            f"{np.mean([run.core for run in some]):.0%}",
        ]
        for children, some in runs.items()
    ]
    picture = chart(
        "How long strangers take to register at one center",
        Axis("children that come at once", 100, 10_000),
        Axis("seconds after the loss", 1, 100),
        [
            Series("half of them", [(n, float(np.mean([run.half_s for run in some]))) for n, some in runs.items()]),
            Series("all of them", [(n, max(run.all_s for run in some)) for n, some in runs.items()]),
        ],
    )
    return table(["children at once", "half, s", "all, s", "dials refused per child", "core"], rows), picture


def starts(measured: Parameters) -> str:
    """Return the table of sites that start all at once."""
    runs = [storm.start(nodes, measured) for nodes in SITES_SHOWN]
    rows: list[list[object]] = [[f"{run.nodes} nodes", run.messages, run.core_s, run.news_s] for run in runs]
    return table(["site", "messages of all", "processor of each node, s", "news all told after, s"], rows)


def measured_table(measured: Parameters) -> str:
    """Return the table of what was measured."""
    rows: list[list[object]] = [[what, ns / 1000] for what, ns in measured.cpu_ns.items()]
    text = table(["processor time of one core", "microseconds"], rows)
    kept = table(["memory", "bytes"], [[what, amount] for what, amount in measured.memory_bytes.items()])
    return f"{measured.machine}; Python {measured.python}.\n\n{text}\n\n{kept}"


def everything() -> tuple[dict[str, str], dict[str, str]]:
    """Return all tables and all pictures, by name."""
    measured = parameters.load()
    blocks: dict[str, str] = {}
    pictures: dict[str, str] = {}
    figures = sweep(sizes())
    blocks["scale"], pictures["scale"] = scale(figures)
    blocks["busy"] = busy(sweep(sizes(), load=site.BUSY, above=centers.BUSY))
    blocks["causes"] = causes(figures[-1])
    blocks["sites"], pictures["sites"] = by_site()
    blocks["saving"] = saving(planet(MILLION))
    kept = agreement.load()
    blocks["checked"] = checked(kept)
    blocks["trees"] = trees(kept)
    largest = planet(figures[-1].nodes)
    blocks["levels"] = by_level(largest, measured)
    blocks["centers"], pictures["centers"] = center_loads(measured)
    blocks["depths"] = depths(figures[-1].sites, measured)
    scattered = planet(figures[-1].nodes, abroad=ABROAD)
    blocks["needs"], pictures["needs"] = travels(largest, scattered, measured)
    blocks["losses"] = losses(measured, scattered)
    blocks["doors"], pictures["doors"] = doors(measured)
    blocks["starts"] = starts(measured)
    blocks["measured"] = measured_table(measured)
    return blocks, pictures
