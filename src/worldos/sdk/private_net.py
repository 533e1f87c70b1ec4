"""A private network of several leases: what runs in them has addresses of each other, all ports, and nobody else comes in.

    with use(need("CPU", 2, apart=True), need("CPU", 2, apart=True)) as cpus, PrivateNet.open(cpus) as net:
        cpus[0].submit(start, [*net.prefix(0), "server", "--host", net.address(0), "--port", "7000"])
        port = net.forward(0, 7000)      # 127.0.0.1:port here leads there, for programs of this user alone

Each handle has one lease, which is one member: in order ``n0``, ``n1`` and so on, which are also host names inside. A member is a
network namespace on its node; packets go directly between the nodes. It lives as long as its leases, or until it is closed.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from concurrent.futures import wait
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from worldos.errors import BadRequest, NoCapacity, WorldError
from worldos.lanes import net_wire, private_net
from worldos.lanes.net_wire import Begin, Enter, Mate
from worldos.model.ids import LeaseId
from worldos.model.need import LeaseTerms
from worldos.sdk.compute import Compute
from worldos.sdk.forward import Forwards, Way

BEGIN_S: Final = 30.0
END_S: Final = 5.0


class PrivateNet:
    """The network, as the program that holds its leases has it."""

    def __init__(self, handles: Sequence[Compute], begins: Sequence[Begin]) -> None:
        self._handles = tuple(handles)
        self._begins = tuple(begins)
        self._joins: list[tuple[str, str]] = []
        self._forwards = Forwards()
        self._ways: dict[int, Way] = {}
        self._ports: dict[tuple[int, int], int] = {}
        self._closed = False

    @classmethod
    def open(cls, handles: Sequence[Compute]) -> Self:
        """Make a network of the leases behind these handles, one each. Raises NotAllowed, with why, where a node cannot."""
        if not 0 < len(handles) <= net_wire.MEMBERS_MAX:
            raise BadRequest(f"a private network has 1 to {net_wire.MEMBERS_MAX} members, not {len(handles)}")
        members = tuple(Mate(node=terms.node, lease=terms.lease) for terms in map(_lease_of, handles))
        net, prefix = secrets.token_bytes(net_wire.NET_BYTES), bytes((10, *secrets.token_bytes(2)))
        begins = [Begin(net=net, prefix=prefix, members=members, me=me) for me in range(len(members))]
        made = cls(handles, begins)
        try:
            made._begin()
        except BaseException:
            made.close()
            raise
        return made

    def _begin(self) -> None:
        """Have every helper started; each says that it stands when it has found all the others."""
        calls = [
            handle.submit(private_net.begin, net_wire.encode(begin))
            for handle, begin in zip(self._handles, self._begins, strict=True)
        ]
        self._joins = [call.result(BEGIN_S) for call in calls]

    # -- what it is -----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Return how many members it has."""
        return len(self._begins)

    @property
    def names(self) -> tuple[str, ...]:
        """The host names of the members, inside."""
        return tuple(f"n{member}" for member in range(len(self)))

    def address(self, member: int) -> str:
        """Return the address of a member, inside."""
        return self._begins[member].address(member)

    def prefix(self, member: int) -> list[str]:
        """Return the words before a command that bring it into the network, in the lane of that member's lease."""
        token, python = self._joins[member]
        return [python, "-P", "-m", private_net.PROGRAM, "join", token, "--"]

    # -- the way in -----------------------------------------------------------------------------------------------------

    def forward(self, member: int, port: int) -> int:
        """Return the port of this machine's loopback that leads to a port of a member; only this user may use it."""
        known = self._ports.get((member, port))
        if known is None:
            known = self._ports[member, port] = self._forwards.open_port(self._way(member), port)
        return known

    def forward_unix(self, member: int, port: int) -> str:
        """Return the path of a Unix socket that leads to a port of a member, in a folder of this user alone."""
        return self._forwards.open_unix(self._way(member), port, f"{self.names[member]}-{port}")

    def _way(self, member: int) -> Way:
        known = self._ways.get(member)
        if known is None:
            lease = self._begins[member].members[member].lease
            told = self._handles[member]._holding.connection.ask("net_way", {"lease": lease})
            enter = Enter(lease=LeaseId(lease), key=bytes.fromhex(told["key"]))
            known = self._ways[member] = Way(door=told["door"], word=enter)
        return known

    # -- its end --------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End it, and all that runs inside. With its leases it ends by itself."""
        if self._closed:
            return
        self._closed = True
        self._forwards.close()
        calls = []
        for handle, (token, _) in zip(self._handles, self._joins, strict=False):  # no joins: it never stood
            with suppress(RuntimeError, WorldError):  # its lease is gone, and with that its helper
                if handle.leases:
                    calls.append(handle.submit(private_net.end, token))
        for call in wait(calls, END_S).not_done:
            call.cancel()  # its node is lost, and nobody waits for another

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _lease_of(handle: Compute) -> LeaseTerms:
    leases = handle.activate().leases
    if len(leases) != 1:
        hint = "ask for what one node can give, once for each member: use(need(..., apart=True), need(..., apart=True))"
        raise NoCapacity(f"a member of a private network is one lease, and this handle has {len(leases)}", hint=hint)
    return leases[0]
