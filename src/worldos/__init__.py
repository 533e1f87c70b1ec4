"""World OS: all your machines as one computer: ``with use("CPU", 2) as cpu: cpu.map(...)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldos.errors import (
    BadRequest,
    BadSignature,
    CorruptFile,
    Damaged,
    LeaseEnded,
    NoAgent,
    NoCapacity,
    NodeGone,
    NotAllowed,
    OverQuota,
    PeerBroke,
    Refused,
    Unreachable,
    WorkerLost,
    WorldError,
)
from worldos.sdk import joblib_name

if TYPE_CHECKING:
    from worldos import aio
    from worldos.jobs.submit import submit
    from worldos.sdk.checked import checked
    from worldos.sdk.gang import Gang
    from worldos.sdk.private_net import PrivateNet
    from worldos.sdk.use import need, use

__version__ = "0.1.0"

joblib_name.announce()

__all__ = [
    "use",
    "need",
    "submit",
    "checked",
    "Gang",
    "PrivateNet",
    "aio",
    "WorldError",
    "BadRequest",
    "Refused",
    "NotAllowed",
    "NoCapacity",
    "OverQuota",
    "Unreachable",
    "NoAgent",
    "NodeGone",
    "LeaseEnded",
    "WorkerLost",
    "Damaged",
    "BadSignature",
    "CorruptFile",
    "PeerBroke",
]


def __getattr__(name: str) -> object:
    """Load the SDK when it is first asked for: ``import worldos`` by itself costs next to nothing."""
    import importlib  # noqa: PLC0415 - late by purpose

    if name in {"use", "need"}:
        return getattr(importlib.import_module("worldos.sdk.use"), name)
    if name == "checked":
        return importlib.import_module("worldos.sdk.checked").checked
    if name == "submit":
        return importlib.import_module("worldos.jobs.submit").submit
    if name == "Gang":
        return importlib.import_module("worldos.sdk.gang").Gang
    if name == "PrivateNet":
        return importlib.import_module("worldos.sdk.private_net").PrivateNet
    if name == "aio":
        return importlib.import_module("worldos.aio")
    raise AttributeError(f"module 'worldos' has no attribute {name!r}")


def load_ipython_extension(shell: object) -> None:
    """Add ``%%wos`` to a notebook: ``%load_ext worldos``."""
    from worldos.sdk import notebook  # noqa: PLC0415 - late by purpose

    notebook.load(shell)
