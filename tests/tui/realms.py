"""Rows of a tree of realms, as an agent gives them (``agent.realm_rows``), for pictures of it."""

from __future__ import annotations

from typing import Any


def row(name: str, parent: str = "", level: int = 1, **changed: Any) -> dict[str, Any]:
    levels = ("personal", "home", "enterprise", "group", "nation", "planet")
    return {
        "realm": f"{name}-id",
        "name": name,
        "path": f"{parent}/{name}" if parent else name,
        "parent": f"{parent}-id" if parent else "",
        "level": levels[level],
        "rank": level,
        "primary": f"{name}-node",
        "primary_name": f"{name}-desk",
        "epoch": 7,
        "provisional": False,
        "mine": False,
        "here": False,
        "nodes": 3,
        "cpu_free": 4500,
        "memory_free": 8_000_000_000,
        "heard_s": None,
        "rtt_us": 0,
        **changed,
    }


EARTH = [
    row("berlin", "acme", 1, mine=True, here=True),
    row("acme", "earth", 2, here=True, nodes=120, heard_s=1.5, rtt_us=2300),
    row("paris", "acme", 1, heard_s=4.0, rtt_us=9000),
    row("earth", "", 5, here=True, epoch=12, nodes=4000, cpu_free=0, memory_free=0),
    row("oslo", "acme", 1, provisional=True, epoch=8, heard_s=14.0),
    row("beta", "earth", 2, primary="", primary_name="", epoch=0, nodes=0, cpu_free=0, memory_free=0),
]
