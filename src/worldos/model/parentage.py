"""Parentage: what two realms say of themselves when one goes below the other, and whether it can."""

from __future__ import annotations

from typing import Annotated

import msgspec

from worldos.model.realm import DEPTH_MAX, Contacts, Level, PathText, Realm, Text


class Parent(msgspec.Struct, frozen=True, kw_only=True):
    """What a realm says of itself to one that goes below it. ``lineage``: from the topmost realm to this one."""

    realm: Realm
    name: Text
    level: Level
    path: PathText
    lineage: Annotated[tuple[Realm, ...], msgspec.Meta(min_length=1, max_length=DEPTH_MAX)]
    council: Contacts


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """What a realm says of itself to the one that it goes below."""

    realm: Realm
    name: Text
    level: Level
    council: Contacts


def unfit(parent: Parent, child: Child) -> str:
    """Say why one cannot be below the other; nothing where it can."""
    if child.realm == parent.realm:
        return "a realm is not below itself"
    if child.realm in parent.lineage:
        return f"that would be a loop: {parent.name} is below {child.name}"
    if len(parent.lineage) >= DEPTH_MAX:
        return f"{parent.name} has {DEPTH_MAX - 1} realms above it, and there may be no more"
    if parent.level <= child.level:
        levels = f"{child.name} is {_level(child.level)}, {parent.name} is {_level(parent.level)}"
        return f"a realm goes below one of a higher level: {levels}"
    return ""


def _level(level: Level) -> str:
    return level.name.lower()
