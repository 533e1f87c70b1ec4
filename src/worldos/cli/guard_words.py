"""What people type for guarded commands, as values: actions, persons, waves, times and amounts."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from worldos.errors import BadRequest
from worldos.model.units import parse_duration_ns

SECOND_NS: Final = 1_000_000_000
PPM: Final = 1_000_000
DIGEST_CHARS: Final = 64
FORMS: Final = {
    "config": "config KEY VALUE",
    "policy": "policy KEY VALUE",
    "drive": "drive THING VALUE",
    "update": "update VERSION SHA256 CODE",
    "drain": "drain",
    "stop": "stop PATH",
    "revoke": "revoke WHO",
    "roll": "roll FILE",
    "resume": "resume",
}


def action_of(words: list[str], read: Callable[[Path], bytes]) -> list[Any]:
    """Return an action as the order takes it: its tag, then its values."""
    name, values = words[0], words[1:]
    form = FORMS.get(name)
    if form is None:
        raise BadRequest(f"there is no command {name[:40]!r}", hint=f"there are: {', '.join(FORMS)}")
    if len(values) != len(form.split()) - 1:
        raise BadRequest(f"{name} is written otherwise", hint=f"wos guard propose {form}")
    match name:
        case "drive":
            path = values[0] if "/" in values[0] else f"actuators/{values[0]}"
            return ["drive", path.split("/"), "set", milli(values[1])]
        case "update":
            return ["update", values[0], _digest(values[1]), values[2]]
        case "stop":
            return ["stop", values[0].split("/")]
        case "roll":
            return ["roll", read(Path(values[0]))]
        case _:
            return [name, *values]


def person(text: str, form: str) -> dict[str, Any]:
    """Read ``MACHINE=OWNER/INSTITUTION!``."""
    who, _, rest = text.partition("=")
    owner, _, institution = rest.removesuffix("!").partition("/")
    if not who or not owner:
        raise BadRequest(f"{text[:60]!r} does not say whose it is", hint=f"write it as {form}")
    return {"who": who, "owner": owner, "institution": institution, "human": rest.endswith("!")}


def waves_of(text: str) -> list[int]:
    """Read ``10%,50%,100%`` as parts of a million, growing."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        found = [int(Decimal(part.removesuffix("%")) * PPM / 100) for part in parts]
    except (InvalidOperation, ValueError, OverflowError) as cause:
        raise BadRequest(f"{text[:40]!r} are no parts", hint="write them as 10%,100%") from cause
    if any(not 0 <= part <= PPM for part in found):
        raise BadRequest(f"{text[:40]!r} are no parts", hint="write them as 10%,100%")
    return found


def milli(text: str) -> int:
    """Read an amount in whole thousandths: ``21.5`` is 21500."""
    try:
        amount = Decimal(text)
    except InvalidOperation as cause:
        raise BadRequest(f"{text[:40]!r} is no amount", hint="write it as 21.5") from cause
    if not amount.is_finite() or amount * 1000 != (amount * 1000).to_integral_value():
        raise BadRequest(f"{text[:40]!r} is finer than a thousandth")
    return int(amount * 1000)


def after(text: str) -> int:
    """Read a time in seconds: ``10m``."""
    return parse_duration_ns(text) // SECOND_NS


def percent(ppm: int) -> str:
    """Write parts of a million for people."""
    return f"{ppm / 10_000:g} %"


def appliers(file: str) -> list[str]:
    """Return how a wheel is installed, in words that can be typed."""
    return ["wos down", f"uv tool install --force {file}    (or: pip install --upgrade {file})", "wos up"]


def _digest(text: str) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(text) != DIGEST_CHARS or not digest:
        raise BadRequest("a SHA-256 has 64 hexadecimal digits", hint="sha256sum FILE prints it")
    return digest
