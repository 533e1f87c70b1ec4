"""Orders about sessions: what a person began on one device and goes on with on another. ``orders`` finds them by name.

To follow is to be told of each op as it comes (progress ``{"op": ...}``) and of each change of who writes (``{"row": ...}``),
until the session ends. The chains are looked at ten times a second: what is told of comes over the network in bursts anyway.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import msgspec

from worldos.agent.agent import Agent
from worldos.agent.call import Call
from worldos.agent.orders.named import device_called
from worldos.agent.session_desk import OpRow, SessionDesk
from worldos.errors import BadRequest
from worldos.model.ids import NodeId

FOLLOW_S = 0.1


class SessionOrders:
    """The orders about sessions, by name."""

    async def order_session_list(self, agent: Agent, call: Call) -> list[dict[str, Any]]:
        """All sessions of the account, those that are open first."""
        return [msgspec.to_builtins(row) for row in _desk(agent).rows()]

    async def order_session_start(self, agent: Agent, call: Call, name: str) -> dict[str, Any]:
        """Begin a session; this device writes in it."""
        return _plain(_desk(agent).start(name))

    async def order_session_show(
        self,
        agent: Agent,
        call: Call,
        session: str,
        since: int = 0,
        follow: bool = False,  # noqa: FBT001, FBT002 - an order's arguments are its JSON
        aside: bool = False,  # noqa: FBT001, FBT002
    ) -> dict[str, Any]:
        """One session with what was said after ``since``; with ``aside`` what no chain has, with ``follow`` what comes."""
        desk = _desk(agent)
        name = desk.find(session)
        if follow:
            since = await _follow(desk, call, name, since)
        ops = desk.aside(name) if aside else desk.ops(name, since)
        return {**_plain(desk.row(name)), "ops": [_plain(op) for op in ops]}

    async def order_session_say(
        self, agent: Agent, call: Call, session: str, text: str, kind: Literal["say", "out"] = "say"
    ) -> dict[str, int]:
        """Write in a session: a word of a person, or what a command put out."""
        desk = _desk(agent)
        return {"seq": desk.say(desk.find(session), text, kind)}

    async def order_session_move(self, agent: Agent, call: Call, session: str, to: str = "") -> dict[str, Any]:
        """Go on with a session on this device, or have another one do so."""
        desk = _desk(agent)
        name = desk.find(session)
        return _plain(desk.hand(name, _device(agent, to)) if to else desk.take_over(name))

    async def order_session_end(self, agent: Agent, call: Call, session: str) -> dict[str, Any]:
        """End a session for all devices."""
        desk = _desk(agent)
        return _plain(desk.end(desk.find(session)))


def _desk(agent: Agent) -> SessionDesk:
    if agent.company is None:
        raise BadRequest("an embedded node has no sessions", hint="start an agent: wos up")
    return agent.company.sessions


async def _follow(desk: SessionDesk, call: Call, name: str, since: int) -> int:
    """Tell of each op and each change, until the session ends; return up to which op was told."""
    told: dict[int, OpRow] = {}
    row = desk.row(name)
    call.progress({"row": _plain(row)})
    while True:
        there = {op.seq: op for op in desk.ops(name, since)}
        for seq, op in there.items():
            if told.get(seq) != op:  # a later reign may put another op in its place
                call.progress({"op": _plain(op)})
        told = there
        if not row.open:
            return row.seq
        while True:
            await asyncio.sleep(FOLLOW_S)
            now = desk.row(name)
            if now != row:
                break
        if (now.writer, now.open, now.readable) != (row.writer, row.open, row.readable):
            call.progress({"row": _plain(now)})
        row = now


def _device(agent: Agent, text: str) -> NodeId:
    return device_called(agent.node, text)


def _plain(row: msgspec.Struct) -> dict[str, Any]:
    return {name: msgspec.to_builtins(value) for name, value in msgspec.structs.asdict(row).items()}
