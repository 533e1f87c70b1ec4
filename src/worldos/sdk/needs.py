"""From what a person writes to a need: kinds in any case, amounts with units, conditions as text.

All that can be known to be wrong here is refused here, before anything is asked: an unknown kind with the near miss, an
impossible amount with what would be understood. Kinds that foreign drivers bring are known only to the nodes that have
them, so a strange word passes here and is looked up at the agent (see use.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from worldos.errors import BadRequest
from worldos.model import limits
from worldos.model.ids import NodeId
from worldos.model.isolation import Isolation
from worldos.model.need import Condition, DataAt, Need, Objective
from worldos.model.resource import Kind
from worldos.model.units import parse_amount, parse_bytes, parse_duration_ns
from worldos.model.where import parse_where

Amount = int | float | str
"""A plain number (cores, GPUs, bytes, bits per second, pieces) or text with a unit: ``"500m"``, ``"2GB"``."""

Amounts = Amount | tuple[Amount, Amount]
"""An amount, or the least that is promised and the most that it grows to with its queue: ``(2, 64)``."""

UWOS_PER_WOS = 1_000_000
CORE_MILLI = 1000
_BY_LOWER = {kind.value.lower(): kind.value for kind in Kind}
_WITH_MEMORY = frozenset({Kind.CPU.value, Kind.GPU.value})
_HOW_MUCH = {
    Kind.MEMORY.value: "2GB",
    Kind.STORAGE.value: "10GB",
    Kind.STORE.value: "10GB",
    Kind.NETWORK.value: "100Mbps",
}


def parse_need(  # noqa: PLR0913 - one call, by name, as a person writes it
    kind: str,
    amount: Amount | None = None,
    *,
    memory: Amount | None = None,
    where: str | Condition | None = None,
    near: str | None = None,
    realm: str | None = None,
    to: str | None = None,
    objective: str = "fastest",
    budget: float | None = None,
    apart: bool = False,
    data: Mapping[str, int] | None = None,
    yields: bool = False,
    priority: int = 0,
    isolation: str | None = None,
) -> Need:
    """Return the need that these words say.

    ``memory`` comes with a CPU or a GPU. ``where`` compares facts of the node and the resource, as in
    ``"arch == 'arm64' and not battery"``. ``near`` is ``"me"``, a node or a place (a wish; a condition is
    ``where``); ``to`` the far end of a Network.
    ``realm`` is a way in the tree of realms: only nodes below it.
    ``budget`` is in WOSCoin an hour. ``apart`` puts this part of a gang on a node of its own. ``data`` says how many
    bytes of what the work reads lie on which node (``Files.data_at``): work goes to the data. What ``yields`` may be taken
    back for who needs it more; of that the lower ``priority`` goes first. ``isolation`` keeps what runs at least so far apart
    from the machine: ``"process"``, ``"sandbox"`` or ``"wasm"``.
    """
    known = kind_named(kind)
    if memory is not None and known not in _WITH_MEMORY:
        raise BadRequest(
            f"memory= comes with a CPU or a GPU, not with {known}", hint='say it as the amount: use("Memory", "2GB")'
        )
    if to is not None and known != Kind.NETWORK:
        raise BadRequest(f"to= is the far end of a Network, and this is {known}", hint="near= says where it shall be")
    return Need(
        kind=known,
        amount=_amount(known, amount),
        memory_bytes=0 if memory is None else parse_bytes(memory),
        where=parse_where(where) if isinstance(where, str) else where,
        near=_word("near", near),
        realm=_word("realm", realm).strip("/"),
        to=_word("to", to),
        objective=_objective(objective),
        budget_uwos_hour=_budget(budget),
        apart=apart,
        data=_data(data),
        isolation=_isolation(known, isolation),
        yields=yields is True,
        priority=_priority(priority),
    )


def least_and_most(kind: str, amount: Amounts | None) -> tuple[Amount | None, int]:
    """Return the amount that is promised, and the most that it may grow to in base units; 0: it does not."""
    if not isinstance(amount, tuple):
        return amount, 0
    known = kind_named(kind)
    if known != Kind.CPU or len(amount) != 2:
        raise BadRequest(
            f"amount={amount!r}: only a CPU grows, from a least to a most", hint='use("CPU", amount=(2, 64))'
        )
    least, most = (parse_amount(known, each) for each in amount)
    if least > most or least % CORE_MILLI or most % CORE_MILLI:
        raise BadRequest(f"amount={amount!r}: that is no range of whole cores", hint='use("CPU", amount=(2, 64))')
    return amount[0], most if most > least else 0


def _isolation(kind: str, isolation: str | None) -> str:
    if isolation is None:
        return ""
    if isolation not in set(Isolation):
        raise BadRequest(f"there is no isolation {isolation!r}", hint=f"there are: {', '.join(Isolation)}")
    if kind not in _WITH_MEMORY:
        raise BadRequest(f"isolation= comes with a CPU or a GPU, not with {kind}", hint="no code of yours runs there")
    return isolation


def _data(data: Mapping[str, int] | None) -> tuple[DataAt, ...]:
    if data is None:
        return ()
    most = sorted(data.items(), key=lambda at: (-at[1], at[0]))[: limits.DATA_PLACES_MAX]
    return tuple(DataAt(NodeId(node), size) for node, size in most)


def kind_named(kind: object) -> str:
    """Return a kind as World OS writes it; a word that is nearly one of ours is refused with what was meant."""
    if not isinstance(kind, str):
        raise BadRequest(f"a kind is a word, not {type(kind).__name__}", hint=f"there are: {', '.join(Kind)}")
    word = kind.strip()
    known = _BY_LOWER.get(word.lower())
    if known is not None:
        return known
    if not word or len(word) > limits.NAME_CHARS_MAX or not word.isprintable():
        raise BadRequest(f"{word[: limits.NAME_CHARS_MAX]!r} is not a kind", hint=f"there are: {', '.join(Kind)}")
    if near_miss(word, Kind):
        raise unknown_kind(word, Kind)
    return word


def unknown_kind(word: str, known: Iterable[str]) -> BadRequest:
    """Return the error for a kind that nobody offers."""
    names = sorted(known)
    close = near_miss(word, names)
    guess = f", did you mean {close!r}?" if close else ""
    return BadRequest(f"unknown kind {word!r}{guess}", hint=f"there are: {', '.join(names)}")


def near_miss(word: str, known: Iterable[str]) -> str:
    """Return the known kind that was probably meant, or nothing."""
    lower = {name.lower(): str(name) for name in known}
    close = get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    return lower[close[0]] if close else ""


def ttl_of(ttl: Amount | None) -> int:
    """Return how long a lease lasts without renewal, in ns."""
    if ttl is None:
        return limits.LEASE_TTL_DEFAULT_NS
    ttl_ns = parse_duration_ns(ttl)
    if not limits.LEASE_TTL_MIN_NS <= ttl_ns <= limits.LEASE_TTL_MAX_NS:
        least, most = limits.LEASE_TTL_MIN_NS // limits.SECOND, limits.LEASE_TTL_MAX_NS // limits.MINUTE
        raise BadRequest(
            f"ttl={ttl!r} is out of bounds: a lease lasts {least} s to {most} min without renewal",
            hint="leave ttl out: a lease is renewed by itself while the program lives",
        )
    return ttl_ns


def _amount(kind: str, amount: Amount | None) -> int:
    if amount is not None:
        return parse_amount(kind, amount)
    if kind in _HOW_MUCH:
        raise BadRequest(f"how much {kind}?", hint=f'say for example use("{kind}", "{_HOW_MUCH[kind]}")')
    return parse_amount(kind, 1)


def _objective(objective: str) -> Objective:
    try:
        return Objective(objective)
    except ValueError:
        raise BadRequest(f"objective={objective!r} is unknown", hint=f"there are: {', '.join(Objective)}") from None


def _priority(priority: object) -> int:
    most = limits.NEED_PRIORITY_MAX
    if isinstance(priority, bool) or not isinstance(priority, int) or not -most <= priority <= most:
        raise BadRequest(f"priority={priority!r} is no number from -{most} to {most}")
    return priority


def _budget(budget: object) -> int:
    if budget is None:
        return 0
    if isinstance(budget, bool) or not isinstance(budget, int | float) or not 0 < budget < 1e12:
        raise BadRequest(f"budget={budget!r} is not an amount of WOSCoin an hour", hint="leave budget out for no limit")
    return max(1, round(budget * UWOS_PER_WOS))


def _word(name: str, text: object) -> str:
    if text is None:
        return ""
    if not isinstance(text, str) or not text.strip() or not text.isprintable() or len(text) > limits.WHERE_CHARS_MAX:
        raise BadRequest(f"{name}={text!r} is not the name of a node or a place", hint='say "me", a node or a place')
    return text.strip()
