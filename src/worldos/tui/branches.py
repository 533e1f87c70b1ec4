"""The tree of realms as commands and pictures draw it, from the rows that the agent gives (``agent.realm_rows``).

A row may name a parent that is not known here, and stale rows may name each other: every row is drawn once all the same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from worldos.model.units import show_bytes

LEVEL_STYLE = {
    "personal": "green",
    "home": "green",
    "enterprise": "cyan",
    "group": "blue",
    "nation": "magenta",
    "planet": "yellow",
}
COLUMNS = ("LEVEL", "PRIMARY", "EPOCH", "STATE", "NODES", "CPU FREE", "MEMORY FREE")
NUMBERS = frozenset(("EPOCH", "NODES", "CPU FREE", "MEMORY FREE"))

Row = dict[str, Any]


class Branch(NamedTuple):
    """A realm, and those below it."""

    row: Row
    below: list[Branch]


def forest(rows: list[Row]) -> list[Branch]:
    """Put the rows below each other; what is below nothing that is known comes first, by level and name."""
    known = {row["realm"]: row for row in rows}
    below: dict[str, list[Row]] = {}
    for row in rows:
        below.setdefault(row["parent"] if row["parent"] in known else "", []).append(row)
    drawn: set[str] = set()

    def branch(row: Row) -> Branch:
        drawn.add(row["realm"])
        children = sorted(below.get(row["realm"], []), key=_order)
        return Branch(row, [branch(child) for child in children if child["realm"] not in drawn])

    trees = [branch(row) for row in sorted(below.get("", []), key=_order)]
    trees += [branch(row) for row in sorted(rows, key=_order) if row["realm"] not in drawn]
    return trees


def lines(trees: list[Branch]) -> list[tuple[str, Row]]:
    """Return every row with the guides to the left of its name, top down."""
    found: list[tuple[str, Row]] = []

    def walk(branch: Branch, before: str, knee: str, after: str) -> None:
        found.append((before + knee, branch.row))
        for child in branch.below:
            last = child is branch.below[-1]
            walk(child, before + after, "└── " if last else "├── ", "    " if last else "│   ")

    for tree in trees:
        walk(tree, "", "", "")
    return found


def cells(row: Row) -> tuple[str, ...]:
    """Say what there is to say of a realm, in the order of COLUMNS."""
    return (
        row["level"],
        row["primary_name"],
        str(row["epoch"]) if row["epoch"] else "",
        state(row),
        str(row["nodes"]) if row["nodes"] else "",
        f"{row['cpu_free'] / 1000:g}" if row["cpu_free"] else "",
        show_bytes(row["memory_free"]) if row["memory_free"] else "",
    )


def state(row: Row) -> str:
    """Say in a word how a realm is led; of most realms above and beside its own a node only hears the name."""
    if row["provisional"]:
        return "island"
    return "led" if row["primary"] else "not seen"


def state_style(row: Row) -> str:
    """Return the colour of that word."""
    if row["provisional"]:
        return "bold yellow"
    return "green" if row["primary"] else "dim"


def _order(row: Row) -> tuple[int, str, str]:
    return (-row["rank"], row["name"], row["realm"])
