"""Amounts, sizes and times as people write them, and as integers.

Text is read exactly: ``"0.1 cores"`` is 100 milli and nothing is rounded; an amount finer than the base unit is
refused. Only a Python float counts to the nearest base unit, since a float is rarely what was meant. Decimal prefixes
are powers of ten (``GB``), binary ones powers of two (``GiB``). A plain number is: cores, GPUs, bytes, bits per second,
pieces; seconds for a time. All results lie in ``1 .. 2**62 - 1``, so that sums of two never leave 64 bits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from worldos.errors import BadRequest
from worldos.model.resource import Kind

AMOUNT_MAX: Final = 2**62 - 1
TEXT_CHARS_MAX: Final = 64

_POWERS: Final = {"k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}


def _byte_units() -> dict[str, int]:
    units = {"B": 1, "byte": 1, "bytes": 1}
    for prefix, power in _POWERS.items():
        upper = prefix.upper()
        for name in (prefix, upper, prefix.lower() + "b", prefix + "B", upper + "B"):
            units[name] = 1000**power
        for name in (upper + "i", upper + "iB", prefix.lower() + "ib"):
            units[name] = 1024**power
    return units


def _rate_units() -> dict[str, int]:
    units = {"bps": 1, "bit/s": 1, "b/s": 1}
    for prefix, power in _POWERS.items():
        for first in (prefix, prefix.upper(), prefix.lower()):
            for rest in ("bps", "bit/s", "bits/s", "b/s"):
                units[first + rest] = 1000**power
        units[prefix + "B/s"] = 8 * 1000**power
    return units


BYTES: Final[Mapping[str, int]] = _byte_units()
RATES: Final[Mapping[str, int]] = _rate_units()
CLOCKS: Final[Mapping[str, int]] = {"Hz": 1, "kHz": 10**3, "MHz": 10**6, "GHz": 10**9}
TIMES: Final[Mapping[str, int]] = {
    **dict.fromkeys(("ns",), 1),
    **dict.fromkeys(("us", "µs"), 10**3),
    **dict.fromkeys(("ms",), 10**6),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 10**9),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60 * 10**9),
    **dict.fromkeys(("h", "hour", "hours"), 3600 * 10**9),
    **dict.fromkeys(("d", "day", "days"), 86_400 * 10**9),
    **dict.fromkeys(("w", "week", "weeks"), 604_800 * 10**9),
}
_CORES: Final = {"core": 1000, "cores": 1000, "cpu": 1000, "cpus": 1000, "vcpu": 1000, "vcpus": 1000, "m": 1}
_GPUS: Final = {"gpu": 1000, "gpus": 1000, "GPU": 1000, "GPUs": 1000, "m": 1}
_PIECES: Final = {"piece": 1, "pieces": 1}

_EXAMPLES: Final = {
    Kind.CPU: "2, 0.5, '2 cores', '500m'",
    Kind.GPU: "1, 0.5, '2 GPUs', '500m'",
    Kind.MEMORY: "'2GB', '512MiB', 4096 (bytes)",
    Kind.STORAGE: "'10GB', '1.5TB', '512MiB', 4096 (bytes)",
    Kind.STORE: "'10GB', '1.5TB', '512MiB', 4096 (bytes)",
    Kind.NETWORK: "'100Mbps', '1 Gbit/s', 1000000 (bits per second)",
}
_NUMBER: Final = re.compile(r"([0-9][0-9_]*)(?:\.([0-9]+))?\s*(.*)", re.ASCII | re.DOTALL)


def parse_amount(kind: str, text: str | int | float) -> int:
    """Return how much of ``kind`` is meant, in its base unit; BadRequest says what would have been understood."""
    units, plain = _units_of(kind)
    return _parse(text, units, plain, f"an amount of {kind}", _EXAMPLES.get(_known(kind), "1, 2, '3 pieces'"))


def parse_bytes(text: str | int | float) -> int:
    """Return a size in bytes."""
    return _parse(text, BYTES, 1, "a size", "'2GB', '512MiB', 4096 (bytes)")


def parse_duration_ns(text: str | int | float) -> int:
    """Return a time in nanoseconds; a plain number is seconds."""
    return _parse(text, TIMES, 10**9, "a time", "'10s', '5 min', '7d', 0.5 (seconds)")


def parse_quantity(number: str, unit: str) -> int:
    """Return the integer behind a number with a unit of size, rate, clock or percent, as in ``where=`` conditions."""
    units = {"%": 1, **CLOCKS, **RATES, **BYTES}
    return _parse(f"{number} {unit}", units, 1, "a quantity", "8GB, 512MiB, 100Mbps, 3.5GHz, 50%", least=0)


def show(kind: str, amount: int) -> str:
    """Say an amount for people: ``2 cores``, ``10.0 GB``, ``100 Mbps``; rounded to what a person wants to read."""
    match kind:
        case Kind.CPU:
            return _show_milli(amount, "core", "cores")
        case Kind.GPU:
            return _show_milli(amount, "GPU", "GPUs")
        case Kind.MEMORY | Kind.STORAGE | Kind.STORE:
            return show_bytes(amount)
        case Kind.NETWORK:
            return _show_rate(amount)
        case _:
            return f"{amount} {'piece' if amount == 1 else 'pieces'}"


def show_bytes(size_bytes: int) -> str:
    """Say a size for people, with one decimal: ``10.0 GB``."""
    if size_bytes < 1000:
        return f"{size_bytes} {'byte' if size_bytes == 1 else 'bytes'}"
    for prefix, power in _POWERS.items():
        unit = 1000**power
        tenths = (size_bytes * 10 + unit // 2) // unit
        if tenths < 10_000 or prefix == "E":
            return f"{tenths // 10}.{tenths % 10} {prefix}B"
    raise AssertionError("the largest prefix takes everything")


def show_duration_ns(time_ns: int) -> str:
    """Say a time for people in its largest fitting unit, with at most one decimal: ``1.5 s``, ``10 min``."""
    for name, unit_ns in (("d", TIMES["d"]), ("h", TIMES["h"]), ("min", TIMES["min"]), ("s", 10**9), ("ms", 10**6)):
        if time_ns >= unit_ns:
            return f"{_decimal((time_ns * 10 + unit_ns // 2) // unit_ns, 10)} {name}"
    return f"{_decimal((time_ns * 10 + 500) // 1000, 10)} us"


def _known(kind: str) -> Kind:
    return Kind(kind) if kind in Kind.__members__.values() else Kind.POWER


def _units_of(kind: str) -> tuple[Mapping[str, int], int]:
    match kind:
        case Kind.CPU:
            return _CORES, 1000
        case Kind.GPU:
            return _GPUS, 1000
        case Kind.MEMORY | Kind.STORAGE | Kind.STORE:
            return BYTES, 1
        case Kind.NETWORK:
            return RATES, 1
        case _:
            return _PIECES, 1


def _parse(
    text: str | int | float,
    units: Mapping[str, int],
    plain: int,
    what: str,
    examples: str,
    *,
    least: int = 1,
) -> int:
    hint = f"say for example {examples}"
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise BadRequest(f"{text!r} is not {what}", hint=hint)
    if isinstance(text, float):
        amount = _from_float(text, plain, what, hint)
    elif isinstance(text, int):
        amount = text * plain
    else:
        amount = _from_text(text, units, plain, what, hint)
    if amount < least:
        raise BadRequest(f"{_brief(text)} is not {what}: it must be more than zero", hint=hint)
    if amount > AMOUNT_MAX:
        raise BadRequest(f"{_brief(text)} is more than World OS can count", hint=hint)
    return amount


def _from_float(number: float, plain: int, what: str, hint: str) -> int:
    if not math.isfinite(number):
        raise BadRequest(f"{number} is not {what}: it must be a finite number", hint=hint)
    top, bottom = number.as_integer_ratio()
    amount = (2 * top * plain + bottom) // (2 * bottom)
    if amount == 0 and number > 0:
        raise BadRequest(f"{number} is too small for {what}", hint=hint)
    return amount


def _from_text(text: str, units: Mapping[str, int], plain: int, what: str, hint: str) -> int:
    words = text.strip()
    if len(text) > TEXT_CHARS_MAX:
        raise BadRequest(f"{_brief(text)} is too long for {what}", hint=hint)
    if words.startswith("-"):
        raise BadRequest(f"{_brief(text)} is not {what}: it must be more than zero", hint=hint)
    found = _NUMBER.fullmatch(words)
    if found is None:
        raise BadRequest(f"{_brief(text)} is not {what}: it must begin with a number", hint=hint)
    whole, part, unit = found.group(1).replace("_", ""), found.group(2) or "", found.group(3).strip()
    scale = plain if unit == "" else units.get(unit, units.get(unit.lower(), 0) if len(unit) > 2 else 0)
    if scale == 0:
        raise BadRequest(f"{_brief(text)} is not {what}: {_unknown(unit, units)}", hint=hint)
    finer: int = 10 ** len(part)
    amount, rest = divmod(int(whole + part) * scale, finer)
    if rest:
        raise BadRequest(f"{_brief(text)} is finer than the smallest step of {what}", hint=hint)
    return amount


def _unknown(unit: str, units: Mapping[str, int]) -> str:
    """Name the unit that was probably meant: the same letters in another case, else the most alike."""
    lower = unit.lower()
    same = [name for name in units if name.lower() == lower]
    close = same[-1:] or get_close_matches(unit, units, n=1, cutoff=0.5)
    close = close or [name for name in units if name.lower() in get_close_matches(lower, units, n=1, cutoff=0.5)]
    return f"unknown unit {unit!r}, did you mean {close[0]!r}?" if close else f"unknown unit {unit!r}"


def _brief(text: str | int | float) -> str:
    if isinstance(text, int):
        return str(text) if abs(text) < 10**20 else "an integer of more than 20 digits"
    said = repr(text)
    return said if len(said) <= TEXT_CHARS_MAX else said[: TEXT_CHARS_MAX - 3] + "..."


def _decimal(number: int, scale: int) -> str:
    """Return ``number / scale`` (a power of ten) without trailing zeros."""
    digits = len(str(scale)) - 1
    whole, rest = divmod(number, scale)
    return f"{whole}.{rest:0{digits}d}".rstrip("0").rstrip(".")


def _show_milli(amount: int, one: str, many: str) -> str:
    return f"{_decimal(amount, 1000)} {one if amount == 1000 else many}"


def _show_rate(rate_bps: int) -> str:
    for name, unit in (("Tbps", 10**12), ("Gbps", 10**9), ("Mbps", 10**6), ("kbps", 10**3)):
        if rate_bps >= unit:
            return f"{_decimal((rate_bps * 10 + unit // 2) // unit, 10)} {name}"
    return f"{rate_bps} bps"
