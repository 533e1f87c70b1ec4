"""The root of an account: made once, had by every device, and by nobody who was put out before it was made."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.files.depots import Site, site
from tests.files.homes import Family, log_of

from worldos.agent.home import open_key, read_keylog
from worldos.errors import CorruptFile, NotAllowed
from worldos.files.roots import (
    KeyringLoop,
    Roots,
    belonging_of,
    find_roots,
    links_of,
    make_first,
    own_roots,
    read_held,
    roots_in,
    wrapped_for_all,
)
from worldos.files.stores import Stores
from worldos.home import Home
from worldos.store import keyring
from worldos.store.entry import sign_entry
from worldos.trust.keys import DeviceKey
from worldos.trust.words import seed_from_words


@pytest.fixture
def family(tmp_path: Path) -> Family:
    return Family(tmp_path)


@pytest.fixture
def depots() -> Iterator[Site]:
    with site(3) as made:
        yield made


def test_a_lone_device_makes_the_root_once(family: Family, depots: Site) -> None:
    home, stores = family.homes[0], depots.stores()
    assert own_roots(home) is None
    made = find_roots(home, stores, wait_s=0)
    assert len(made.secrets[0]) == 32
    assert find_roots(home, stores, wait_s=0) == made == own_roots(home)
    assert len(made.directory_keys) == 1
    assert made.chunk_key != made.directory_keys[0]
    assert str(made.secrets[0]) not in repr(made)
    stores.close()


def test_the_root_lies_sealed_in_the_home_and_in_stores(family: Family, depots: Site) -> None:
    stores = depots.stores()
    secret = find_roots(family.homes[0], stores, wait_s=0).secrets[0]
    stores.close()
    files = [file for folder in (family.folder, depots.folder) for file in folder.rglob("*") if file.is_file()]
    assert any(file.name == "keyring" and file.stat().st_mode & 0o777 == 0o600 for file in files)
    assert not [file for file in files if secret in file.read_bytes()]


def test_a_device_that_joins_has_the_root_after_one_step_of_another(family: Family, depots: Site) -> None:
    first, stores = family.homes[0], depots.stores()
    roots = find_roots(first, stores, wait_s=0)
    second = family.join()
    with pytest.raises(NotAllowed, match="has not got the key of your files yet") as caught:
        find_roots(second, stores, wait_s=0.3)
    assert "another of your devices" in caught.value.hint
    due_ns = KeyringLoop(first, stores).step(5)
    assert 5 < due_ns < 5_000_000_000
    assert find_roots(second, stores, wait_s=0) == roots
    stores.close()


def test_a_device_waits_for_the_one_that_wraps_for_it(family: Family, depots: Site) -> None:
    first, stores = family.homes[0], depots.stores()
    roots = find_roots(first, stores, wait_s=0)
    second = family.join()
    found: list[Roots] = []
    waiting = threading.Thread(target=lambda: found.append(find_roots(second, stores, wait_s=20)))
    waiting.start()
    KeyringLoop(first, stores).step(0)
    waiting.join(60)
    assert found == [roots]
    stores.close()


def test_two_programs_of_one_home_make_one_root(family: Family, depots: Site) -> None:
    home, stores = family.homes[0], depots.stores()
    found: list[Roots] = []
    programs = [threading.Thread(target=lambda: found.append(find_roots(home, stores))) for _ in range(4)]
    for program in programs:
        program.start()
    for program in programs:
        program.join(60)
    assert len(found) == 4
    assert len(set(found)) == 1
    stores.close()


def test_two_devices_that_made_a_root_apart_come_to_have_both_and_write_under_one(tmp_path: Path) -> None:
    family = Family(tmp_path)
    second = family.join()
    with site(2) as depots:
        one, two = Stores(lambda: [depots.depots[0].row()]), Stores(lambda: [depots.depots[1].row(1)])
        mine, theirs = find_roots(family.homes[0], one, wait_s=0), find_roots(second, two, wait_s=0)
        assert mine != theirs
        both = depots.stores()
        for _ in range(2):
            for home in family.homes:
                KeyringLoop(home, both).step(0)
        met = {own_roots(home) for home in family.homes}
        assert len(met) == 1
        (roots,) = met
        assert roots is not None
        assert set(roots.secrets) == {*mine.secrets, *theirs.secrets}
        for stores in (one, two, both):
            stores.close()


def test_a_new_account_can_have_its_root_from_the_first_moment(family: Family) -> None:
    make_first(family.homes[0])
    made = own_roots(family.homes[0])
    assert made is not None
    make_first(family.homes[0])
    assert own_roots(family.homes[0]) == made


def test_without_any_store_a_first_root_waits_on_this_disk(family: Family) -> None:
    roots = find_roots(family.homes[0], Stores(list), wait_s=0)
    with site(1) as depots:
        stores = depots.stores()
        KeyringLoop(family.homes[0], stores).step(0)
        second = family.join()
        KeyringLoop(family.homes[0], stores).step(0)
        assert find_roots(second, stores, wait_s=0) == roots
        stores.close()


def test_the_words_alone_open_what_is_in_the_stores(family: Family, depots: Site) -> None:
    stores = depots.stores()
    roots = find_roots(family.homes[0], stores, wait_s=0)
    here = belonging_of(family.homes[0])
    links = links_of(stores)
    bequests = [entry for link in links for entry in link.last(keyring.bequest_logs(here.account)).result(15)]
    assert len(bequests) == len(links)
    left = keyring.decode_bequest(bequests[0].body, here.account)
    opened = keyring.open_by_key(left.ring, DeviceKey.from_seed(seed_from_words(family.words)))
    assert set(opened.values()) == set(roots.secrets)
    assert left.keylog == tuple(sorted(read_keylog(family.homes[0])))
    stores.close()


def test_what_a_device_that_was_put_out_writes_is_not_believed(family: Family, depots: Site) -> None:
    first, stores = family.homes[0], depots.stores()
    roots = find_roots(first, stores, wait_s=0)
    thief = family.join()
    KeyringLoop(first, stores).step(0)
    find_roots(thief, stores, wait_s=0)
    planted = b"t" * 32
    log = keyring.keyring_log(roots.account, open_key(thief).public)
    ring = keyring.with_wraps(
        keyring.Keyring(), planted, [keyring.wrap_for_key(planted, open_key(first).public, b"e" * 32)], generation=9
    )
    body = keyring.encode_keyring(ring, roots.account, b"n" * 12)
    for link in links_of(stores):
        link.append((sign_entry(open_key(thief), log, 99, body, register=True),)).result(15)
    family.put_out(1)
    KeyringLoop(first, stores).step(0)
    own = own_roots(first)
    assert own is not None
    assert own.secrets[1:] == roots.secrets, "a new one was made, since the thief knows this"
    assert planted not in own.secrets
    assert log_of(first).members().active[0].node == open_key(first).node_id
    stores.close()


def test_a_device_without_the_root_wraps_for_nobody(family: Family) -> None:
    make_first(family.homes[0])
    second = family.join()
    here = belonging_of(second)
    ring = read_held(family.homes[0], here.account).ring
    assert wrapped_for_all(ring, here) == ring
    assert roots_in(ring, here) is None


def test_a_damaged_keyring_is_named_and_not_overwritten(family: Family) -> None:
    home = family.homes[0]
    make_first(home)
    file = home.path / "files" / "keyring"
    bad = bytearray(file.read_bytes())
    bad[-40] ^= 1
    file.write_bytes(bad)
    with pytest.raises(CorruptFile, match="damaged") as caught:
        find_roots(home, Stores(list), wait_s=0)
    assert "unlock" in caught.value.hint
    assert file.read_bytes() == bad


def test_a_machine_of_no_account_has_no_root(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir(mode=0o700)
    with pytest.raises(NotAllowed, match="belongs to no account"):
        own_roots(Home(tmp_path / "bare"))
