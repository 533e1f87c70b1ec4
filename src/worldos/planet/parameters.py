"""What was measured of the real kernel on one machine. Written by ``measure``, kept in the tree."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Final

import msgspec

FILE: Final = "parameters.json"


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """``cpu_ns`` of one core by what is done; ``memory_bytes`` by what is kept; ``offer_bytes`` of this machine."""

    machine: str
    python: str
    cpu_ns: dict[str, int]
    memory_bytes: dict[str, int]
    offer_bytes: int


def load() -> Parameters:
    """Read the parameters that lie beside this module."""
    return msgspec.json.decode(resources.files("worldos.planet").joinpath(FILE).read_bytes(), type=Parameters)


def save(parameters: Parameters) -> Path:
    """Write them there."""
    path = Path(str(resources.files("worldos.planet").joinpath(FILE)))
    path.write_bytes(msgspec.json.format(msgspec.json.encode(parameters), indent=2) + b"\n")
    return path
