"""Passkeys of a real agent: added by the machine, approved by the words, and then the heavier of the two."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, running, until
from tests.trust.soft_passkey import SoftPasskey

from worldos.agent.home import open_key
from worldos.agent.start import make_account, stored_log
from worldos.errors import BadRequest, BadSignature, NotAllowed, PeerBroke
from worldos.home import Home
from worldos.trust.entries import passkey_id
from worldos.trust.keylog import KeyLog
from worldos.trust.keys import DeviceKey
from worldos.trust.passkeys import write_assertion
from worldos.trust.sayings import approve, remove_key
from worldos.trust.words import seed_from_words

PHONE, YUBI, STRANGER = SoftPasskey(seed=1), SoftPasskey(seed=2), SoftPasskey(seed=3)


class Desk:
    def __init__(self, agent: RunningAgent, words: str) -> None:
        self.agent, self.recovery = agent, DeviceKey.from_seed(seed_from_words(words))

    def add(self, passkey: SoftPasskey, name: str) -> str:
        fields = {"credential": passkey.credential, "public": passkey.public, "rp": passkey.rp}
        return str(self.agent.ask("passkey_add", **fields, name=name)["key"])

    def log(self) -> KeyLog:
        log = stored_log(self.agent.home)
        assert log is not None
        return log

    def approve_by_words(self, key: str) -> None:
        until(lambda: key in self.log().keys, "it is on disk")
        entry = approve(self.log(), self.recovery, key)
        self.agent.ask("learn", entries=((entry.body, entry.signature),))

    def sign(self, passkey: SoftPasskey, what: str, key: str) -> None:
        draft = self.agent.ask("passkey_draft", what=what, key=key, passkey=passkey_id(passkey.public, passkey.rp))
        assertion = write_assertion(passkey.assertion(draft["domain"], draft["message"]))
        self.agent.ask("passkey_said", message=draft["message"], assertion=assertion)

    def rows(self) -> dict[str, bool]:
        return {row["name"]: row["young"] for row in self.agent.ask("passkeys")}


@pytest.fixture
def desk() -> Iterator[Desk]:
    with tempfile.TemporaryDirectory(prefix="wos-k-") as folder:
        home = Home(Path(folder))
        words = make_account(home, "desk")
        with running(home) as agent:
            yield Desk(agent, words)


def test_a_passkey_is_young_until_the_words_approve_it_and_then_approves_others(desk: Desk) -> None:
    phone = desk.add(PHONE, "phone")
    assert desk.rows() == {"phone": True}
    assert desk.agent.ask("passkeys")[0]["public"] == PHONE.public
    desk.approve_by_words(phone)
    assert desk.rows() == {"phone": False}
    yubi = desk.add(YUBI, "yubi")
    assert desk.rows() == {"phone": False, "yubi": True}
    desk.sign(PHONE, "approve", yubi)
    assert desk.rows() == {"phone": False, "yubi": False}


def test_a_passkey_puts_a_stolen_laptop_out_and_the_laptop_not_the_passkey() -> None:
    with tempfile.TemporaryDirectory(prefix="wos-k-") as folder:
        home = Home(Path(folder))
        words = make_account(home, "laptop")
        agent = RunningAgent(home)
        laptop = Desk(agent, words)
        phone = laptop.add(PHONE, "phone")
        laptop.approve_by_words(phone)
        with pytest.raises(NotAllowed, match="weighs more"):
            remove_key(laptop.log(), open_key(home), phone)
        laptop.sign(PHONE, "remove", agent.ask("status")["node"])
        agent.wait()  # who is put out stops
        assert [str(device.status) for device in laptop.log().members().devices] == ["revoked"]
        assert phone in laptop.log().keys
        assert "Traceback" not in agent.said


def test_what_a_passkey_did_not_sign_is_refused(desk: Desk) -> None:
    phone = desk.add(PHONE, "phone")
    desk.approve_by_words(phone)
    yubi = desk.add(YUBI, "yubi")
    draft = desk.agent.ask("passkey_draft", what="approve", key=yubi, passkey=phone)
    message = draft["message"]
    for signer, lies in ((STRANGER, {}), (PHONE, {"origin": "https://evil.example"}), (PHONE, {"flags": 1})):
        said = write_assertion(signer.assertion("keylog", message, **lies))
        with pytest.raises(BadSignature):
            desk.agent.ask("passkey_said", message=message, assertion=said)
    said = write_assertion(PHONE.assertion("page presence", message))
    with pytest.raises(BadSignature):  # signed for another purpose
        desk.agent.ask("passkey_said", message=message, assertion=said)
    with pytest.raises(PeerBroke):
        desk.agent.ask("passkey_said", message=message, assertion=b"x")
    with pytest.raises(PeerBroke):
        desk.agent.ask("passkey_said", message=b"x", assertion=write_assertion(PHONE.assertion("keylog", b"x")))
    assert desk.rows() == {"phone": False, "yubi": True}


def test_a_passkey_that_cannot_be_one_is_refused_with_a_reason(desk: Desk) -> None:
    with pytest.raises(PeerBroke, match="COSE"):
        desk.agent.ask("passkey_add", credential=b"c", public=b"x" * 77, rp=PHONE.rp, name="bad")
    with pytest.raises(PeerBroke, match="origin"):
        desk.agent.ask("passkey_add", credential=b"c", public=PHONE.public, rp="http://evil.example", name="bad")
    with pytest.raises(PeerBroke, match="printable"):
        desk.agent.ask("passkey_add", credential=b"c", public=PHONE.public, rp=PHONE.rp, name="a\nb")
    desk.add(PHONE, "phone")
    with pytest.raises(BadRequest, match="already"):
        desk.add(PHONE, "again")
    assert desk.rows() == {"phone": True}
