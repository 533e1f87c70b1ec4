"""Orders about other people: this account's code and card, cards of others, letters. ``orders`` finds them by name."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from worldos.agent import clock
from worldos.agent.agent import Agent
from worldos.agent.call import Call
from worldos.agent.post_desk import LetterRow, PostDesk, read_letter_text
from worldos.errors import BadRequest, NotAllowed
from worldos.kernel.events import StatementsOffered
from worldos.model.statements import Statement, Topic
from worldos.store.letters import KINDS, NOTE_CHARS_MAX, VALUE_BYTES_MAX
from worldos.trust.cards import account_of_card, check_card, read_card_text
from worldos.trust.statements import statement_id


class PostOrders:
    """The orders about other people, by name. Values of letters are base64."""

    async def order_account_code(self, agent: Agent, call: Call) -> dict[str, str]:
        """The account's feature code: what others name it by."""
        return {"code": _desk(agent).code(), "account": agent.node.keylog.account}

    async def order_account_card(self, agent: Agent, call: Call, name: str = "") -> dict[str, str]:
        """The account's card, which others need to seal to it; from now on it is told to kin, and kept up to date."""
        desk = _desk(agent)
        return {"code": desk.code(), "card": desk.card(name)}

    async def order_contact_list(self, agent: Agent, call: Call) -> list[dict[str, Any]]:
        """All whose card is here."""
        return [msgspec.structs.asdict(row) for row in _desk(agent).contacts()]

    async def order_contact_find(self, agent: Agent, call: Call, to: str) -> dict[str, str]:
        """Whom a code or a name means; there must be a card of theirs."""
        contact = _desk(agent).find(to)
        return {"account": contact.account, "name": contact.name}

    async def order_contact_add(self, agent: Agent, call: Call, card: str) -> dict[str, Any]:
        """Take in a card that somebody gave; it proves itself."""
        desk = _desk(agent)
        statement = read_card_text(card)
        check_card(statement)
        account = account_of_card(statement)
        _offer(agent, statement)
        row = next((row for row in desk.contacts() if row.account == account), None)
        if row is None:
            raise NotAllowed("this card was not taken in", hint="see why: wos log")
        return msgspec.structs.asdict(row)

    async def order_letter_send(
        self, agent: Agent, call: Call, to: str, kind: str, title: str, value: str = "", note: str = ""
    ) -> dict[str, Any]:
        """Seal a letter to a person and send it; ``value`` is base64. The answer has it as text too, to carry by other ways."""
        chosen = next((known for known in KINDS if known == kind), None)
        if chosen is None:
            raise BadRequest(f"there is no kind of letter {kind[:40]!r}", hint=f"there are: {', '.join(KINDS)}")
        if not (title + note).isprintable() or len(title) > 2 * NOTE_CHARS_MAX or len(note) > NOTE_CHARS_MAX:
            raise BadRequest(f"a letter has a title and a note of printable characters, at most {NOTE_CHARS_MAX}")
        desk = _desk(agent)
        contact = desk.find(to)
        sent, text = desk.send(to, chosen, title, _bytes_of(value), note)
        linked = any(contact.log.is_member(peer) for peer in agent.node.paths)
        return {"letter": sent, "text": text, "to": contact.account, "name": contact.name, "linked": linked}

    async def order_letter_add(self, agent: Agent, call: Call, text: str) -> dict[str, Any]:
        """Take in a letter that came by another way."""
        desk = _desk(agent)
        read = read_letter_text(text)
        for statement in read:
            _offer(agent, statement)
        row = next((row for row in desk.inbox() if row.id == statement_id(read[-1])), None)
        if row is None:
            raise NotAllowed("this letter was not taken in: it is for somebody else", hint="compare: wos account code")
        return _plain(row)

    async def order_inbox(self, agent: Agent, call: Call) -> list[dict[str, Any]]:
        """The letters to this account, the latest first."""
        return [_plain(row) for row in _desk(agent).inbox()]


def _desk(agent: Agent) -> PostDesk:
    if agent.company is None:
        raise BadRequest("an embedded node has no post", hint="start an agent: wos up")
    return agent.company.post


def _offer(agent: Agent, statement: Statement) -> None:
    if statement.topic is not Topic.CARD:
        raise BadRequest("this is neither a card nor a letter")
    agent.feed(StatementsOffered(now_ns=clock.now_ns(), statements=(statement,)))


def _bytes_of(value: str) -> bytes:
    try:
        data = base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error) as cause:
        raise BadRequest("the value of a letter is base64") from cause
    if len(data) > VALUE_BYTES_MAX:
        raise BadRequest(f"a letter brings at most {VALUE_BYTES_MAX} bytes", hint="share a file instead, and its code")
    return data


def _plain(row: LetterRow) -> dict[str, Any]:
    return {**msgspec.structs.asdict(row), "value": base64.b64encode(row.value).decode("ascii")}
