"""What connects seats: a private network where it can be had, loopback only for what is alone here and keeps strangers out."""

from __future__ import annotations

import pytest

from worldos.engines import nets
from worldos.engines.nets import LOOPBACK, PORTS_BEGIN, Loopback, Private
from worldos.errors import NotAllowed


class Handle:
    """As much of a lease's handle as is looked at here."""

    def __init__(self, *nodes: str) -> None:
        self.nodes = nodes


class NoNet:
    """A host without namespaces."""

    @staticmethod
    def open(handles: object) -> object:
        raise NotAllowed("no private network on this node")


class OneNet:
    """A network of two members."""

    @classmethod
    def open(cls, handles: object) -> OneNet:
        return cls()

    def __len__(self) -> int:
        return 2


def test_each_seat_of_a_private_network_has_all_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nets, "PrivateNet", OneNet)
    net = nets.net_for([Handle("a"), Handle("b")], "a", loopback=False)  # type: ignore[list-item]
    assert isinstance(net, Private)
    assert net.ports(0, 2) == net.ports(1, 2) == (PORTS_BEGIN, PORTS_BEGIN + 1)


def test_one_seat_here_can_do_without_if_its_engine_keeps_strangers_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nets, "PrivateNet", NoNet)
    net = nets.net_for([Handle("here")], "here", loopback=True)  # type: ignore[list-item]
    assert isinstance(net, Loopback)
    assert (net.address(0), net.prefix(0), net.forward(0, 7000)) == (LOOPBACK, (), 7000)


@pytest.mark.parametrize(("handles", "loopback"), [(("there",), True), (("here",), False), (("here", "there"), True)])
def test_all_else_is_refused_without_one(
    handles: tuple[str, ...], loopback: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nets, "PrivateNet", NoNet)
    with pytest.raises(NotAllowed):
        nets.net_for([Handle(node) for node in handles], "here", loopback=loopback)  # type: ignore[misc]
