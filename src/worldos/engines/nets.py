"""How the seats of an engine reach each other, and how its holder reaches them.

In a private network of the lease wherever the hosts can have one (sdk/private_net.py): nobody else is in there, and the
holder has a port on its own loopback that only its own user may use. A single seat on this very machine can do without, on
plain loopback; what keeps others out there is that the engine asks for a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from worldos.engines import tender
from worldos.errors import NotAllowed
from worldos.sdk.compute import Compute
from worldos.sdk.private_net import PrivateNet

LOOPBACK = "127.0.0.1"
PORTS_BEGIN = 7800  # in a network of its own each seat has all ports; these are easy to recognise


class Net(Protocol):
    """What connects the seats."""

    private: bool

    def address(self, index: int) -> str:
        """Return the address of a seat."""

    def ports(self, index: int, count: int) -> tuple[int, ...]:
        """Return so many free ports of a seat."""

    def prefix(self, index: int) -> tuple[str, ...]:
        """Return the words before a command that bring it into the network."""

    def forward(self, index: int, port: int) -> int:
        """Return the port of this machine's loopback that leads to a port of a seat."""

    def __len__(self) -> int:
        """Return how many seats it has had."""

    def admit(self, handle: Compute) -> int:
        """Let one more seat in; return its number."""

    def leave(self, index: int) -> None:
        """Let a seat go, though its node be lost."""

    def close(self) -> None:
        """End it."""


class Loopback:
    """No network of its own: one seat, on this machine."""

    private = False

    def __init__(self, handle: Compute) -> None:
        self._handle = handle

    def address(self, index: int) -> str:
        """Return loopback."""
        assert index == 0
        return LOOPBACK

    def ports(self, index: int, count: int) -> tuple[int, ...]:
        """Return ports that are free there now."""
        assert index == 0
        return self._handle.submit(tender.free_ports, count).result()

    def prefix(self, index: int) -> tuple[str, ...]:
        """Return no words."""
        assert index == 0
        return ()

    def forward(self, index: int, port: int) -> int:
        """Return the port itself."""
        assert index == 0
        return port

    def __len__(self) -> int:
        """Return one."""
        return 1

    def admit(self, handle: Compute) -> int:
        """Refuse it: nobody else reaches this machine's loopback."""
        raise NotAllowed("this engine has no private network, so it cannot grow")

    def leave(self, index: int) -> None:
        """There is nothing to leave."""

    def close(self) -> None:
        """There is nothing to end."""


class Private:
    """A network of the leases' own."""

    private = True

    def __init__(self, net: PrivateNet) -> None:
        self._net = net

    def address(self, index: int) -> str:
        """Return the address inside."""
        return self._net.address(index)

    def ports(self, index: int, count: int) -> tuple[int, ...]:
        """Return the same for every seat: each has all of its own."""
        assert 0 <= index < len(self._net)
        return tuple(range(PORTS_BEGIN, PORTS_BEGIN + count))

    def prefix(self, index: int) -> tuple[str, ...]:
        """Return the words that join it."""
        return tuple(self._net.prefix(index))

    def forward(self, index: int, port: int) -> int:
        """Return the port here that leads there, for programs of this user alone."""
        return self._net.forward(index, port)

    def __len__(self) -> int:
        """Return how many seats it has had."""
        return len(self._net)

    def admit(self, handle: Compute) -> int:
        """Let one more seat in; return its number."""
        return self._net.admit(handle)

    def leave(self, index: int) -> None:
        """Let a seat go, though its node be lost."""
        self._net.leave(index)

    def close(self) -> None:
        """End it, and all that still runs inside."""
        self._net.close()


def net_for(handles: Sequence[Compute], here: str, *, loopback: bool) -> Net:
    """Return what connects these leases; ``here`` is the node of this machine.

    ``loopback``: what is alone on this machine may do without a network of its own, where none can be had.
    """
    try:
        return Private(PrivateNet.open(handles))
    except NotAllowed:
        if not loopback or len(handles) != 1 or handles[0].nodes != (here,):
            raise
    return Loopback(handles[0])
