"""The company that devices of one account keep: what each says of itself, the epochs and sessions that they share, their post.

All of it is made of statements (``kernel/statements.py``); here is what needs this machine's keys and clock. Once a second it
looks. A device that finds that its key lives twice stops, and remembers it: it does nothing more until it is claimed anew with
another key, however often it is started.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from worldos.agent.epoch_keys import STEP_S, EpochKeys, State
from worldos.agent.handing_over import about
from worldos.agent.home import write_durably
from worldos.agent.post_desk import PostDesk
from worldos.agent.session_desk import SessionDesk
from worldos.errors import Damaged, NotAllowed
from worldos.home import Home
from worldos.node import Node
from worldos.trust.keys import DeviceKey

AGAIN = "claim it anew: wos leave; then wos join TICKET, with a ticket from another device (wos invite)"


class Company:
    """Epochs, sessions and post of one node.

    ``copied`` is told why, once, when this device's key lives twice; ``hand`` the ticket with which it goes to a new owner.
    """

    def __init__(
        self,
        home: Home,
        key: DeviceKey,
        node: Node,
        state: State,
        copied: Callable[[str], None],
        hand: Callable[[str], None],
    ) -> None:
        self._home = home
        self._node = node
        self._copied = copied
        self._hand = hand
        self._handed: set[str] = set()
        self.keys = EpochKeys(home, node, state)
        self.sessions = SessionDesk(node, self.keys, state)
        self.post = PostDesk(node, key, self.keys, state)

    def begin(self) -> None:
        """Say that a life begins; raise NotAllowed on a device whose key lives twice."""
        if self._home.copied_file.exists():
            raise NotAllowed("this device's key lives twice: this is a copy, or was copied", hint=AGAIN)
        why = self._node.clones.cloned.get(self._node.node)
        if why is not None:
            self._remember(why)
            raise NotAllowed(f"this device's key lives twice: {why}", hint=AGAIN)
        self.keys.begin()

    async def look_forever(self) -> None:
        """Look after it once a second."""
        while True:
            if not self.step():
                return
            await asyncio.sleep(STEP_S)

    def step(self) -> bool:
        """Look once; return whether this device may go on."""
        why = self._node.clones.cloned.get(self._node.node)
        if why is not None:
            self._remember(why)
            self._copied(why)
            return False
        if self._node.is_member(self._node.node):
            self.keys.step()
            self.sessions.step()
            self.post.step()
            self._go_over()
        return True

    def _go_over(self) -> None:
        """Go to a new owner, if another device that may speak for this one's owner said so in this life or sleep."""
        me = self._node.node
        handed = self._node.clones.handed.get(me)
        if handed is None or handed.told in self._handed or not self._node.is_member(handed.by):
            return
        self._handed.add(handed.told)
        with contextlib.suppress(Damaged):  # sealed to a key of an earlier life: it must be said again
            self._hand(self.keys.hybrid.open(handed.box, about=about(me)).decode("utf-8", "replace"))

    def _remember(self, why: str) -> None:
        write_durably(self._home.copied_file, why.encode())
