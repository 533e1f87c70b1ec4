"""What can be asked of a node, and how much it can do: the words in which rights are given, narrowed, asked for and refused.

A *path* names what is asked for as labels from the account down, never as text that could be cut at another place:
``(account, "node", node, "CPU", "0")``. A right to a path is a right to all below it. Nobody needs to be told what a class means
twice: each thing that can be asked has one, here or at its door.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final, TypeAlias
from urllib.parse import quote

Path: TypeAlias = tuple[str, ...]

GRANT_BYTES_MAX: Final = 4096  # trust/grant.py reads no larger one

NODE: Final = "node"
REALM: Final = "realm"
FILES: Final = "files"
DEVICES: Final = "devices"
SESSIONS: Final = "sessions"
POST: Final = "post"
WORK: Final = "work"


class Op(StrEnum):
    """What is asked."""

    LEASE = "lease"
    READ = "read"
    WRITE = "write"
    DRIVE = "drive"
    ADMIT = "admit"
    REVOKE = "revoke"
    POLICY = "policy"
    APPROVE = "approve"
    AUDIT = "audit"
    ADMIN = "admin"


class Impact(IntEnum):
    """What it can do at worst."""

    READ = 0
    REVERSIBLE = 1
    COSTLY = 2
    PHYSICAL = 3
    IRREVERSIBLE = 4


ACTUATOR: Final = "Actuator"


def impact_of_kind(kind: str) -> Impact:
    """Return the class of a lease of this kind: what moves something in the world is physical, all else can be given back."""
    return Impact.PHYSICAL if kind == ACTUATOR else Impact.REVERSIBLE


def op_of_kind(kind: str) -> Op:
    """Return what it takes to lease this kind: who leases what moves something drives it."""
    return Op.DRIVE if kind == ACTUATOR else Op.LEASE


def covers(right: Path, path: Path) -> bool:
    """Tell whether a right to ``right`` is one to ``path``: the same, or below it, label by label."""
    return path[: len(right)] == right


def resource_path(account: str, node: str, kind: str, resource: str) -> Path:
    """Return the path of a resource of a node; ``resource`` is its id (``ab12cd34/cpu/0``)."""
    return (account, NODE, node, kind, *resource.split("/")[2:])


def file_labels(name: str) -> Path:
    """Return the labels of a file's name: each part written with letters that mean one thing alone (``%20`` for a blank)."""
    return tuple(quote(part, safe="") for part in name.split("/") if part)


def shown(path: Path) -> str:
    """Return a path as people read it."""
    return "/".join(path) or "/"
