"""Contacts: the cards of other accounts, and letters on their way. Both are statements for kin, so they travel from home to home.

A card proves itself (``trust/cards.py``), so it is taken from anybody; of one account the latest is kept, unless what is known of
its key log puts its signer out. A letter is taken from a device of this account, of kin, or of an account whose card is here; it
is sealed, so where it lies on its way does not matter. Nothing here says whom to trust: people do, by the feature code.
Bounds: accounts, letters, letters of one sender; the oldest letter of a sender gives way, and one for others before one for us.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from worldos.errors import BadSignature, PeerBroke
from worldos.kernel.clones import read_device
from worldos.kernel.effects import Effect, Notice
from worldos.kernel.statements import Verdict
from worldos.model.ids import AccountId, NodeId
from worldos.model.statements import Statement
from worldos.trust.cards import Card, Letter, ReadCard, check_card, read_post, together
from worldos.trust.feature_code import NAMED_CHARS
from worldos.trust.keylog import KeyLog
from worldos.trust.statements import statement_id

if TYPE_CHECKING:
    from worldos.kernel.household import Household

CONTACTS_MAX = 256
LETTERS_MAX = 256
LETTERS_PER_SENDER_MAX = 32
CARD_EVERY_S = 60  # a card within this time of the one before does not count: to check one takes milliseconds


class Contact(msgspec.Struct, kw_only=True):
    """An account as its latest card has it."""

    account: AccountId
    name: str
    at_s: int
    told: str
    log: KeyLog
    hybrids: dict[NodeId, bytes] = {}


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """A letter on its way, or here."""

    to: AccountId
    sender: NodeId


class Contacts(msgspec.Struct, kw_only=True):
    """Cards by account, and letters by the ids of their statements, in the order in which they came."""

    table: dict[AccountId, Contact] = {}
    letters: dict[str, Post] = {}

    def judge(self, now_ns: int, statement: Statement, house: Household) -> Verdict:
        """Take in a card or a letter."""
        del now_ns
        try:
            post = read_post(statement.body)
        except PeerBroke as error:
            return Verdict(keep=False, why=str(error))
        return self._letter(statement, post, house) if isinstance(post, Letter) else self._card(statement, post, house)

    def called(self, named: str) -> Contact | None:
        """Return the contact whose account begins so (``trust/feature_code.py``)."""
        return next((contact for account, contact in self.table.items() if account[:NAMED_CHARS] == named), None)

    def account_of(self, node: NodeId) -> AccountId | None:
        """Return the account of whose active devices this is one, as far as cards say."""
        return next((account for account, contact in self.table.items() if contact.log.is_member(node)), None)

    def _card(self, statement: Statement, card: Card, house: Household) -> Verdict:
        known = self.table.get(AccountId(card.account))
        if known is None and len(self.table) >= CONTACTS_MAX:
            return Verdict(keep=False, why=f"{CONTACTS_MAX} contacts are the most")
        if known is not None and card.at_s < known.at_s + CARD_EVERY_S:
            return Verdict(keep=False)
        try:
            read = check_card(statement)
            log = read.log if known is None else together(known.log, read.log)
            hybrids = {device.signer: read_device(device.body).public for device in card.devices}
        except (PeerBroke, BadSignature) as error:
            return Verdict(keep=False, why=str(error))
        own = read.log.account == house.keylog.account
        if not log.is_member(statement.signer) or (own and not house.is_member(statement.signer)):
            return Verdict(keep=False, why="a card is signed by a device that was put out")
        self._put(statement, read, log, hybrids)
        dropped = (known.told,) if known is not None else ()
        news: tuple[Effect, ...] = ()
        if known is None and not own and not house.statements.restoring:
            news = (Notice(name="card", fields={"account": card.account, "name": card.name}),)
        return Verdict(keep=True, effects=news, drop=dropped)

    def _put(self, statement: Statement, read: ReadCard, log: KeyLog, hybrids: dict[NodeId, bytes]) -> None:
        account = AccountId(read.card.account)
        self.table[account] = Contact(
            account=account,
            name=read.card.name,
            at_s=read.card.at_s,
            told=statement_id(statement),
            log=log,
            hybrids=hybrids,
        )

    def _letter(self, statement: Statement, letter: Letter, house: Household) -> Verdict:
        sender, to = statement.signer, AccountId(letter.to)
        ours = house.keylog.account
        known = house.is_member(sender) or house.realms.kin.has(sender) or self.account_of(sender) is not None
        if not known and not house.statements.restoring:
            return Verdict(keep=False, later=True)  # the card of its writer may be on its way
        dropped: list[str] = []
        of_sender = [told for told, post in self.letters.items() if post.sender == sender]
        if len(of_sender) >= LETTERS_PER_SENDER_MAX:
            dropped.append(of_sender[0])
        elif len(self.letters) >= LETTERS_MAX:
            others = next((told for told, post in self.letters.items() if post.to != ours), None)
            if others is None:
                return Verdict(keep=False, why=f"{LETTERS_MAX} letters are the most")
            dropped.append(others)
        for told in dropped:
            del self.letters[told]
        told = statement_id(statement)
        self.letters[told] = Post(to=to, sender=sender)
        news: tuple[Effect, ...] = ()
        if to == ours and not house.is_member(sender) and not house.statements.restoring:
            news = (Notice(name="letter", fields={"letter": told, "from": sender}),)
        return Verdict(keep=True, effects=news, drop=tuple(dropped))
