"""Sessions on this machine: what is said in them, opened and sealed, and who may write.

The node keeps the chains (``kernel/sessions.py``) and reads none of them; here they are opened with the epochs' keys. This
device writes in a session only in a reign that it began itself in this life: after a restart it takes over anew, so that
two ops at one place can only be a copy's. Times in ops are what the writer's clock showed, for people's eyes.
"""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Literal, get_args

import msgspec

from worldos.agent.epoch_keys import EpochKeys, State
from worldos.errors import BadRequest, Damaged, NotAllowed
from worldos.kernel.session_op import NOTHING, SESSION_BYTES, SessionOp, encode_op, op_id, read_op
from worldos.kernel.sessions import Chain, session_name
from worldos.model.ids import NodeId
from worldos.model.statements import Topic
from worldos.node import Node
from worldos.trust.epochs import NONCE_BYTES, open_under, seal_under
from worldos.trust.keys import id_of

PURPOSE = b"session"
TEXT_BYTES_MAX = 12 * 1024
NAME_CHARS_MAX = 64
PART_CHARS_MIN = 4

Kind = Literal["start", "say", "out", "move", "hand", "end"]
KINDS: tuple[str, ...] = get_args(Kind)


class Said(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What stands under the seal of an op. ``text`` is the name of a session that starts, or the id of a device to hand to."""

    kind: Kind
    text: Annotated[str, msgspec.Meta(max_length=TEXT_BYTES_MAX)]
    at_s: Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A session as people see it."""

    id: str
    name: str
    writer: str
    writer_name: str
    here: bool
    fence: int
    seq: int
    open: bool
    readable: bool
    started_s: int
    last_s: int
    aside: int


class OpRow(msgspec.Struct, frozen=True, kw_only=True):
    """One op as people see it; ``kind`` is "sealed" where this device has no key for it."""

    seq: int
    kind: str
    text: str
    by: str
    by_name: str
    at_s: int
    fence: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Said).decode


