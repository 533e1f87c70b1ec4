"""``use``: from a few words to a handle, or to a sentence that says why not.

Where no agent runs, one is started for the life of the program. It boots while the program loads the rest, so this module
loads next to nothing itself. Several needs are a gang: all of them or none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, Unpack, overload

from worldos.errors import BadRequest
from worldos.sdk.embedded import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worldos.model.need import Condition
    from worldos.sdk.compute import Cpu, Gpu
    from worldos.sdk.gang import Gang, Wanted
    from worldos.sdk.handle import Handle
    from worldos.sdk.memory import Memory
    from worldos.sdk.needs import Amount, Amounts
    from worldos.sdk.network import Network
    from worldos.sdk.queue import Queue
    from worldos.sdk.storage import Storage

RETRIES = 3
TIMEOUT_S = 30.0

H = TypeVar("H", bound="Handle")
H1 = TypeVar("H1", bound="Handle")
H2 = TypeVar("H2", bound="Handle")
H3 = TypeVar("H3", bound="Handle")


class Words(TypedDict, total=False):
    """What may be said about a need beside its kind and amount."""

    memory: Amount | None
    where: str | Condition | None
    near: str | None
    realm: str | None
    to: str | None
    objective: str
    budget: float | None
    apart: bool
    data: Mapping[str, int] | None
    yields: bool
    priority: int
    isolation: str | None
    for_: Callable[..., Any] | None
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
def need(kind: Literal["CPU"], amount: Amounts | None = None, **words: Unpack[Words]) -> Wanted[Cpu]: ...
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
def need(kind: str, amount: Amounts | None = None, **words: Any) -> Wanted[Any]:
    """Say one part of a gang, in the words of ``use``; ``apart=True`` puts it on a node of its own."""
    from worldos.sdk import gang  # noqa: PLC0415 - see above

    _check_words(words, _SAID)
    return gang.wanted(kind, amount, words)


@overload
def use(kind: Literal["CPU"], amount: Amounts | None = None, **words: Unpack[UseWords]) -> Cpu: ...
@overload
def use(kind: Literal["GPU"], amount: Amount | None = None, **words: Unpack[UseWords]) -> Gpu: ...
@overload
def use(kind: Literal["Memory"], amount: Amount | None = None, **words: Unpack[UseWords]) -> Memory: ...
@overload
def use(kind: Literal["Storage"], amount: Amount | None = None, **words: Unpack[UseWords]) -> Storage: ...
@overload
def use(kind: Literal["Network"], amount: Amount | None = None, **words: Unpack[UseWords]) -> Network: ...
@overload
def use(kind: Literal["Queue"], **words: Any) -> Queue: ...
@overload
def use(kind: Literal["Dask", "Ray", "PostgreSQL"], amount: Amount | None = None, **words: Any) -> Any: ...
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
    several, all or none. ``realm="acme/berlin"`` limits to what is below that realm; without it the nearest realm that can
    is taken. ``use("CPU", (2, 64))`` has two cores, and up to 64 while its queue is long enough for them. ``retries`` says how
    often a call may run again when its worker or node is lost; ``ttl`` how long a lease outlives a program that stopped
    talking; ``timeout`` how many seconds to wait for the answer.
    ``for_=function`` takes the machines on which calls of it end soonest, by what was learned of it, and the memory they need.
    ``use("Queue", name="frames")`` is a durable queue of the site (sdk/queue.py).
    ``use("Dask", cpus=16)`` starts an engine on leases and hands out its own client; ``wos engines`` lists what there is.
    Raises ``BadRequest`` for what cannot be understood, and ``NoCapacity`` with the reason for what cannot be had.
    """
    if what == ("Queue",):  # it takes no capacity, and is kept by agents that last: none is begun for it
        from worldos.sdk import queue  # noqa: PLC0415 - see above

        return queue.opened(words)
    prepare()
    from worldos.sdk import engines, gang, needs  # noqa: PLC0415 - all of this loads while the agent boots

    if what and (engine := engines.engine_named(what[0])) is not None:
        return engine.use(what[1] if len(what) == 2 else words.pop("amount", None), words)
    ttl_ns = needs.ttl_of(words.pop("ttl", None))
    retries = words.pop("retries", RETRIES)
    timeout = words.pop("timeout", TIMEOUT_S)
    if what and all(isinstance(each, gang.Wanted) for each in what):
        if words:
            raise TypeError(f"{min(words)}= belongs into need(), not beside it")
        return gang.Gang(gang.get(what, ttl_ns, retries, timeout))
    kind = words.pop("kind", None) if not what else what[0]
    amount = what[1] if len(what) == 2 else words.pop("amount", None)
    if len(what) > 2 or kind is None:
        raise BadRequest("say a kind and an amount, or needs", hint='use("CPU", 2) or use(need("CPU"), need("GPU"))')
    _check_words(words, _SAID)
    return gang.get((gang.wanted(kind, amount, words),), ttl_ns, retries, timeout)[0]


def _check_words(words: dict[str, Any], known: frozenset[str]) -> None:
    if unknown := sorted(words.keys() - known):
        raise TypeError(f"no such word: {unknown[0]}=; there are {', '.join(sorted(known))}")
