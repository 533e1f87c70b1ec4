"""A need: what a caller asks for, with its limits. Parsed once at the caller; from then on typed values, no text to evaluate.

``where`` becomes a tree of comparisons (model/where.py), so no node ever runs a stranger's code.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import msgspec

from worldos.model.ids import LeaseId, NodeId, ResourceId
from worldos.model.resource import Fact

WORK_MI_MAX: Final = 10**7
WORK_US_MAX: Final = 10**9
WORK_BYTES_MAX: Final = 10**12
WORK_NODES_MAX: Final = 32


class Objective(StrEnum):
    """What "best" means to the caller."""

    FASTEST = "fastest"
    CHEAPEST = "cheapest"
    GREENEST = "greenest"
    NEAREST = "nearest"


class Compare(msgspec.Struct, frozen=True, tag="cmp"):
    """``fact op value``; ``op`` is one of ``== != < <= > >= in has``. A fact that is missing makes it false."""

    fact: str
    op: str
    value: Fact


class Not(msgspec.Struct, frozen=True, tag="not"):
    """The opposite."""

    part: Condition


class All(msgspec.Struct, frozen=True, tag="all"):
    """Every part holds."""

    parts: tuple[Condition, ...]


class AnyOf(msgspec.Struct, frozen=True, tag="any"):
    """At least one part holds."""

    parts: tuple[Condition, ...]


Condition = Compare | Not | All | AnyOf


class DataAt(msgspec.Struct, frozen=True, array_like=True):
    """So many of the bytes that the work will read lie on this node already."""

    node: NodeId
    size_bytes: int


class KnownNode(msgspec.Struct, frozen=True, array_like=True):
    """What was measured of a node: how long a round of calls takes there, and what the way to it carries. 0: not measured."""

    node: NodeId
    run_us: Annotated[int, msgspec.Meta(ge=0, le=WORK_US_MAX)] = 0
    bytes_s: Annotated[int, msgspec.Meta(ge=0, le=WORK_BYTES_MAX)] = 0


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What each core is to do, as learned from earlier runs (kernel/profile.py): a round of calls, whatever their number."""

    cpu_mi: Annotated[int, msgspec.Meta(ge=0, le=WORK_MI_MAX)]  # millions of instructions
    wait_us: Annotated[int, msgspec.Meta(ge=0, le=WORK_US_MAX)]
    move_bytes: Annotated[int, msgspec.Meta(ge=0, le=WORK_BYTES_MAX)]  # there and back
    known: Annotated[tuple[KnownNode, ...], msgspec.Meta(max_length=WORK_NODES_MAX)] = ()
    data: tuple[DataAt, ...] = ()


class Need(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is needed, all on one node.

    ``amount`` is in the kind's base unit (see resource.py). ``memory_bytes`` comes with a CPU or GPU. ``near`` is a node id, a
    node's name or a place; ``"me"`` is resolved to the caller's node before it gets here. ``to`` is the far end of a Network.
    A need has no more than 15 fields: with one more, the bytes of all decisions that were put down would change.
    ``driver`` and ``workers`` say how the lane behind the lease is staffed; 0 workers means one per whole core.
    """

    kind: str
    amount: int
    memory_bytes: int = 0
    where: Condition | None = None
    near: str = ""
    to: str = ""
    objective: Objective = Objective.FASTEST
    budget_uwos_hour: int = 0  # 0: no limit
    workers: int = 0
    apart: bool = False  # as part of a gang: on a node of its own
    realm: str = ""  # only in realms of this path: "acme/berlin"; empty: the nearest that can
    data: (
        tuple[DataAt, ...] | Work
    ) = ()  # what the work reads, where it lies: work goes to the data; or all that is known of it
    isolation: str = (
        ""  # at least this kept apart from the machine (model/isolation.py); empty: what the node asks of us
    )
    yields: bool | int = False  # may be taken back when somebody needs it more; a number: what it gains, see gain_ms
    priority: int = 0  # among what yields: the lower goes first, then what gains less

    @property
    def work(self) -> Work | None:
        """Return what was learned of the work."""
        return self.data if isinstance(self.data, Work) else None

    @property
    def reads(self) -> tuple[DataAt, ...]:
        """Return where what the work reads lies."""
        return self.data.data if isinstance(self.data, Work) else self.data

    def told(self) -> Need:
        """Return it as the nodes that are asked see it: what was learned is for the choice alone."""
        return msgspec.structs.replace(self, data=self.data.data) if isinstance(self.data, Work) else self

    @property
    def gain_ms(self) -> int:
        """Return how much sooner the work behind this ends by this lease, for what yields."""
        return int(self.yields)


class LeaseTerms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was granted, as the granting node says it. ``ttl_ns`` counts from when the holder asked, on the holder's clock."""

    lease: LeaseId
    node: NodeId
    boot: int
    need: Need
    resources: tuple[ResourceId, ...]
    ttl_ns: int
    isolation: str = ""  # how what runs behind it is kept apart from the machine; empty: as a process with limits
    price_uwos_hour: int = 0  # what the granting node asks for all of it


def workers_of(need: Need) -> int:
    """Return how many workers stand behind a lease of this need: one per whole core or GPU, else one."""
    if need.kind in {"CPU", "GPU"}:
        return need.workers or max(1, need.amount // 1000)
    return 1
