"""``use``: from a few words to a handle, or to a sentence that says why not.

Where no agent runs, one is started for the life of the program, and boots while the rest of this package loads. Several
needs are a gang: all of them or none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypedDict, TypeVar, TypeVarTuple, Unpack, overload

from msgspec.structs import replace

from worldos.errors import BadRequest, NoCapacity
from worldos.lanes.client import Lane
from worldos.model import limits
from worldos.model.need import Condition, Need
from worldos.model.resource import Kind
from worldos.sdk import connection as agent
from worldos.sdk.compute import Compute, Cpu, Gpu
from worldos.sdk.device import Device
from worldos.sdk.handle import Handle
from worldos.sdk.holding import Holding, Part
from worldos.sdk.memory import Memory
from worldos.sdk.needs import Amount, parse_need, ttl_of, unknown_kind
from worldos.sdk.network import Network
from worldos.sdk.storage import Storage

ME = "me"
RETRIES = 3
RETRIES_MAX = 100
TIMEOUT_S = 30.0

H_co = TypeVar("H_co", bound=Handle, covariant=True)
H = TypeVar("H", bound=Handle)
H1 = TypeVar("H1", bound=Handle)
H2 = TypeVar("H2", bound=Handle)
H3 = TypeVar("H3", bound=Handle)
Handles = TypeVarTuple("Handles")

_HANDLES: dict[str, type[Handle]] = {
    Kind.CPU: Cpu,
    Kind.GPU: Gpu,
    Kind.MEMORY: Memory,
    Kind.STORAGE: Storage,
    Kind.NETWORK: Network,
}

_KINDS = frozenset(kind.value for kind in Kind)


@dataclass(frozen=True)
class Wanted(Generic[H_co]):
    """One part of a gang, before it is asked for: the need, and the kind of handle that it will be."""

    need: Need
    handle: type[H_co]
    initializer: Callable[..., Any] | None = None
    initargs: tuple[Any, ...] = ()


class Gang(tuple[*Handles]):
    """The handles of several needs, all or none: ``with use(need(...), need(...)) as (cpu, disk):``."""

    __slots__ = ()

    def close(self) -> None:
        """Give everything back."""
        for handle in self:
            handle.close()  # type: ignore[attr-defined] # only handles are put in

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for handle in self:
            handle.__exit__(kind, error, traceback)  # type: ignore[attr-defined]


class Words(TypedDict, total=False):
    """What may be said about a need beside its kind and amount."""

    memory: Amount | None
    where: str | Condition | None
    near: str | None
    to: str | None
    objective: str
    budget: float | None
    apart: bool
    initializer: Callable[..., Any] | None
    initargs: tuple[Any, ...]


class UseWords(Words, total=False):
    """What may be said about a use beside its needs."""

    ttl: Amount | None
    retries: int
    timeout: float | None


class GangWords(TypedDict, total=False):
    """What may be said about a gang as a whole."""

    ttl: Amount | None
    retries: int
    timeout: float | None


_SAID = frozenset(Words.__annotations__)


@overload
def need(kind: Literal["CPU"], amount: Amount | None = None, **words: Unpack[Words]) -> Wanted[Cpu]: ...
@overload
def need(kind: Literal["GPU"], amount: Amount | None = None, **words: Unpack[Words]) -> Wanted[Gpu]: ...
@overload
def need(kind: Literal["Memory"], amount: Amount | None = None, **words: Unpack[Words]) -> Wanted[Memory]: ...
@overload
def need(kind: Literal["Storage"], amount: Amount | None = None, **words: Unpack[Words]) -> Wanted[Storage]: ...
@overload
def need(kind: Literal["Network"], amount: Amount | None = None, **words: Unpack[Words]) -> Wanted[Network]: ...
@overload
def need(kind: str, amount: Amount | None = None, **words: Unpack[Words]) -> Wanted[Any]: ...
def need(kind: str, amount: Amount | None = None, **words: Any) -> Wanted[Any]:
    """Say one part of a gang, in the words of ``use``; ``apart=True`` puts it on a node of its own."""
    if unknown := sorted(words.keys() - _SAID):
        raise TypeError(f"no such word: {unknown[0]}=; there are {', '.join(sorted(_SAID))}")
    initializer, initargs = words.pop("initializer", None), tuple(words.pop("initargs", ()))
    wanted = parse_need(kind, amount, **words)
    handle = _HANDLES.get(wanted.kind, Device)
    if (initializer is not None or initargs) and not issubclass(handle, Compute):
        raise BadRequest(f"initializer= comes with a CPU or a GPU, not with {wanted.kind}")
    if initializer is not None and not callable(initializer):
        raise BadRequest("initializer= must be a function")
    return Wanted(wanted, handle, initializer, initargs)


@overload
def use(kind: Literal["CPU"], amount: Amount | None = None, **words: Unpack[UseWords]) -> Cpu: ...
@overload
def use(kind: Literal["GPU"], amount: Amount | None = None, **words: Unpack[UseWords]) -> Gpu: ...
@overload
def use(kind: Literal["Memory"], amount: Amount | None = None, **words: Unpack[UseWords]) -> Memory: ...
@overload
def use(kind: Literal["Storage"], amount: Amount | None = None, **words: Unpack[UseWords]) -> Storage: ...
@overload
def use(kind: Literal["Network"], amount: Amount | None = None, **words: Unpack[UseWords]) -> Network: ...
@overload
def use(kind: str, amount: Amount | None = None, **words: Unpack[UseWords]) -> Any: ...
@overload
def use(first: Wanted[H1], second: Wanted[H2], /, **words: Unpack[GangWords]) -> Gang[H1, H2]: ...
@overload
def use(
    first: Wanted[H1], second: Wanted[H2], third: Wanted[H3], /, **words: Unpack[GangWords]
) -> Gang[H1, H2, H3]: ...
@overload
def use(*needs: Wanted[H], **words: Unpack[GangWords]) -> Gang[*tuple[H, ...]]: ...
def use(*what: Any, **words: Any) -> Any:
    """Get the right to something, wherever it is: a handle to use in a ``with`` block.

    ``use("CPU", 2, memory="1GB", where="arch == 'arm64'", near="me")`` is a handle; ``use(need(...), need(...))`` are
    several, all or none. ``retries`` says how often a call may run again when its worker or node is lost; ``ttl`` how
    long a lease outlives a program that stopped talking; ``timeout`` how many seconds to wait for the answer.
    Raises ``BadRequest`` for what cannot be understood, and ``NoCapacity`` with the reason for what cannot be had.
    """
    ttl_ns = ttl_of(words.pop("ttl", None))
    retries = _retries(words.pop("retries", RETRIES))
    timeout = words.pop("timeout", TIMEOUT_S)
    if what and all(isinstance(each, Wanted) for each in what):
        if words:
            raise TypeError(f"{min(words)}= belongs into need(), not beside it")
        return Gang(_handles(what, ttl_ns, retries, timeout))
    kind = words.pop("kind", None) if not what else what[0]
    amount = what[1] if len(what) == 2 else words.pop("amount", None)
    if len(what) > 2 or kind is None:
        raise BadRequest("say a kind and an amount, or needs", hint='use("CPU", 2) or use(need("CPU"), need("GPU"))')
    return _handles((need(kind, amount, **words),), ttl_ns, retries, timeout)[0]


def _handles(wanted: Sequence[Wanted[Any]], ttl_ns: int, retries: int, timeout: float | None) -> tuple[Handle, ...]:
    if len(wanted) > limits.GANG_PARTS_MAX:
        raise BadRequest(f"a gang of {len(wanted)} needs, at most {limits.GANG_PARTS_MAX} can be asked for at once")
    connection = agent.connection()
    lanes = [Lane(initializer=each.initializer, initargs=each.initargs) for each in wanted]
    parts = [Part(_placed(each.need, connection), lane) for each, lane in zip(wanted, lanes, strict=True)]
    holding = Holding(connection, parts)
    try:
        holding.ask(ttl_ns, timeout)
    except NoCapacity as refusal:
        holding.close()
        raise _unknown(holding, wanted) or refusal from None
    except BaseException:
        holding.close()
        raise
    return tuple(
        each.handle(holding, part, retries) if issubclass(each.handle, Compute) else each.handle(holding, part)
        for each, part in zip(wanted, parts, strict=True)
    )


def _placed(need: Need, connection: agent.Connection) -> Need:
    """Say where "me" is."""
    near, to = ("" if word != ME else connection.node() for word in (need.near, need.to))
    return replace(need, near=near or need.near, to=to or need.to) if near or to else need


def _unknown(holding: Holding, wanted: Sequence[Wanted[Any]]) -> BadRequest | None:
    """Return the error for a kind that no node has ever offered, if one was asked for."""
    foreign = [each.need.kind for each in wanted if each.need.kind not in _KINDS]
    if not foreign:
        return None
    offered = {resource["kind"] for resource in holding.connection.ask("resources")} | _KINDS
    return next((unknown_kind(kind, offered) for kind in foreign if kind not in offered), None)


def _retries(retries: object) -> int:
    if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= RETRIES_MAX:
        raise BadRequest(f"retries={retries!r}: how often a call may run again is a number from 0 to {RETRIES_MAX}")
    return retries
