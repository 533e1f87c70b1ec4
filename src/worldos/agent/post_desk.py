"""The post of this machine: its account's card, cards of others, letters written and opened.

The account's card is made when somebody asks for it, or writes a letter, or when nodes of other accounts are linked; it is kept
up to date from then on: others seal to the devices that it names. Letters come as statements from home to home; where no way
leads, they are text that people carry. Opening takes this device's keys and nothing else.
"""

from __future__ import annotations

import base64
import secrets
import time

import msgspec

from worldos.agent.epoch_keys import EpochKeys, State
from worldos.errors import BadRequest, OverQuota, PeerBroke, WorldError
from worldos.kernel.contacts import CARD_EVERY_S, Contact
from worldos.model.ids import AccountId, NodeId
from worldos.model.statements import Statement, Topic
from worldos.node import Node
from worldos.store.letters import Contents, Kind, Reader, chance_bytes, open_letter, seal_letter, sign_contents
from worldos.trust.actors import ActorKind, who_can_act
from worldos.trust.cards import Letter, card_text, encode_post, read_post, write_card
from worldos.trust.entries import check_name
from worldos.trust.feature_code import feature_code_of, is_feature_code, read_feature_code
from worldos.trust.keys import DeviceKey, public_of
from worldos.trust.statements import check_statement

LETTER_PREFIX = "wos-letter-"
_TEXT_CHARS_MAX = 80_000
_LETTER_STATEMENTS_MAX = 2


class LetterRow(msgspec.Struct, frozen=True, kw_only=True):
    """A letter as people see it. ``verified``: its writer is a device of the account that it names, by that account's card."""

    id: str
    kind: str
    title: str
    value: bytes
    note: str
    at_s: int
    by: str
    by_name: str
    verified: bool


class ContactRow(msgspec.Struct, frozen=True, kw_only=True):
    """A contact as people see it; ``hybrid`` says to how many of its devices one can seal against quantum computers too."""

    code: str
    name: str
    account: str
    devices: int
    hybrid: int
    at_s: int
    ours: bool


