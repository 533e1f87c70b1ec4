"""Guardians: a secret in parts, any few of which give it back, and fewer of which say nothing at all.

Each byte of the secret is where a random polynomial over GF(256) meets zero; part number x holds the values at x. With
``need`` parts the polynomial is known, with one less every byte is as likely as any other. A part says in its box
whose it is (``number``) and how many it takes; whether the secret came back right is seen by whoever knows its hash
(``keyring``). Source: A. Shamir, "How to share a secret", CACM 22 (1979); the field is that of AES (0x11b).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec

from worldos.errors import BadRequest
from worldos.store.limits import GUARDIANS_MAX

_POLYNOMIAL = 0x11B

Number = Annotated[int, msgspec.Meta(ge=1, le=GUARDIANS_MAX)]


class Part(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What one guardian keeps: number ``number`` of a split of which ``need`` parts give the secret back."""

    number: Number
    need: Number
    data: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]

    def __repr__(self) -> str:
        """Show no secret."""
        return f"Part({self.number}, need={self.need})"


def _tables() -> tuple[list[int], list[int]]:
    powers, logs, value = [0] * 510, [0] * 256, 1
    for power in range(255):
        powers[power] = powers[power + 255] = value
        logs[value] = power
        doubled = value << 1
        value ^= doubled ^ (_POLYNOMIAL if doubled & 256 else 0)  # times 3, which generates the field
    return powers, logs


_POWERS, _LOGS = _tables()


def chance_bytes(secret_bytes: int, need: int) -> int:
    """Return how many random bytes ``split`` wants."""
    return secret_bytes * (need - 1)


def split(secret: bytes, need: int, count: int, chance: bytes) -> list[Part]:
    """Split a 32-byte secret among ``count`` guardians of whom any ``need`` can give it back.

    ``chance`` is ``chance_bytes`` random bytes. Raise BadRequest for numbers that make no sense.
    """
    if not 1 <= need <= count <= GUARDIANS_MAX:
        raise BadRequest(f"{need} of {count} guardians cannot be: at least 1, and at most {GUARDIANS_MAX} in all")
    if need == 1 and count > 1:
        raise BadRequest("with one guardian enough, each of them holds the whole key", hint="ask for two or more")
    if len(chance) != chance_bytes(len(secret), need):
        raise ValueError(f"a split takes {chance_bytes(len(secret), need)} random bytes, not {len(chance)}")
    rows = [secret, *(chance[at : at + len(secret)] for at in range(0, len(chance), len(secret)))]
    return [Part(number=number, need=need, data=_at(rows, number)) for number in range(1, count + 1)]


def join(parts: Iterable[Part]) -> bytes:
    """Return the secret that these parts make; raise BadRequest if they are too few or do not belong together."""
    found = {part.number: part for part in parts}
    needs = {part.need for part in found.values()}
    if len(needs) != 1:
        raise BadRequest("these parts of guardians do not belong together" if found else "no guardian has answered")
    need = needs.pop()
    if len(found) < need:
        raise BadRequest(f"{len(found)} guardians have answered, and it takes {need}")
    taken = [found[number] for number in sorted(found)[:need]]
    weights = [_weight(part.number, [other.number for other in taken]) for part in taken]
    columns = zip(*(part.data for part in taken), strict=True)
    return bytes([_sum(map(_times, weights, column)) for column in columns])


def _at(rows: list[bytes], number: int) -> bytes:
    """Evaluate all polynomials at one point, the highest coefficient first (Horner)."""
    value = bytes(len(rows[0]))
    for row in reversed(rows):
        value = bytes([_times(known, number) ^ coefficient for known, coefficient in zip(value, row, strict=True)])
    return value


def _weight(number: int, numbers: list[int]) -> int:
    """Return the weight of one point in Lagrange's sum at zero."""
    weight = 1
    for other in numbers:
        if other != number:
            weight = _times(weight, _times(other, _inverse(other ^ number)))
    return weight


def _sum(values: Iterable[int]) -> int:
    total = 0
    for value in values:
        total ^= value
    return total


def _times(one: int, two: int) -> int:
    return _POWERS[_LOGS[one] + _LOGS[two]] if one and two else 0


def _inverse(value: int) -> int:
    return _POWERS[255 - _LOGS[value]]