class SessionDesk:
    """All sessions of the account, opened as far as this device can."""

    def __init__(self, node: Node, keys: EpochKeys, state: State) -> None:
        self._node = node
        self._keys = keys
        self._state = state
        self._begun: set[bytes] = set()  # reigns of this life
        self._said: dict[bytes, Said | None] = {}

    # -- looking --------------------------------------------------------------------------------------------------------

    def rows(self) -> list[SessionRow]:
        """Return all sessions, the last used first."""
        rows = [self.row(name) for name in sorted(self._node.sessions.table) if self._chain_of(name) is not None]
        return sorted(rows, key=lambda row: (not row.open, -row.last_s, row.id))

    def row(self, name: str) -> SessionRow:
        """Return what people see of one session."""
        chain = self.chain(name)
        first, last = self._opened(chain.ops[0]), self._opened(chain.ops[-1])
        return SessionRow(
            id=name,
            name=first.text if first is not None and first.kind == "start" else name,
            writer=chain.writer,
            writer_name=self._name_of(chain.writer),
            here=chain.writer == self._node.node,
            fence=chain.fence,
            seq=chain.seq,
            open=not chain.ended,
            readable=last is not None,
            started_s=first.at_s if first is not None else 0,
            last_s=last.at_s if last is not None else 0,
            aside=len(chain.aside),
        )

    def ops(self, name: str, since: int = 0) -> list[OpRow]:
        """Return the ops of a session after a number."""
        chain = self.chain(name)
        heads = self._node.sessions.table[name].ops
        return [self._op_row(each) for each in chain.ops if heads[each].seq > since]

    def aside(self, name: str) -> list[OpRow]:
        """Return the ops that a device wrote while another one had taken over."""
        rows = [self._op_row(each) for each in self.chain(name).aside]
        return sorted(rows, key=lambda row: (row.fence, row.seq))

    def find(self, text: str) -> str:
        """Return the id of a session by its id, the beginning of it, or its name; of several of one name the open one."""
        names = [row for row in self.rows() if text in {row.id, row.name}]
        found = [row for row in names if row.open] or names
        if not found and len(text) >= PART_CHARS_MIN:
            found = [row for row in self.rows() if row.id.startswith(text)]
        if not found:
            raise BadRequest(f"there is no session {text[:60]!r}", hint="wos session list shows them")
        if len(found) > 1:
            raise BadRequest(
                f"{len(found)} sessions are called {text[:60]!r}", hint="name it by its id: wos session list"
            )
        return found[0].id

    def chain(self, name: str) -> Chain:
        """Return what a session comes to; raise BadRequest where there is none."""
        chain = self._chain_of(name)
        if chain is None:
            raise BadRequest(f"there is no session {name!r}", hint="wos session list shows them")
        return chain

    # -- writing --------------------------------------------------------------------------------------------------------

    def start(self, name: str) -> SessionRow:
        """Begin a session; this device writes in it."""
        name = name.strip()
        if not 1 <= len(name) <= NAME_CHARS_MAX or not name.isprintable():
            raise BadRequest(f"a session's name has 1 to {NAME_CHARS_MAX} printable characters")
        if any(row.name == name and row.open for row in self.rows()):
            raise BadRequest(f"a session is called {name!r} already", hint=f"see it: wos session show {name}")
        session = secrets.token_bytes(SESSION_BYTES)
        said = Said(kind="start", text=name, at_s=_now_s())
        self._write(session, seq=1, prev=NOTHING, fence=1, move=NOTHING, said=said)
        return self.row(session_name(session))

    def say(self, name: str, text: str, kind: Kind = "say") -> int:
        """Write something; raise NotAllowed where another device does. Returns the number of the op."""
        if len(text.encode("utf-8", "replace")) > TEXT_BYTES_MAX:
            raise BadRequest(f"one word of a session has at most {TEXT_BYTES_MAX} bytes")
        chain = self._open_chain(name)
        if chain.writer != self._node.node:
            who = self._name_of(chain.writer)
            raise NotAllowed(f"{who} writes in this session", hint=f"take it over: wos session move {name}")
        if chain.reign not in self._begun:
            self.take_over(name)
            chain = self._open_chain(name)
        self._follow(chain, Said(kind=kind, text=text, at_s=_now_s()))
        return self.chain(name).seq

    def take_over(self, name: str) -> SessionRow:
        """Begin a new reign of this device: from now on what others write in an older one stands aside."""
        chain = self._open_chain(name)
        said = Said(kind="move", text="", at_s=_now_s())
        last = chain.ops[-1]
        session = self._read(last).session
        self._write(session, seq=chain.seq + 1, prev=last, fence=chain.fence + 1, move=NOTHING, said=said)
        return self.row(name)

    def hand(self, name: str, to: NodeId) -> SessionRow:
        """Ask another device to take over; it does so by itself when it hears of it."""
        if to == self._node.node:
            return self.take_over(name)
        self.say(name, to, "hand")
        return self.row(name)

    def end(self, name: str) -> SessionRow:
        """End a session: nobody writes in it any more."""
        if self._open_chain(name).writer != self._node.node:
            self.take_over(name)
        self.say(name, "", "end")
        return self.row(name)

    def step(self) -> None:
        """Take over what was handed to this device."""
        for name in sorted(self._node.sessions.table):
            chain = self._chain_of(name)
            if chain is None or chain.ended or chain.writer == self._node.node:
                continue
            last = self._opened(chain.ops[-1])
            if last is not None and last.kind == "hand" and last.text == self._node.node:
                self.take_over(name)

    # -- ops ------------------------------------------------------------------------------------------------------------

    def _follow(self, chain: Chain, said: Said) -> None:
        session = self._read(chain.ops[-1]).session
        self._write(session, seq=chain.seq + 1, prev=chain.ops[-1], fence=chain.fence, move=chain.reign, said=said)

    def _write(self, session: bytes, *, seq: int, prev: bytes, fence: int, move: bytes, said: Said) -> None:
        epoch, key = self._keys.current()
        blank = bytes(NONCE_BYTES + 16)
        op = SessionOp(
            session=session,
            seq=seq,
            prev=prev,
            fence=fence,
            move=move,
            ends=said.kind == "end",
            epoch=epoch,
            sealed=blank,
        )
        sealed = seal_under(key, PURPOSE, _encode(said), secrets.token_bytes(NONCE_BYTES), about=op.bound)
        written = op_id(self._state(Topic.SESSION, encode_op(msgspec.structs.replace(op, sealed=sealed))))
        if move == NOTHING:
            self._begun.add(written)
        known = self._node.sessions.table.get(session_name(session))
        if known is None or written not in known.ops:
            raise NotAllowed("this session takes no more: there are too many", hint="end one: wos session end NAME")

    def _open_chain(self, name: str) -> Chain:
        chain = self.chain(name)
        if chain.ended:
            raise BadRequest("this session has ended", hint="begin one: wos session start NAME")
        return chain

    def _chain_of(self, name: str) -> Chain | None:
        return self._node.sessions.chain(name, self._acts)

    def _acts(self, node: NodeId) -> bool:
        return self._node.is_member(node) and node not in self._node.clones.cloned

    def _read(self, each: bytes) -> SessionOp:
        return read_op(self._node.statements.of(Topic.SESSION)[id_of(each)].body)

    def _opened(self, each: bytes) -> Said | None:
        """Open an op; nothing where this device has no key, or another one sealed nonsense."""
        if each in self._said and self._said[each] is not None:
            return self._said[each]
        op = self._read(each)
        key = self._keys.key_of(op.epoch)
        said = None
        if key is not None:
            try:
                said = _decode(open_under(key, PURPOSE, op.sealed, about=op.bound))
            except (Damaged, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                said = None
        if len(self._said) > len(self._node.statements.of(Topic.SESSION)) * 2:
            self._said.clear()
        self._said[each] = said
        return said

    def _op_row(self, each: bytes) -> OpRow:
        statement = self._node.statements.of(Topic.SESSION)[id_of(each)]
        op, said = read_op(statement.body), self._opened(each)
        return OpRow(
            seq=op.seq,
            kind=said.kind if said is not None else "sealed",
            text=said.text if said is not None else "",
            by=statement.signer,
            by_name=self._name_of(statement.signer),
            at_s=said.at_s if said is not None else 0,
            fence=op.fence,
        )

    def _name_of(self, node: NodeId) -> str:
        device = self._node.keylog.members().get(node)
        return device.name if device is not None else node[:8]


def _now_s() -> int:
    return int(time.time())
