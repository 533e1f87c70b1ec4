"""``wos account passkey``: what the terminal can do about passkeys without a browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, new_home, running
from tests.cli.conftest import fails, wos
from tests.trust.soft_passkey import SoftPasskey

PHONE = SoftPasskey()


@pytest.fixture
def own(folder: Path) -> Iterator[RunningAgent]:
    with running(new_home(folder / "h")) as agent:
        yield agent


def test_passkeys_are_listed_and_a_young_one_is_removed(own: RunningAgent) -> None:
    assert "no passkey yet" in wos(own.home, "account", "passkey", "list").stdout
    made = own.ask("passkey_add", credential=PHONE.credential, public=PHONE.public, rp=PHONE.rp, name="my [b]phone")
    listed = wos(own.home, "account", "passkey", "list").stdout
    assert "my [b]phone" in listed.replace("\\", "")
    assert "young" in listed
    (row,) = json.loads(wos(own.home, "account", "passkey", "list", "--json").stdout)
    assert (row["key"], row["public"]) == (made["key"], PHONE.public.hex())
    fails(wos(own.home, "account", "passkey", "remove", "nothing", "--yes"), 2, "no passkey is called", "passkey list")
    assert "is put out" in wos(own.home, "account", "passkey", "remove", made["key"][:8], "--yes").stdout
    assert own.ask("passkeys") == []


def test_adding_needs_an_agent_and_names_the_page(folder: Path) -> None:
    from worldos.home import Home  # noqa: PLC0415

    fails(wos(Home(folder), "account", "passkey", "add", "--no-browser"), 4, "Me, Add a passkey", "wos up")
