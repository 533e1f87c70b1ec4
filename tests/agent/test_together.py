"""What several people sign: the texts that go between them, what they say, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.trust.people import LAPTOP, PHONE, RECOVERY, household
from tests.trust.test_sayings import FRIENDS, quorum

from worldos.agent import together
from worldos.errors import BadRequest, BadSignature, CorruptFile, NotAllowed
from worldos.home import Home
from worldos.model.ids import AccountId, NodeId
from worldos.trust.entries import Witnessed, body_of, hash_of
from worldos.trust.keylog import KeyLog
from worldos.trust.sayings import removal_entry, set_guardians
from worldos.trust.texts import write_text


def asked_of() -> tuple[KeyLog, together.Pending]:
    log = household()
    chosen = set_guardians(log, RECOVERY, quorum())
    log.merge([chosen])
    entry = removal_entry(log, hash_of(chosen), PHONE.node_id)
    asked = together.Asked(account=log.account, device=NodeId(LAPTOP.node_id), bodies=(body_of(entry),))
    pairs = tuple((signed.body, signed.signature) for signed in log.entries.values())
    return log, together.Pending(asked=asked, quorum=quorum(), log=pairs)


def test_what_is_asked_is_read_agreed_to_and_made_whole() -> None:
    log, pending = asked_of()
    asked = together.read_asked(together.ask_text(pending.asked))
    assert asked == pending.asked
    assert together.described(asked) == [f"put the key {PHONE.node_id[:8]} out"]
    votes = [together.vote_text(friend, asked) for friend in FRIENDS[1:]]
    assert together.log_of(pending) == log
    log.merge(together.whole(pending, votes))
    assert not log.is_member(PHONE.node_id)


def test_too_few_and_wrong_answers_are_refused() -> None:
    _, pending = asked_of()
    good = together.vote_text(FRIENDS[0], pending.asked)
    with pytest.raises(NotAllowed, match="weight of 1"):
        together.whole(pending, [good, good])
    with pytest.raises(BadRequest, match="not asked"):
        together.whole(pending, [good, together.vote_text(LAPTOP, pending.asked)])
    other = together.Asked(account=pending.asked.account, device=pending.asked.device, bodies=(b"other",))
    with pytest.raises(BadSignature):
        together.whole(pending, [good, together.vote_text(FRIENDS[1], other)])


def test_nobody_signs_what_is_for_nobody_else_to_sign() -> None:
    witnessed = body_of(Witnessed(warrant="a", parents=("b",), at_s=5))
    asked = together.Asked(account=AccountId("a"), device=NodeId("b"), bodies=(witnessed,))
    with pytest.raises(BadRequest, match="nobody else signs"):
        together.described(asked)
    for bodies in (b"\x91\xa0", b"", b"\xff" * 40):
        with pytest.raises(BadRequest):
            together.read_asked(
                together.ask_text(together.Asked(account=AccountId("a"), device=NodeId("b"), bodies=(bodies,)))
            )


def test_an_offer_names_a_device_and_its_owner() -> None:
    text = together.offer_text(AccountId(LAPTOP.node_id), NodeId(PHONE.node_id), "phone")
    assert together.read_offer(text).name == "phone"
    for wrong in (
        together.offer_text(AccountId("nobody"), NodeId(PHONE.node_id), "phone"),
        together.offer_text(AccountId(LAPTOP.node_id), NodeId("nobody"), "phone"),
        together.offer_text(AccountId(LAPTOP.node_id), NodeId(PHONE.node_id), "\x1b[2J"),
        write_text(together.OFFER, b"\x93\xa1a\xa1b"),
        write_text(together.OFFER, b"nonsense"),
    ):
        with pytest.raises(BadRequest):
            together.read_offer(wrong)


def test_what_is_asked_stays_in_the_home_until_it_is_done(tmp_path: Path) -> None:
    home = Home(tmp_path)
    _, pending = asked_of()
    with pytest.raises(BadRequest, match="nothing was asked"):
        together.saved(home)
    together.save(home, pending)
    assert together.saved(home) == pending
    together.forget(home)
    together.forget(home)
    (tmp_path / "together").write_bytes(b"nonsense")
    with pytest.raises(CorruptFile):
        together.saved(home)
