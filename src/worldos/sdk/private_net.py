"""A private network of several leases: what runs in them has addresses of each other, all ports, and nobody else comes in.

    with use(need("CPU", 2, apart=True), need("CPU", 2, apart=True)) as cpus, PrivateNet.open(cpus) as net:
        cpus[0].submit(start, [*net.prefix(0), "server", "--host", net.address(0), "--port", "7000"])
        port = net.forward(0, 7000)      # 127.0.0.1:port here leads there, for programs of this user alone

Each handle has one lease, which is one member: in order ``n0``, ``n1`` and so on, which are also host names inside. A member is a
network namespace on its node; packets go directly between the nodes. It lives as long as its leases, or until it is closed.
More members may come later (``admit``) and some may go (``leave``); a number and its address are never used twice.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from msgspec.structs import replace

from worldos.errors import BadRequest, NoCapacity, WorldError
from worldos.lanes import net_wire, private_net
from worldos.lanes.net_wire import Admit, Begin, Enter, Mate
from worldos.model.ids import LeaseId
from worldos.model.need import LeaseTerms
from worldos.sdk.compute import Compute
from worldos.sdk.forward import Forwards, Way, tell

BEGIN_S: Final = 30.0
END_S: Final = 5.0


class PrivateNet:
    """The network, as the program that holds its leases has it."""

    def __init__(self, handles: Sequence[Compute], begin: Begin) -> None:
        self._handles = list(handles)
        self._net = begin  # as its first member was told; ``members`` are those of now
        self._joins: list[tuple[str, str]] = []
        self._changing = threading.Lock()
        self._forwards = Forwards()
        self._ways: dict[int, Way] = {}
        self._ports: dict[tuple[int, int], int] = {}
        self._closed = False

    @classmethod
    def open(cls, handles: Sequence[Compute]) -> Self:
        """Make a network of the leases behind these handles, one each. Raises NotAllowed, with why, where a node cannot."""
        if not 0 < len(handles) <= net_wire.MEMBERS_MAX:
            raise BadRequest(f"a private network has 1 to {net_wire.MEMBERS_MAX} members, not {len(handles)}")
        members = tuple(map(_member, handles))
        net, prefix = secrets.token_bytes(net_wire.NET_BYTES), bytes((10, *secrets.token_bytes(2)))
        made = cls(handles, Begin(net=net, prefix=prefix, members=members, me=0))
        try:
            made._begin()
        except BaseException:
            made.close()
            raise
        return made

    def _begin(self) -> None:
        """Have every helper started; each says that it stands when it has found all the others."""
        calls = [
            handle.submit(private_net.begin, net_wire.encode(replace(self._net, me=me)))
            for me, handle in enumerate(self._handles)
        ]
        self._joins = [call.result(BEGIN_S) for call in calls]

    # -- who comes later, and who goes ----------------------------------------------------------------------------------

    def admit(self, handle: Compute) -> int:
        """Let one more lease in; return which member it is. Raises NotAllowed, with why, where that node cannot."""
        with self._changing:
            me = len(self)
            if me == net_wire.MEMBERS_MAX:
                hint = "open a new one: a number and its address are never used twice"
                raise NoCapacity(f"this private network has had {me} members", hint=hint)
            self._net = replace(self._net, members=(*self._net.members, _member(handle)))
            self._handles.append(handle)
            self._joins.append(("", ""))  # nothing to end yet
            try:
                begun = handle.submit(private_net.begin, net_wire.encode(replace(self._net, me=me)))
                self._tell(but=me)
                self._joins[me] = begun.result(BEGIN_S)
            except BaseException:
                self._leave(me)
                raise
            return me

    def leave(self, member: int) -> None:
        """Let a member go, though its node be lost: what runs there ends, and the others look for it no more."""
        with self._changing:
            if not self._net.members[member].left:
                self._leave(member)

    def _leave(self, member: int) -> None:
        members = list(self._net.members)
        members[member] = replace(members[member], left=True)
        self._net = replace(self._net, members=tuple(members))
        call = self._end(member)
        self._tell(but=member)
        if call is not None:
            wait([call], END_S)

    def _tell(self, but: int) -> None:
        """Let the others know who the members are now. One that cannot be reached is missed by who waits for it."""
        admit = Admit(members=self._net.members)

        def told(member: int) -> None:
            with suppress(WorldError):
                tell(self._way(member), admit)

        others = [member for member, mate in enumerate(admit.members) if member != but and not mate.left]
        with ThreadPoolExecutor(max(1, len(others))) as at_once:
            list(at_once.map(told, others))

    # -- what it is -----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Return how many members it has had."""
        return len(self._net.members)

    @property
    def names(self) -> tuple[str, ...]:
        """The host names of the members, inside."""
        return tuple(f"n{member}" for member in range(len(self)))

    def address(self, member: int) -> str:
        """Return the address of a member, inside."""
        return self._net.address(member)

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
            lease = self._net.members[member].lease
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
        calls = [self._end(member) for member in range(len(self._joins))]  # no joins: it never stood
        for call in wait([call for call in calls if call is not None], END_S).not_done:
            call.cancel()  # its node is lost, and nobody waits for another

    def _end(self, member: int) -> Future[None] | None:
        """End what runs at a member; nothing where its lease is gone, and with that its helper."""
        token, _ = self._joins[member]
        with suppress(RuntimeError, WorldError):
            if token and self._handles[member].leases:
                return self._handles[member].submit(private_net.end, token)
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _member(handle: Compute) -> Mate:
    terms = _lease_of(handle)
    return Mate(node=terms.node, lease=terms.lease)


def _lease_of(handle: Compute) -> LeaseTerms:
    leases = handle.activate().leases
    if len(leases) != 1:
        hint = "ask for what one node can give, once for each member: use(need(..., apart=True), need(..., apart=True))"
        raise NoCapacity(f"a member of a private network is one lease, and this handle has {len(leases)}", hint=hint)
    return leases[0]