class PostDesk:
    """Cards and letters of one node."""

    def __init__(self, node: Node, key: DeviceKey, keys: EpochKeys, state: State) -> None:
        self._node = node
        self._key = key
        self._keys = keys
        self._state = state

    @property
    def account(self) -> AccountId:
        """The account of this machine."""
        return self._node.keylog.account

    def code(self) -> str:
        """Return the account's feature code."""
        return feature_code_of(self.account)

    def card(self, name: str = "") -> str:
        """Return the account's card as text, made now or brought up to date."""
        own = self._own()
        name = name or (own.name if own is not None else self._node.registry.name)
        check_name(name)
        if own is None or self._is_old(own) or own.name != name:
            self._write_card(name, own)
        own = self._own()
        if own is None:
            raise OverQuota("the account's card could not be made", hint="see why: wos log")
        return card_text(self._node.statements.of(Topic.CARD)[own.told])

    def step(self) -> None:
        """Make the account's card once there is kin to tell it to, and keep it up to date: the first of the linked devices."""
        own = self._own()
        if self._node.alive()[:1] != [self._node.node]:
            return
        if own is None:
            if self._node.realms.kin.table and self._hybrids():
                self._write_card(self._node.registry.name, None)
        elif self._is_old(own) and int(time.time()) >= own.at_s + CARD_EVERY_S:
            self._write_card(own.name, own)

    # -- contacts -------------------------------------------------------------------------------------------------------

    def contacts(self) -> list[ContactRow]:
        """Return all whose card is here, our own first."""
        rows = [
            ContactRow(
                code=feature_code_of(contact.account),
                name=contact.name,
                account=contact.account,
                devices=len(contact.log.members().active),
                hybrid=len(contact.hybrids),
                at_s=contact.at_s,
                ours=contact.account == self.account,
            )
            for contact in self._node.contacts.table.values()
        ]
        return sorted(rows, key=lambda row: (not row.ours, row.name, row.account))

    def find(self, to: str) -> Contact:
        """Return a contact by feature code, account id, or a name that only one has."""
        if is_feature_code(to):
            found = self._node.contacts.called(read_feature_code(to))
            if found is None:
                hint = "they print it with: wos account card; you take it in with: wos contact add CARD"
                raise BadRequest("the card of this person is not here, and without it nothing can be sealed", hint=hint)
            return found
        named = [
            c for c in self._node.contacts.table.values() if to in {c.name, c.account} and c.account != self.account
        ]
        if len(named) != 1:
            how_many = f"{len(named)} contacts are" if named else "no contact is"
            raise BadRequest(f"{how_many} called {to[:60]!r}", hint="name them by their code: wos contact list")
        return named[0]

    # -- letters --------------------------------------------------------------------------------------------------------

    def send(self, to: str, kind: Kind, title: str, value: bytes, note: str) -> tuple[str, str]:
        """Seal a letter to a person and send it on its way; return its id, and the letter as text to carry."""
        contact = self.find(to)
        self.card()  # so that they can see who wrote it, and answer
        readers = [
            Reader(public=public_of(device.node), hybrid=contact.hybrids.get(device.node, b""))
            for device in contact.log.members().active
        ]
        words = [actor for actor in who_can_act(contact.log) if actor.kind is ActorKind.RECOVERY]
        readers += [Reader(public=public_of(actor.key)) for actor in words]
        at_s = int(time.time())
        contents = Contents(kind=kind, title=title, value=value, note=note, at_s=at_s)
        written = sign_contents(self._key, self.account, contact.account, contents)
        sealed = seal_letter(contact.account, readers, written, secrets.token_bytes(chance_bytes(len(readers))))
        sent = self._state(Topic.CARD, encode_post(Letter(to=contact.account, at_s=at_s, sealed=sealed)))
        if sent not in self._node.contacts.letters:
            raise OverQuota("no letter can be sent now", hint="see why: wos log")
        kept, own = self._node.statements.of(Topic.CARD), self._own()
        return sent, letter_text((kept[own.told], kept[sent]) if own is not None else (kept[sent],))

    def inbox(self) -> list[LetterRow]:
        """Return the letters to this account that this device can open, the latest first; with those it cannot as "sealed"."""
        mine = [told for told, post in self._node.contacts.letters.items() if post.to == self.account]
        rows = [self._row(told) for told in mine]
        return sorted((row for row in rows if row is not None), key=lambda row: (-row.at_s, row.id))

    def _row(self, told: str) -> LetterRow | None:
        statement = self._node.statements.of(Topic.CARD).get(told)
        post = read_post(statement.body) if statement is not None else None
        if statement is None or not isinstance(post, Letter):
            return None
        blank = LetterRow(
            id=told, kind="sealed", title="", value=b"", note="", at_s=post.at_s, by="", by_name="", verified=False
        )
        try:
            written, contents = open_letter(post.sealed, self.account, self._key, self._keys.hybrid)
            code = feature_code_of(AccountId(written.account))
        except WorldError:
            return blank
        contact = self._node.contacts.table.get(AccountId(written.account))
        return msgspec.structs.replace(
            blank,
            kind=contents.kind,
            title=contents.title,
            value=contents.value,
            note=contents.note,
            at_s=contents.at_s,
            by=code,
            by_name=contact.name if contact is not None else "",
            verified=contact is not None
            and contact.log.is_member(written.device)
            and written.device == statement.signer,
        )

    # -- the card -------------------------------------------------------------------------------------------------------

    def _own(self) -> Contact | None:
        return self._node.contacts.table.get(self.account)

    def _is_old(self, own: Contact) -> bool:
        """Tell whether the card lacks something of the key log, or of a device."""
        return own.log.entries.keys() != self._node.keylog.entries.keys() or own.hybrids != self._hybrids()

    def _hybrids(self) -> dict[NodeId, bytes]:
        active = sorted(device.node for device in self._node.keylog.members().active)
        publics = {node: self._node.clones.public_of(node) for node in active}
        return {node: public for node, public in publics.items() if public is not None}

    def _write_card(self, name: str, own: Contact | None) -> None:
        at_s = max(int(time.time()), own.at_s + CARD_EVERY_S if own is not None else 0)
        said = self._node.statements.of(Topic.DEVICE)
        lives = self._node.clones.lives
        devices = [said[lives[node][-1].told] for node in sorted(self._hybrids()) if lives[node][-1].told in said]
        self._state(Topic.CARD, write_card(self._node.keylog, name, at_s, devices))


def letter_text(statements: tuple[Statement, ...]) -> str:
    """Write a letter, with its writer's card before it, as text that can be sent by any way."""
    return LETTER_PREFIX + base64.b32encode(msgspec.msgpack.encode(statements)).decode("ascii").rstrip("=").lower()


def read_letter_text(text: str) -> tuple[Statement, ...]:
    """Read a letter, with its writer's card before it, from text; raise BadRequest, BadSignature or PeerBroke."""
    code = "".join(text[: 2 * _TEXT_CHARS_MAX].split()).lower()
    if not code.startswith(LETTER_PREFIX) or len(code) > _TEXT_CHARS_MAX:
        raise BadRequest(f"this is no letter: those begin with {LETTER_PREFIX}")
    body = code[len(LETTER_PREFIX) :].upper()
    try:
        read = msgspec.msgpack.decode(base64.b32decode(body + "=" * (-len(body) % 8)), type=tuple[Statement, ...])
        if not 1 <= len(read) <= _LETTER_STATEMENTS_MAX or not isinstance(read_post(read[-1].body), Letter):
            raise PeerBroke("this is no letter")
    except (ValueError, msgspec.DecodeError, UnicodeDecodeError, RecursionError, PeerBroke) as cause:
        raise BadRequest(
            "this letter is damaged or cut off", hint="copy the whole of it, or ask for it again"
        ) from cause
    for statement in read:
        if statement.topic is not Topic.CARD:
            raise BadRequest("this letter is none: something else is in it")
        check_statement(statement)
    return read
