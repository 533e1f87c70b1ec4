"""A ledger: the entries that one place knows, and what it may rely on.

Entries come in by one door, are checked once, and never leave; two ledgers merge by uniting their entries, in any order.
Whoever is paid in an island cannot see what the payer signs elsewhere at the same time. So it relies only on what the notary
of its island vouched for, and a notary vouches for one branch, and only for so much as the payer's bond covers in all other
islands as well: the *exposure* of a chain, what it spent since an entry that every notary confirmed, may not pass its bond of
then divided by the number of the other notaries. Then, however often a writer spends the same money, its bond makes everybody
whole; what no notary vouched for is the first to be void. An honest writer never notices: what it may spend in an island was
allotted to a chain there before. That a notary vouches for one branch only is what is trusted of it; two branches vouched for
by one notary are seen, and signed.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from worldos.errors import NotAllowed
from worldos.kernel.ledger.entry import Allot, AnyAct, Bond, Confirm, Entry, Open, SignedEntry, entry_id, read, sign
from worldos.kernel.ledger.standing import Fraud, Rules, Standing, evaluate, frauds, vouched
from worldos.model.ids import NodeId
from worldos.trust.keys import DeviceKey


class Ledger(msgspec.Struct, kw_only=True):
    """All entries known here, with the signatures over them."""

    rules: Rules
    entries: dict[bytes, Entry] = {}
    signed: dict[bytes, SignedEntry] = {}

    def take_in(self, signed: SignedEntry) -> bytes:
        """Check an entry and keep it; return its id. Raises PeerBroke or BadSignature for what is none."""
        name = entry_id(signed.body)
        if name not in self.entries:
            self.entries[name] = read(signed)
            self.signed[name] = signed
        return name

    def merge(self, others: Iterable[SignedEntry]) -> None:
        """Unite this ledger with what another place knows."""
        for signed in others:
            self.take_in(signed)

    def write(self, key: DeviceKey, act: AnyAct) -> bytes:
        """Write the next act of a key's own chain; NotAllowed if it would not count. Returns its id."""
        before = self.tip(key.node_id)
        seq = self.entries[before].seq + 1 if before else 0
        name = self.take_in(sign(key, seq, before, act))
        if name not in self.standing().counts:
            del self.entries[name], self.signed[name]
            raise NotAllowed("the ledger does not bear this: too little is there, or it is not yours to say")
        return name

    def tip(self, chain: NodeId) -> bytes:
        """Return the last entry of a chain; of branches the highest, then the lowest id. Empty if there is none."""
        known = [(-entry.seq, name) for name, entry in self.entries.items() if entry.chain == chain]
        return min(known)[1] if known else b""

    def standing(self) -> Standing:
        """Return who has how much."""
        return evaluate(self.entries, self.rules)

    def frauds(self) -> list[Fraud]:
        """Return a proof for each writer that equivocated."""
        return frauds(self.entries)

    def exposure(self, name: bytes) -> tuple[int, int]:
        """Return what a chain spent up to an entry since one that all notaries confirmed, and the bond it had then."""
        confirmed = self._confirmed()
        needed = len(self.rules.settlers)
        spent = bond = 0
        who: set[NodeId] = set()
        while name:
            entry = self.entries[name]
            who |= confirmed.get(name, set())
            if isinstance(entry.act, Bond):
                bond += entry.act.amount if len(who) == needed else 0
            elif isinstance(entry.act, Allot | Open) and len(who) < needed:
                spent += entry.act.amount
            name = entry.before
        return spent, bond

    def check_payment(self, name: bytes) -> None:
        """Return if a notary may vouch for this entry whatever was signed elsewhere; raise NotAllowed if not."""
        entry = self.entries[name]
        if any(fraud.chain == entry.chain for fraud in self.frauds()):
            raise NotAllowed("this payer signed two entries with one number")
        if name not in self.standing().counts:
            raise NotAllowed("this payment does not count: it rests on what is not there")
        spent, bond = self.exposure(name)
        if spent * (len(self.rules.settlers) - 1) > bond:
            raise NotAllowed(
                f"the payer spent {spent} that not all notaries saw, and its bond for all islands is {bond}"
            )

    def vouch(self, notary: DeviceKey, name: bytes) -> bytes:
        """Vouch for an entry and all before it, as the notary of an island; NotAllowed if ``check_payment`` says no."""
        self.check_payment(name)
        return self.write(notary, Confirm(entry=name))

    def is_vouched(self, name: bytes) -> bool:
        """Tell whether a notary vouched for this entry, or for one after it, and it counts."""
        return name in vouched(self.entries, self.rules) and name in self.standing().counts

    def _confirmed(self) -> dict[bytes, set[NodeId]]:
        found: dict[bytes, set[NodeId]] = {}
        for entry in self.entries.values():
            if isinstance(entry.act, Confirm) and entry.chain in self.rules.settlers:
                found.setdefault(entry.act.entry, set()).add(entry.chain)
        return found
