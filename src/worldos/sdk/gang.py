"""What stands behind ``use``: one or several needs become lanes, a question to the agent, and handles: all or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, TypeVarTuple

from msgspec.structs import replace

from worldos.errors import BadRequest, NoCapacity
from worldos.lanes.client import Lane
from worldos.model import limits
from worldos.model.need import Need
from worldos.model.resource import Kind
from worldos.model.units import show_bytes
from worldos.model.where import hint_for
from worldos.sdk import connection as agent
from worldos.sdk import needs, profiles
from worldos.sdk.compute import Compute, Cpu, Gpu
from worldos.sdk.device import Device
from worldos.sdk.handle import Handle
from worldos.sdk.holding import Holding, Part
from worldos.sdk.memory import Memory
from worldos.sdk.network import Network
from worldos.sdk.storage import Storage

ME = "me"
RETRIES_MAX = 100

H_co = TypeVar("H_co", bound=Handle, covariant=True)
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
    most: int = 0  # grows to this with its queue; 0: it stays as it is
    for_: Callable[..., Any] | None = None  # what was learned of this function says where, and with how much memory


class Gang(tuple[*Handles]):
    """The handles of several needs, all or none: ``with use(need(...), need(...)) as (cpu, disk):``."""

    __slots__ = ()

    def close(self) -> None:
        """Give everything back."""
        self.__exit__(GeneratorExit, None, None)  # as a block that was left: nobody waits for what still runs

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with ExitStack() as rest:  # each is left, whatever happens on leaving the others
            for handle in self:
                rest.callback(handle.__exit__, kind, error, traceback)  # type: ignore[attr-defined] # all are handles


def wanted(kind: str, amount: Any, words: dict[str, Any]) -> Wanted[Any]:
    """Return what these words want."""
    initializer, initargs = words.pop("initializer", None), tuple(words.pop("initargs", ()))
    for_ = words.pop("for_", None)
    least, most = needs.least_and_most(kind, amount)
    parsed = needs.parse_need(kind, least, **words)
    handle = _HANDLES.get(parsed.kind, Device)
    if (initializer is not None or initargs) and not issubclass(handle, Compute):
        raise BadRequest(f"initializer= comes with a CPU or a GPU, not with {parsed.kind}")
    if initializer is not None and not callable(initializer):
        raise BadRequest("initializer= must be a function")
    if for_ is not None and not (callable(for_) and issubclass(handle, Compute)):
        raise BadRequest("for_= is the function that a CPU or a GPU is for", hint='use("CPU", 4, for_=train)')
    return Wanted(parsed, handle, initializer, initargs, most, for_)


def get(wanted: Sequence[Wanted[Any]], ttl_ns: int, retries: int, timeout: float | None) -> tuple[Handle, ...]:
    """Ask for all of it; return a handle each, or raise why not."""
    _check_retries(retries)
    if len(wanted) > limits.GANG_PARTS_MAX:
        raise BadRequest(f"a gang of {len(wanted)} needs, at most {limits.GANG_PARTS_MAX} can be asked for at once")
    connection = agent.connection()
    lanes = [_lane(each, connection) for each in wanted]
    asked = [_placed(_fitted(each, connection), connection) for each in wanted]
    parts = [Part(need, lane) for need, lane in zip(asked, lanes, strict=True)]
    holding = Holding(connection, parts)
    try:
        holding.ask(ttl_ns, timeout)
    except NoCapacity as refusal:
        holding.close()
        raise _explained(refusal, connection, wanted, asked) from None
    except BaseException:
        holding.close()
        raise
    return tuple(_handle(each, holding, part, retries, ttl_ns) for each, part in zip(wanted, parts, strict=True))


def _lane(each: Wanted[Any], connection: agent.Connection) -> Lane:
    learned = profiles.begun(connection) if issubclass(each.handle, Compute) else None
    return Lane(initializer=each.initializer, initargs=each.initargs, profiles=learned)


def _handle(each: Wanted[Any], holding: Holding, part: Part, retries: int, ttl_ns: int) -> Handle:
    if not issubclass(each.handle, Compute):
        plain: Handle = each.handle(holding, part)
        return plain
    compute: Compute = each.handle(holding, part, retries)
    if each.most:
        compute.grow_to(each.most, ttl_ns)
    return compute


def _placed(need: Need, connection: agent.Connection) -> Need:
    """Say where "me" is."""
    near, to = ("" if word != ME else connection.node() for word in (need.near, need.to))
    return replace(need, near=near or need.near, to=to or need.to) if near or to else need


def _fitted(each: Wanted[Any], connection: agent.Connection) -> Need:
    """Return the need of a part, with what was learned of the function that it is for."""
    return each.need if each.for_ is None else profiles.fitted(each.need, each.for_, connection)


def _explained(
    refusal: NoCapacity, connection: agent.Connection, wanted: Sequence[Wanted[Any]], asked: Sequence[Need]
) -> NoCapacity | BadRequest:
    """Return the refusal; where it is for what was learned, or for what no node has ever told of, say so."""
    for each, need in zip(wanted, asked, strict=True):
        if need.memory_bytes and not each.need.memory_bytes:
            name = getattr(each.for_, "__name__", "the function")
            hint = f"by earlier runs of {name} it takes {show_bytes(need.memory_bytes)}: memory= says otherwise"
            return NoCapacity(str(refusal), hint=hint)
    strange = [need for need in asked if need.kind not in _KINDS or need.where is not None]
    if not strange:
        return refusal
    resources = connection.ask("resources")
    offered = {resource["kind"] for resource in resources} | _KINDS
    told = {fact for each in (*resources, *connection.ask("nodes")) for fact in each.get("facts", ())}
    for need in strange:
        if need.kind not in offered:
            return needs.unknown_kind(need.kind, offered)
        if need.where is not None and (hint := hint_for(need.where, told)):
            return NoCapacity(str(refusal), hint=hint)
    return refusal


def _check_retries(retries: object) -> None:
    if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= RETRIES_MAX:
        raise BadRequest(f"retries={retries!r}: how often a call may run again is a number from 0 to {RETRIES_MAX}")
