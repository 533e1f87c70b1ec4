"""What a node says to the others of its site, by cause: from the kernel's periods, its messages and the site's size.

A row per site. Messages and bytes are those that one node *sends* in a second; what it receives is the same on
average. ``wire`` counts every layer and the acknowledgements, ``payload`` what the kernel encodes. Rules, each with
where it stands in the code:

- probes: one ping a round, one answer (kernel/membership.py ``_round``);
- full lists: every 30 s a ping carries all that is believed (``_tell_everything``);
- offers: told to every other node when they changed, else every 20 s (node.py ``_tell_offer``);
- key log: every 3 s one peer is told the heads (``_compare_logs``);
- links: every link is asked for a sign of life once a second, from both ends (fabric/paths.py). The simulator has no
  links, so this cause stands on the wire only;
- losses: a node that crashes and comes back (``return_of_one``).
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from worldos.fabric.limits import PROBE_NS
from worldos.kernel.gossip import TELLINGS_PER_DOUBLING
from worldos.kernel.membership import GONE_PERIOD_NS, SYNC_PERIOD_NS
from worldos.model.limits import KEYLOG_COMPARE_NS, OFFER_PERIOD_MIN_NS, OFFER_REFRESH_NS, PROBE_PERIOD_NS, SECOND
from worldos.planet.sizes import ACK_FRAME_BYTES, AROUND_BYTES, LINK_ASKED_BYTES, Sizes

Floats = npt.NDArray[np.float64]

OFFERS_A_SECOND_MAX: Final = SECOND / OFFER_PERIOD_MIN_NS
QUESTIONS_AT_A_LOSS: Final = 25  # pings, errands and their answers, per other node: counted in the simulator, 24 to 29


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """The kernel's periods, in seconds; another pace answers what a change of them would bring."""

    probe_s: float = PROBE_PERIOD_NS / SECOND
    sync_s: float = SYNC_PERIOD_NS / SECOND
    compare_s: float = KEYLOG_COMPARE_NS / SECOND
    refresh_s: float = OFFER_REFRESH_NS / SECOND
    link_s: float = PROBE_NS / SECOND


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What happens on a node, per second. All zero: it is idle."""

    offer_changes: float = 0.0
    crashes: float = 0.0


class Traffic(msgspec.Struct, kw_only=True):
    """What one node sends in a second, by cause; a row per site."""

    messages: dict[str, Floats]
    payload: dict[str, Floats]
    wire: dict[str, Floats]

    def total(self, what: str) -> Floats:
        """Return the sum over all causes of ``messages``, ``payload`` or ``wire``."""
        parts: dict[str, Floats] = getattr(self, what)
        result: Floats = np.sum(np.stack(list(parts.values())), axis=0)
        return result


IDLE: Final = Load()
BUSY: Final = Load(offer_changes=0.2, crashes=1 / 86_400)  # an offer changes every 5 s, a node crashes once a day


def site_traffic(nodes: Floats, sizes: Sizes, *, load: Load = IDLE, pace: Pace | None = None) -> Traffic:
    """Return what a node of each site sends; ``nodes`` are the sizes of the sites."""
    pace = pace or Pace()
    others = np.maximum(nodes - 1.0, 0.0)
    some = np.minimum(others, 1.0)  # a node alone says nothing
    told = np.minimum(np.maximum(load.offer_changes, 1.0 / pace.refresh_s), OFFERS_A_SECOND_MAX) * others
    traffic = Traffic(messages={}, payload={}, wire={})
    _exchange(traffic, "probes", some / pace.probe_s, sizes.ping, sizes.ack)
    full_list = sizes.ping + nodes * sizes.rumor
    _exchange(traffic, "full lists", some / pace.sync_s, full_list, sizes.ack)
    _oneway(traffic, "offers", told, sizes.offer)
    _oneway(traffic, "key log", some / pace.compare_s, sizes.have)
    asked = others / pace.link_s
    traffic.messages["links"] = traffic.payload["links"] = np.zeros_like(nodes)
    traffic.wire["links"] = asked * LINK_ASKED_BYTES  # my question, and my answer to the other end's
    _losses(traffic, load.crashes, nodes, sizes)
    return traffic


def _exchange(traffic: Traffic, cause: str, rate: Floats, ask: Floats | int, answer: int) -> None:
    """Count a question, and the answer that a node owes for another's; the answer costs an acknowledgement."""
    traffic.messages[cause] = 2.0 * rate
    traffic.payload[cause] = rate * (ask + answer)
    traffic.wire[cause] = rate * (ask + answer + 2 * AROUND_BYTES + ACK_FRAME_BYTES)


def _oneway(traffic: Traffic, cause: str, rate: Floats, size: Floats | int) -> None:
    """Count messages that nothing answers: each costs an acknowledgement."""
    traffic.messages[cause] = rate
    traffic.payload[cause] = rate * size
    traffic.wire[cause] = rate * (size + AROUND_BYTES + ACK_FRAME_BYTES)


def _losses(traffic: Traffic, crashes: float, nodes: Floats, sizes: Sizes) -> None:
    """Count what crashes and the returns after them cost; each node crashes so often."""
    back = return_of_one(nodes, sizes)
    traffic.messages["losses"] = crashes * back.total("messages")
    traffic.payload["losses"] = crashes * back.total("payload")
    traffic.wire["losses"] = traffic.payload["losses"] + traffic.messages["losses"] * (AROUND_BYTES + ACK_FRAME_BYTES)


def return_of_one(nodes: Floats, sizes: Sizes, *, down_s: float = 0.0) -> Traffic:
    """Return what all nodes of a site send more because one crashed and came back; ``down_s`` is how long it was away.

    Its links close, so every other asks it at once, also through others, and accuses it; then it is asked now and
    then. Three beliefs (suspect, dead, alive again) are told ``3 * log2(nodes)`` times by every node. When it
    returns, it links with every other: both ends tell all they believe, their heads and their offers, each other node
    says where the rest can be dialled, and the one that returned, to which every offer is new, tells each of all of
    them: (nodes - 1)^2 messages for one return.
    """
    others = np.maximum(nodes - 1.0, 0.0)
    tellings = TELLINGS_PER_DOUBLING * (np.floor(np.log2(np.maximum(nodes, 1.0))) + 1.0)
    asked = others * (QUESTIONS_AT_A_LOSS + down_s * SECOND / GONE_PERIOD_NS)
    missed = 2.0 * down_s * SECOND / PROBE_PERIOD_NS
    links = 2.0 * others
    messages = {
        "probes": asked + links - missed,
        "key log": links - down_s * SECOND / KEYLOG_COMPARE_NS,
        "offers": links - links * np.floor(down_s * SECOND / OFFER_REFRESH_NS),
        "peers": others**2,
    }
    beliefs = nodes * tellings * (2 * sizes.suspicion + sizes.rumor)
    payload = {
        "probes": asked * sizes.ping + beliefs + links * (nodes * sizes.rumor + sizes.ping) - missed * sizes.ack,
        "key log": messages["key log"] * sizes.have,
        "offers": messages["offers"] * sizes.offer,
        "peers": others * np.maximum(nodes - 2.0, 0.0) * (sizes.address + sizes.peers),
    }
    return Traffic(messages=messages, payload=payload, wire={})
