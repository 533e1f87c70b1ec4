"""All devices are gone, and nothing is lost: words, a code or friends open the root from what stores have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.files.depots import Site, site
from tests.files.homes import Family, entries_of, log_of

from worldos.agent.home import open_key, write_keylog
from worldos.errors import BadRequest, NotAllowed, Unreachable
from worldos.files import recovering
from worldos.files.recovering import Pairs, asker_of, give, guard_by, guardians, plead, unlock_from
from worldos.files.roots import KeyringLoop, find_roots, own_roots
from worldos.files.stores import Stores
from worldos.home import Home
from worldos.store import keyring
from worldos.trust.entries import SignedEntry
from worldos.trust.words import words_from_entropy


@pytest.fixture
def family(tmp_path: Path) -> Family:
    return Family(tmp_path / "family")


@pytest.fixture
def depots() -> Iterator[Site]:
    with site(2) as made:
        yield made


@pytest.fixture
def stores(depots: Site) -> Iterator[Stores]:
    made = depots.stores()
    yield made
    made.close()


def learner(home: Home) -> object:
    """What an agent does with entries that it is told of."""

    def learn(pairs: Pairs) -> None:
        log = log_of(home)
        log.merge(SignedEntry(body=body, signature=signature) for body, signature in pairs)
        write_keylog(home, entries_of(log))

    return learn


def test_with_all_devices_gone_the_words_bring_back_the_root_and_the_devices(family: Family, stores: Stores) -> None:
    lost = find_roots(family.homes[0], stores, wait_s=0)
    family.join()
    KeyringLoop(family.homes[0], stores).step(0)
    wrote = [open_key(home).node_id for home in family.homes]
    bare = family.recover()
    assert own_roots(bare) is None
    with pytest.raises(NotAllowed, match="has not got the key"):
        make_or_find(bare, stores, family)
    learn = learner(bare)
    assert callable(learn)
    assert "24 words" in unlock_from(bare, stores, learn, words=family.words)
    assert own_roots(bare) == lost
    known = {device.node for device in log_of(bare).members().devices}
    assert {*wrote, open_key(bare).node_id} == known


def make_or_find(bare: Home, stores: Stores, family: Family) -> None:
    """A bare machine that finds another of its account waits for it; alone it would not know that there is a root."""
    log = log_of(family.homes[0])
    log.merge(SignedEntry(body=body, signature=signature) for body, signature in entries_of(log_of(bare)))
    write_keylog(bare, entries_of(log))
    find_roots(bare, stores, wait_s=0)


def test_a_device_that_is_still_there_gives_the_root_without_the_words(family: Family, stores: Stores) -> None:
    roots = find_roots(family.homes[0], stores, wait_s=0)
    bare = family.recover()
    log = log_of(family.homes[0])
    log.merge(SignedEntry(body=body, signature=signature) for body, signature in entries_of(log_of(bare)))
    family.tell(log)
    KeyringLoop(family.homes[0], stores).step(0)
    assert find_roots(bare, stores, wait_s=0) == roots


def test_what_is_not_the_words_of_this_account_is_told(family: Family, stores: Stores) -> None:
    find_roots(family.homes[0], stores, wait_s=0)
    bare = family.recover()
    with pytest.raises(BadRequest, match="another account"):
        unlock_from(bare, stores, print, words=words_from_entropy(bytes(32)))
    with pytest.raises(BadRequest, match="24 words"):
        unlock_from(bare, stores, print, words="one two")
    with pytest.raises(BadRequest, match="neither words nor a code"):
        unlock_from(bare, stores, print)
    assert own_roots(bare) is None


def test_where_no_store_knows_of_files_that_is_said(family: Family, stores: Stores) -> None:
    bare = family.recover()
    with pytest.raises(Unreachable, match="no store that can be reached knows of your files"):
        unlock_from(bare, stores, print, words=family.words)


def test_a_damaged_keyring_in_the_home_is_brought_back(family: Family, stores: Stores) -> None:
    home = family.homes[0]
    roots = find_roots(home, stores, wait_s=0)
    (home.path / "files" / "keyring").write_bytes(b"what a disk makes of it")
    unlock_from(home, stores, print, words=family.words)
    assert own_roots(home) == roots


def test_a_feature_code_opens_the_root_until_there_is_another(
    family: Family, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "FEATURE_KIB", 128)
    home = family.homes[0]
    roots = find_roots(home, stores, wait_s=0)
    for code in ("first code", "second code"):
        recovering.change_ring(
            home, stores, lambda root, secret, code=code: recovering._with_feature(root, secret, code)
        )
    bare = family.recover()
    with pytest.raises(BadRequest, match="does not open"):
        unlock_from(bare, stores, print, feature_code="first code")
    learn = learner(bare)
    assert callable(learn)
    assert "feature code" in unlock_from(bare, stores, learn, feature_code="second code")
    assert own_roots(bare) == roots


def friends(folder: Path, count: int) -> list[Home]:
    return [Family(folder / f"friend {number}").homes[0] for number in range(count)]


def test_two_of_three_friends_give_the_root_back(family: Family, stores: Stores, tmp_path: Path) -> None:
    roots = find_roots(family.homes[0], stores, wait_s=0)
    keep = friends(tmp_path, 3)
    names = {open_key(friend).public: name for friend, name in zip(keep, ("Ada", "Bo", "Cy"), strict=True)}
    guard_by(family.homes[0], stores, names, 2, at_ns=5)
    assert [(guardian.name, guardian.need, guardian.since_ns) for guardian in guardians(family.homes[0])] == [
        ("Ada", 2, 5),
        ("Bo", 2, 5),
        ("Cy", 2, 5),
    ]
    bare = family.recover()
    pleas = {plea.name: plea.text for plea in plead(bare, stores, name="new laptop")}
    assert asker_of(pleas["Ada"]).startswith("new laptop, ")
    answers = [give(keep[0], pleas["Ada"]), give(keep[2], " \n".join([pleas["Cy"][:50], pleas["Cy"][50:]]))]
    with pytest.raises(BadRequest, match="1 guardians have answered, and it takes 2"):
        unlock_from(bare, stores, print, answers=answers[:1])
    with pytest.raises(BadRequest, match="not for this device"):
        give(keep[1], pleas["Ada"])
    learn = learner(bare)
    assert callable(learn)
    assert "guardians" in unlock_from(bare, stores, learn, answers=answers)
    assert own_roots(bare) == roots


def test_an_answer_is_of_use_to_the_device_that_asked_alone(family: Family, stores: Stores, tmp_path: Path) -> None:
    find_roots(family.homes[0], stores, wait_s=0)
    (friend,) = friends(tmp_path, 1)
    guard_by(family.homes[0], stores, {open_key(friend).public: "Ada"}, 1)
    bare, thief = family.recover(), family.recover()
    answer = give(friend, plead(bare, stores)[0].text)
    with pytest.raises(BadRequest, match="not for this device"):
        unlock_from(thief, stores, print, answers=[answer])


def test_guardians_can_be_changed_and_given_up(family: Family, stores: Stores, tmp_path: Path) -> None:
    find_roots(family.homes[0], stores, wait_s=0)
    keep = {open_key(friend).public: "friend" for friend in friends(tmp_path, 2)}
    guard_by(family.homes[0], stores, keep, 2)
    guard_by(family.homes[0], stores, {}, 0)
    assert guardians(family.homes[0]) == []
    with pytest.raises(BadRequest, match="no guardians"):
        plead(family.homes[0], stores)


def test_a_device_without_the_root_changes_nothing(family: Family, stores: Stores) -> None:
    find_roots(family.homes[0], stores, wait_s=0)
    with pytest.raises(NotAllowed, match="has not got the key"):
        guard_by(family.join(), stores, {}, 0)


@given(st.text(max_size=80))
def test_garbage_is_neither_a_plea_nor_an_answer(text: str) -> None:
    for said in (text, "wosask1" + text, "wosgive1" + text):
        with pytest.raises(BadRequest):
            asker_of(said)


def test_names_of_devices_are_found_once_or_not_at_all() -> None:
    rows = {"abcdefgh": "laptop", "abcdxxxx": "phone", "qqqqqqqq": "phone"}
    assert recovering._node_called(rows, "laptop") == "abcdefgh"
    assert recovering._node_called(rows, "abcde") == "abcdefgh"
    for name in ("phone", "abcd", "tablet", "a"):
        with pytest.raises(BadRequest, match="called"):
            recovering._node_called(rows, name)
