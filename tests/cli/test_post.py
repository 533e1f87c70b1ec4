"""``wos account code|card``, ``wos contact``, ``wos inbox``, ``wos share --to``: as two people of two accounts type them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.accounts import Two, two_accounts
from tests.agent.agents import RunningAgent, new_home, running, until
from tests.cli.conftest import fails, wos


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    """Ada's office and Bob's den: two accounts, linked below one realm."""
    with two_accounts() as two:
        yield two


def code_of(agent: RunningAgent) -> str:
    return wos(agent.home, "account", "code").stdout.strip()


def known(two: Two) -> tuple[str, str]:
    """Both have a name on their card; the realm's links bring each to the other."""
    ada, bob = two
    for agent in two:
        until(lambda agent=agent: len(agent.ask("contact_list")) >= 2, "cards are made and told by themselves", 20)
    assert wos(ada.home, "account", "card", "--name", "Ada").stdout.startswith("wos-card-")
    assert wos(bob.home, "account", "card", "--name", "Bob").returncode == 0
    for agent in two:
        until(
            lambda agent=agent: {"Ada", "Bob"} <= {row["name"] for row in agent.ask("contact_list")},
            "names are known",
            20,
        )
    return code_of(ada), code_of(bob)


def test_cards_come_by_themselves_where_accounts_are_linked(two: Two) -> None:
    ada, bob = known(two)
    listed = wos(two[0].home, "contact", "list").stdout
    assert bob in listed
    assert "Ada (you)" in listed
    assert len({ada, bob}) == 2
    assert two[0].ask("whoami")["code"] == ada


def test_a_file_goes_to_a_person_by_their_code_alone(two: Two, folder: Path) -> None:
    ada, bob = two
    _, code = known(two)
    (folder / "plan.txt").write_text("meet at noon " * 1000)
    assert wos(ada.home, "put", str(folder / "plan.txt")).returncode == 0
    sent = wos(ada.home, "share", "plan.txt", "--to", code, "--note", "as promised")
    assert sent.stdout.splitlines() == ["plan.txt is on its way to Bob: they see it by wos inbox"]
    until(lambda: bob.ask("inbox"), "the letter is there", 20)
    shown = wos(bob.home, "inbox").stdout
    assert "Ada wos1" in shown
    assert "as promised" in shown
    assert "not verified" not in shown
    assert wos(bob.home, "inbox", "open", "1", str(folder / "got.txt")).returncode == 0
    assert (folder / "got.txt").read_text() == "meet at noon " * 1000
    assert ada.ask("inbox") == []


def test_a_letter_that_is_carried_by_hand_brings_its_card(two: Two) -> None:
    ada, bob = two
    _, code = known(two)
    with tempfile.TemporaryDirectory(prefix="wos-q-") as folder, running(new_home(Path(folder) / "h", "far")) as far:
        letter = ada.ask("letter_send", to=code, kind="note", title="hello", value="", note="see you")["text"]
        fails(wos(far.home, "inbox", "add", letter), 3, "for somebody else")
        fails(wos(far.home, "share", "x", "--to", code), 2, "card of this person is not here", "wos account card")
        card = wos(bob.home, "account", "card").stdout
        assert wos(far.home, "contact", "add", stdin=card).stdout.startswith(f"Bob is {code}")
        sent = far.ask("letter_send", to="Bob", kind="note", title="from afar", value="")
        assert not sent["linked"]
        text = sent["text"]
    added = wos(bob.home, "inbox", "add", stdin=text)
    assert "far wos1" in added.stdout
    assert any(row["title"] == "from afar" and row["verified"] for row in bob.ask("inbox"))


def test_a_session_goes_to_a_person(two: Two, folder: Path) -> None:
    ada, bob = two
    _, code = known(two)
    wos(ada.home, "session", "start", "talk")
    wos(ada.home, "session", "say", "talk", "what we said")
    assert "on its way to Bob" in wos(ada.home, "session", "share", "talk", "--to", code).stdout
    rows = until(lambda: [n for n, row in enumerate(bob.ask("inbox"), 1) if row["kind"] == "session"], "it came", 20)
    assert wos(bob.home, "inbox", "open", str(rows[0]), str(folder / "talk.txt")).returncode == 0
    assert "office: what we said" in (folder / "talk.txt").read_text()


def test_a_lease_goes_to_a_person(two: Two) -> None:
    ada, bob = two
    _, code = known(two)
    sent = wos(ada.home, "share", "office/CPU", "--lease", "--to", code, "--until", "7d")
    assert "Bob may use office/CPU" in sent.stdout, sent.stderr
    rows = until(lambda: [n for n, row in enumerate(bob.ask("inbox"), 1) if row["kind"] == "lease"], "it came", 20)
    assert "kept" in wos(bob.home, "inbox", "open", str(rows[0])).stdout
    held = bob.ask("grants")["held"]
    assert [grant["account"] for grant in held] == [ada.ask("status")["account"]]


def test_what_is_wrong_is_said_with_what_to_do(two: Two) -> None:
    ada, _ = two
    fails(wos(ada.home, "inbox", "open", "99"), 2, "there is no letter")
    fails(wos(ada.home, "inbox", "close"), 2, "there is no wos inbox close")
    fails(wos(ada.home, "contact", "add", "wos-card-xyz"), 2, "damaged")
    fails(wos(ada.home, "contact", "add", "hello"), 2, "this is no card")
    fails(wos(ada.home, "share", "x", "--to", "nobody"), 2, "no contact is called")
    fails(wos(ada.home, "share", "x", "--lease"), 2, "who shall use it")
    assert json.loads(wos(ada.home, "account", "code", "--json").stdout)["code"] == code_of(ada)
