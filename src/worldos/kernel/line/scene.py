"""The scene: what the primary sees when it plans. All of it is others' word and may be old; a plan made of it may be refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from worldos.kernel.question import View
from worldos.model.ids import NodeId
from worldos.model.offer import Offer

QUIET_MS: Final = 3_000  # a runner that was not heard of for so long gets nothing new
LOST_TWICE_MS: Final = 6_000  # ... and for so long: what may go on beside its successor is given to others,
LOST_MS: Final = 20_000  # ... and all else only now: by then a runner that reaches nobody has stopped it


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan is made of; ``view.home`` is the primary's own node.

    ``runners``: the nodes that can be given tasks. ``leased``: by kind, what the runner of a node has leases for; a node that
    is missing: what its begun attempts need. ``silent_ms``: since when nothing was heard of its runner, by this primary.
    ``elsewhere``: nodes beyond ours may have what no runner's node has; then the runner at home is asked to lease it there.
    """

    offers: Mapping[NodeId, Offer]
    view: View
    wall_ms: int
    runners: frozenset[NodeId]
    leased: Mapping[NodeId, Mapping[str, int]] = {}
    silent_ms: Mapping[NodeId, int] = {}
    elsewhere: bool = False
