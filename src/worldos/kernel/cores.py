"""Cores: a need for CPU that no single node can fill, split into single cores, and joined again where they landed together."""

from __future__ import annotations

from typing import Final

import msgspec

from worldos.kernel.match import Choice
from worldos.model import limits
from worldos.model.ids import NodeId, ResourceId
from worldos.model.need import Need
from worldos.model.resource import Kind

CORE_MILLI: Final = 1000


def split_cores(needs: tuple[Need, ...]) -> tuple[Need, ...] | None:
    """Split each CPU need into single cores, or return None when nothing can be split."""
    parts: list[Need] = []
    for need in needs:
        cores = -(-need.amount // CORE_MILLI)
        if need.kind != Kind.CPU or cores < 2 or need.workers:
            parts.append(need)
            continue
        memory = need.memory_bytes // cores
        sizes = [min(CORE_MILLI, need.amount - i * CORE_MILLI) for i in range(cores)]
        parts.extend(msgspec.structs.replace(need, amount=size, memory_bytes=memory) for size in sizes)
    if len(parts) == len(needs) or len(parts) > limits.GANG_PARTS_MAX:
        return None
    return tuple(parts)


def merge_cores(needs: tuple[Need, ...], chosen: tuple[Choice, ...]) -> tuple[tuple[Need, ...], tuple[Choice, ...]]:
    """Join the cores that landed on one node, so that it is asked once."""
    merged: dict[tuple[NodeId, ResourceId, Need], tuple[Need, Choice]] = {}
    for need, choice in zip(needs, chosen, strict=True):
        like = msgspec.structs.replace(need, amount=1, memory_bytes=0) if need.kind == Kind.CPU else need
        key = (choice.node, choice.resource, like)
        if key in merged and need.kind == Kind.CPU:
            old, first = merged[key]
            amount, memory = old.amount + need.amount, old.memory_bytes + need.memory_bytes
            merged[key] = (msgspec.structs.replace(old, amount=amount, memory_bytes=memory), first)
        else:
            merged[key] = (need, choice)
    return tuple(n for n, _ in merged.values()), tuple(c for _, c in merged.values())
