"""The wallet: grants of other accounts that this machine holds, one file each, in the home.

A grant is good in the hand of its holder alone, so a copy gives nothing away; the folder is private all the same. Of one account
the grant that lasts longest is shown.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from worldos.agent import clock
from worldos.agent.home import make_folder
from worldos.config import Home
from worldos.errors import BadRequest, DiskFull, NotAllowed, OverQuota, PeerBroke
from worldos.kernel.events import GrantsHeld
from worldos.model.ids import NodeId
from worldos.trust.grant import Authority, read_chain
from worldos.trust.grant_text import grant_text, read_grant_text

if TYPE_CHECKING:
    from worldos.agent.agent import Agent

GRANTS_MAX = 256
NAME_CHARS = 16


class Kept(msgspec.Struct, frozen=True):
    """A grant in the wallet; ``id`` is that of its last block."""

    id: str
    data: bytes
    authority: Authority


class Wallet:
    """The folder of one home."""

    def __init__(self, home: Home, me: NodeId) -> None:
        self._folder = home.path / "grants"
        self._me = me

    def all(self) -> list[Kept]:
        """Return every grant in it, those that end first first; files that are none are passed over."""
        kept: list[Kept] = []
        for file in sorted(self._folder.glob("*.grant")):
            with suppress(BadRequest, PeerBroke, OSError):
                kept.append(_kept(read_grant_text(file.read_text(encoding="utf-8", errors="replace"))))
        return sorted(kept, key=lambda grant: (grant.authority.expires_s, grant.id))

    def by_account(self) -> dict[str, bytes]:
        """Return the grant to show for each account."""
        return {str(grant.authority.account): grant.data for grant in self.all()}

    def put(self, data: bytes) -> Kept:
        """Keep a grant that is for this machine."""
        try:
            kept = _kept(data)
        except PeerBroke as cause:
            raise BadRequest("that is no whole grant", hint="copy the whole of what wos role grant printed") from cause
        if kept.authority.holder != self._me:
            raise NotAllowed("this grant is for another machine", hint=f"this one is {self._me}: wos whoami")
        if len(self.all()) >= GRANTS_MAX:
            raise OverQuota(f"{GRANTS_MAX} grants are the most", hint="wos grants remove ID")
        try:
            make_folder(self._folder)
            file = self._file(kept.id)
            file.write_text(grant_text(data) + "\n", encoding="utf-8")
            file.chmod(0o600)
        except OSError as cause:
            raise DiskFull(f"{self._folder} cannot be written") from cause
        return kept

    def remove(self, named: str) -> str:
        """Forget a grant by the beginning of its id; return the id."""
        fits = [grant.id for grant in self.all() if len(named) >= 4 and grant.id.startswith(named)]
        if len(fits) != 1:
            raise BadRequest(f"{len(fits)} grants are called {named[:60]!r}", hint="wos grants lists them")
        self._file(fits[0]).unlink(missing_ok=True)
        return fits[0]

    def _file(self, identifier: str) -> Path:
        return self._folder / f"{identifier[:NAME_CHARS]}.grant"


def take_over_grants(agent: Agent) -> None:
    """Let the node know what is in the wallet."""
    grants = Wallet(agent.home, agent.node.node).by_account()
    if grants or agent.node.uses.wallet:
        agent.feed(GrantsHeld(now_ns=clock.now_ns(), grants=grants))


def _kept(data: bytes) -> Kept:
    authority = read_chain(data).authority
    return Kept(authority.blocks[-1], data, authority)
