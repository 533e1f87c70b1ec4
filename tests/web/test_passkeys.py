"""Passkeys on the page, step by step, against a real agent; the authenticator is of software, and lies when told to."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agent.agents import RunningAgent, running, until
from tests.trust.soft_passkey import SoftPasskey, b64

from worldos.agent.start import make_account, stored_log
from worldos.errors import BadRequest, BadSignature, NotAllowed, WorldError
from worldos.home import Home
from worldos.trust.entries import passkey_id
from worldos.trust.keys import DeviceKey
from worldos.trust.passkeys import Assertion
from worldos.trust.sayings import approve
from worldos.trust.words import seed_from_words
from worldos.web.gate import Gate, Visit
from worldos.web.limits import CHALLENGE_LIFE_S, SURE_LIFE_S, VISIT_LIFE_S
from worldos.web.passkeys import PRESENCE, STEPS, Said, bytes_of, text_of


class Sitting:
    """Somebody at a page of its own origin: a visit, two passkeys, and a clock that stands until it is told to go on."""

    def __init__(self, agent: RunningAgent, words: str, turn: int = 0) -> None:
        self.agent, self.words = agent, words
        self.origin = f"http://localhost:{7400 + turn}"
        self.phone, self.other = SoftPasskey(self.origin, 2 * turn), SoftPasskey(self.origin, 2 * turn + 1)
        self.gate = Gate(self.origin, b"k" * 32)
        self.now_s, self.turn = 1000, 0
        self.visit = self.come_in()

    def come_in(self) -> Visit:
        return Visit(cookie="c", secret="s", ends_s=1000 + VISIT_LIFE_S, sure_until_s=self.now_s + SURE_LIFE_S)

    def step(self, name: str, visit: Visit | None = None, /, **said: Any) -> dict[str, Any]:
        self.turn += 1
        random = self.turn.to_bytes(32, "big")
        visit = visit or self.visit
        return STEPS[name](
            Said(home=self.agent.home, gate=self.gate, visit=visit, now_s=self.now_s, random=random, said=said)
        )

    def make(self, passkey: SoftPasskey, **lies: Any) -> dict[str, Any]:
        challenge = bytes_of(self.step("make")["challenge"])
        return self.step("made", credential=passkey.registration(challenge, **lies), name="phone")

    def grow(self, passkey: SoftPasskey) -> str:
        """Make a passkey and approve it by the words."""
        key = str(self.make(passkey)["key"])

        def log() -> Any:
            return stored_log(self.agent.home)

        until(lambda: key in log().keys, "it is on disk")
        entry = approve(log(), DeviceKey.from_seed(seed_from_words(self.words)), key)
        self.agent.ask("learn", entries=((entry.body, entry.signature),))
        return key

    def rows(self) -> list[dict[str, Any]]:
        return [row for row in self.agent.ask("passkeys") if row["rp"] == self.origin]

    def names(self) -> list[str]:
        return [row["name"] for row in self.rows()]


@pytest.fixture(scope="module")
def own() -> Iterator[tuple[RunningAgent, str]]:
    with tempfile.TemporaryDirectory(prefix="wos-k-") as folder:
        words = make_account(Home(Path(folder)), "desk")
        with running(Home(Path(folder))) as agent:
            yield agent, words


TURNS = itertools.count(1)


@pytest.fixture
def sitting(own: tuple[RunningAgent, str]) -> Sitting:
    return Sitting(*own, next(TURNS))


def answer(passkey: SoftPasskey, said: Assertion, credential: bytes | None = None) -> dict[str, Any]:
    return {
        "id": b64(credential or passkey.credential),
        "response": {
            "authenticatorData": b64(said.authenticator),
            "clientDataJSON": b64(said.client),
            "signature": b64(said.signature),
        },
    }


def test_a_passkey_is_made_and_is_known(sitting: Sitting) -> None:
    begun = sitting.step("make")
    assert begun["rp"]["id"] == "localhost"
    assert begun["authenticatorSelection"]["userVerification"] == "required"
    assert begun["attestation"] == "none"
    made = sitting.step("made", credential=sitting.phone.registration(bytes_of(begun["challenge"])), name="phone")
    assert made["key"] == passkey_id(sitting.phone.public, sitting.origin)
    assert sitting.names() == ["phone"]
    assert sitting.step("make")["excludeCredentials"] == [{"type": "public-key", "id": b64(sitting.phone.credential)}]


ELSEWHERE: list[dict[str, Any]] = [
    {"origin": "http://localhost:3000"},
    {"origin": "https://evil.example"},
    {"rp_id": "evil.example"},
    {"flags": 0x41},
    {"flags": 0x44},
    {"type": "webauthn.get"},
]


def test_a_passkey_that_was_made_elsewhere_or_without_its_user_is_refused(sitting: Sitting) -> None:
    for lie in ELSEWHERE:
        with pytest.raises(NotAllowed):
            sitting.make(sitting.phone, **lie)
    assert sitting.names() == []


def test_a_making_is_answered_once_in_time_and_by_who_asked(sitting: Sitting) -> None:
    challenge = bytes_of(sitting.step("make")["challenge"])
    credential = sitting.phone.registration(challenge)
    with pytest.raises(NotAllowed):
        sitting.step("made", sitting.come_in(), credential=credential, name="phone")
    with pytest.raises(NotAllowed):
        sitting.step("made", credential=sitting.phone.registration(b"x" * 32), name="phone")
    sitting.now_s += CHALLENGE_LIFE_S
    with pytest.raises(NotAllowed, match="too long ago"):
        sitting.step("made", credential=credential, name="phone")
    sitting.make(sitting.phone)
    with pytest.raises(NotAllowed):
        sitting.step("made", credential=credential, name="phone")
    assert sitting.names() == ["phone"]


def test_presence_must_be_proven_again_after_a_while_and_a_passkey_proves_it(sitting: Sitting) -> None:
    sitting.make(sitting.phone)
    sitting.now_s += SURE_LIFE_S
    with pytest.raises(NotAllowed, match="prove that it is you"):
        sitting.step("make")
    begun = sitting.step("prove")
    said = sitting.phone.assertion(PRESENCE, bytes_of(begun["nonce"]))
    credential = answer(sitting.phone, said)
    assert sitting.step("proven", nonce=begun["nonce"], credential=credential) == {"sure_s": SURE_LIFE_S}
    sitting.step("make")
    sitting.now_s += SURE_LIFE_S
    with pytest.raises(NotAllowed):  # the same proof a second time
        sitting.step("proven", nonce=begun["nonce"], credential=credential)
    with pytest.raises(NotAllowed, match="prove that it is you"):
        sitting.step("make")


def test_no_other_proof_is_taken(sitting: Sitting) -> None:
    sitting.make(sitting.phone)
    sitting.now_s += SURE_LIFE_S
    lies: list[tuple[SoftPasskey, dict[str, Any], bytes | None]] = [
        (sitting.phone, {"origin": "http://localhost:3000"}, None),
        (sitting.phone, {"flags": 0x01}, None),
        (sitting.phone, {"challenge": bytes(32)}, None),
        (sitting.phone, {"type": "webauthn.create"}, None),
        (sitting.other, {}, None),
        (sitting.other, {}, sitting.phone.credential),
    ]
    for passkey, lie, credential in lies:
        begun = sitting.step("prove")
        said = passkey.assertion(PRESENCE, bytes_of(begun["nonce"]), **lie)
        with pytest.raises((BadSignature, NotAllowed)):
            sitting.step("proven", nonce=begun["nonce"], credential=answer(passkey, said, credential))
    with pytest.raises(NotAllowed, match="prove that it is you"):
        sitting.gate.check_sure(sitting.visit, sitting.now_s)


def test_without_a_passkey_only_a_new_link_proves_presence(sitting: Sitting) -> None:
    sitting.now_s += SURE_LIFE_S
    with pytest.raises(NotAllowed, match="no passkey for this page"):
        sitting.step("prove")


def test_a_grown_passkey_approves_a_young_one_on_the_page(sitting: Sitting) -> None:
    phone = sitting.grow(sitting.phone)
    young = str(sitting.make(sitting.other)["key"])
    begun = sitting.step("say", what="approve", key=young, by=phone)
    assert begun["allowCredentials"] == [{"type": "public-key", "id": b64(sitting.phone.credential)}]
    said = sitting.phone.assertion("keylog", bytes_of(begun["message"]))
    wrong = sitting.phone.assertion(PRESENCE, bytes_of(begun["message"]))
    with pytest.raises(BadSignature):
        sitting.step("said", message=begun["message"], credential=answer(sitting.phone, wrong))
    with pytest.raises(NotAllowed):  # spent: it is drafted anew
        sitting.step("said", message=begun["message"], credential=answer(sitting.phone, said))
    begun = sitting.step("say", what="approve", key=young, by=phone)
    said = sitting.phone.assertion("keylog", bytes_of(begun["message"]))
    sitting.step("said", message=begun["message"], credential=answer(sitting.phone, said))
    assert [row["young"] for row in sitting.rows()] == [False, False]


def test_bytes_that_were_not_drafted_here_are_not_taken(sitting: Sitting) -> None:
    """A page that was made to sign something else (by a hole in it) still hands nothing in that was not asked for here."""
    with pytest.raises(NotAllowed):
        sitting.step(
            "said",
            message=text_of(b"something"),
            credential=answer(sitting.phone, sitting.phone.assertion("keylog", b"something")),
        )


@pytest.mark.parametrize("name", sorted(STEPS))
@pytest.mark.parametrize(
    "said",
    [{}, {"credential": 1, "name": 2, "nonce": 3, "message": 4}, {"nonce": "!", "message": "!", "credential": {}, "name": "x"},
     {"credential": {"response": {"clientDataJSON": "e30"}}, "name": "x", "nonce": "", "message": ""},
     {"what": "admit", "key": "x", "by": "y"}, {"what": "remove", "key": "x", "by": "y"}],
    ids=range(6),
)  # fmt: skip
def test_nonsense_is_refused_in_words(sitting_once: Sitting, name: str, said: dict[str, Any]) -> None:
    if name == "make":  # which takes no arguments
        assert sitting_once.step(name, **said)["challenge"]
    else:
        with pytest.raises(WorldError, match=r"\w"):
            sitting_once.step(name, **said)


@pytest.fixture(scope="module")
def sitting_once(agent: RunningAgent) -> Sitting:
    return Sitting(agent, "")


def test_what_is_no_base64url_is_a_bad_request() -> None:
    assert bytes_of(text_of(b"\x00\xff\xfe")) == b"\x00\xff\xfe"
    for text in ("!", "a", "\u00e9", "ab=c"):
        with pytest.raises(BadRequest):
            bytes_of(text)
