"""A new root when somebody is put out: for all who stay, and for nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.files.depots import Site, site
from tests.files.homes import Family

from worldos.files.renewing import RENEW_TURN_STEPS, ROOTS_RENEWED_MAX, is_over, renewed
from worldos.files.roots import KeyringLoop, belonging_of, find_roots, last_entries, links_of, read_held, write_held
from worldos.home import Home
from worldos.store import keyring
from worldos.store.keyring import GuardianWrap, Keyring, guarded_by, part_of, root_of_parts
from worldos.trust.keys import DeviceKey
from worldos.trust.words import seed_from_words


@pytest.fixture
def family(tmp_path: Path) -> Family:
    return Family(tmp_path)


@pytest.fixture
def depots() -> Iterator[Site]:
    with site(3) as made:
        yield made


def ring_of(home: Home) -> Keyring:
    return read_held(home, belonging_of(home).account).ring


def test_a_removal_brings_a_root_that_the_removed_device_never_gets(family: Family, depots: Site) -> None:
    first, stores = family.homes[0], depots.stores()
    old = find_roots(first, stores, wait_s=0)
    second, third = family.join(), family.join()
    KeyringLoop(first, stores).step(0)
    assert find_roots(third, stores, wait_s=0) == old
    told: list[str] = []
    loops = {home: KeyringLoop(home, stores, lambda: told.append("renewed")) for home in (first, second)}
    for loop in loops.values():
        loop.step(0)
    family.put_out(2)
    for _ in range(RENEW_TURN_STEPS + 2):
        for loop in loops.values():
            loop.step(0)
    fresh = find_roots(first, stores, wait_s=0)
    assert fresh.secrets[1] == old.secrets[0] != fresh.secrets[0], "what was written before stays open"
    assert find_roots(second, stores, wait_s=0) == fresh
    assert told == ["renewed", "renewed"]
    assert len(ring_of(first).roots) == 2, "one of them made it, not both"
    lost = keyring.open_by_key(keyring.united(ring_of(first), ring_of(second)), belonging_of(third).key)
    assert set(lost.values()) == set(old.secrets)
    words = DeviceKey.from_seed(seed_from_words(family.words))
    assert set(keyring.open_by_key(ring_of(first), words).values()) == set(fresh.secrets)
    stores.close()


def test_after_many_removals_the_words_alone_still_open_the_newest_root(family: Family, depots: Site) -> None:
    first, stores = family.homes[0], depots.stores()
    find_roots(first, stores, wait_s=0)
    loop = KeyringLoop(first, stores)
    for place in range(1, 10):
        family.join()
        loop.step(0)
        family.put_out(place)
        loop.step(0)
    roots = find_roots(first, stores, wait_s=0)
    assert len(roots.secrets) == 10
    recovery = DeviceKey.from_seed(seed_from_words(family.words))
    entries, _ = last_entries(links_of(stores), keyring.bequest_logs(roots.account))
    rings = [keyring.decode_bequest(entry.body, roots.account).ring for entry in entries]
    assert keyring.open_by_key(keyring.united(*rings), recovery).keys() == {
        keyring.id_of_root(s) for s in roots.secrets
    }
    stores.close()


def test_nothing_is_renewed_while_everybody_belongs(family: Family, depots: Site) -> None:
    first, stores = family.homes[0], depots.stores()
    find_roots(first, stores, wait_s=0)
    family.join()
    loop = KeyringLoop(first, stores)
    for _ in range(3):
        loop.step(0)
    assert len(ring_of(first).roots) == 1
    stores.close()


def test_a_key_that_the_log_does_not_know_yet_renews_nothing(family: Family, depots: Site) -> None:
    """A device that joined a moment ago is known to the one that wrapped for it, and not to this one."""
    first, stores = family.homes[0], depots.stores()
    (secret,) = find_roots(first, stores, wait_s=0).secrets
    here, newcomer = belonging_of(first), DeviceKey.from_seed(b"\5" * 32)
    ring = keyring.with_wraps(ring_of(first), secret, [keyring.wrap_for_key(secret, newcomer.public, b"\6" * 32)])
    assert not is_over(ring.newest, here)
    assert not is_over(None, here)
    stores.close()


def test_a_root_that_a_thief_planted_at_the_last_moment_is_not_written_under(family: Family, depots: Site) -> None:
    first, stores = family.homes[0], depots.stores()
    roots = find_roots(first, stores, wait_s=0)
    thief = belonging_of(family.join())
    loop = KeyringLoop(first, stores)
    loop.step(0)
    planted = b"t" * 32
    wraps = [
        keyring.wrap_for_key(planted, public, b"e" * 32)
        for public in belonging_of(first).active
        if public != thief.key.public
    ]
    ring = keyring.united(ring_of(first), keyring.with_wraps(Keyring(), planted, wraps, generation=9))
    write_held(first, roots.account, ring, 50)  # it was believed, and not yet wrapped for all
    family.put_out(1)
    loop.step(0)
    assert find_roots(first, stores, wait_s=0).secrets[0] not in {planted, roots.secrets[0]}
    stores.close()


def test_no_root_is_dropped_for_a_new_one(family: Family, depots: Site) -> None:
    first, stores = family.homes[0], depots.stores()
    (oldest,) = find_roots(first, stores, wait_s=0).secrets
    here, ring = belonging_of(first), ring_of(first)
    while len(ring.roots) < ROOTS_RENEWED_MAX:
        ring = renewed(ring, here)
    thief = belonging_of(family.join()).key.public
    newest = keyring.open_by_key(ring, here.key)[ring.newest.id] if ring.newest is not None else b""
    ring = keyring.with_wraps(ring, newest, [keyring.wrap_for_key(newest, thief, b"e" * 32)])
    write_held(first, here.account, ring, 50)
    family.put_out(1)
    loop = KeyringLoop(first, stores)
    for _ in range(3):
        loop.step(0)
    assert len(ring_of(first).roots) == ROOTS_RENEWED_MAX
    assert oldest in find_roots(first, stores, wait_s=0).secrets
    stores.close()


def test_the_guardians_of_before_guard_the_new_root_but_not_who_is_out(family: Family, depots: Site) -> None:
    first, stores = family.homes[0], depots.stores()
    (secret,) = find_roots(first, stores, wait_s=0).secrets
    thief = family.join()
    keys = [DeviceKey.from_seed(bytes([n]) * 32) for n in (11, 12)]
    names = {key.public: "friend" for key in keys} | {belonging_of(thief).key.public: "thief"}
    chance = bytes(keyring.guardian_chance_bytes(2, 3))
    wraps = keyring.wrap_for_guardians(secret, names, 2, chance, number=4, at_ns=7)
    thiefs = keyring.wrap_for_key(secret, belonging_of(thief).key.public, b"\6" * 32)
    ring = keyring.with_wraps(ring_of(first), secret, [*wraps, thiefs], guardians=4)
    family.put_out(1)
    here = belonging_of(first)
    assert is_over(ring.newest, here)
    newest = renewed(ring, here).newest
    assert newest is not None
    guards = {wrap.to for wrap in newest.wraps if isinstance(wrap, GuardianWrap)}
    assert guards == {key.public for key in keys}
    parts = [
        part_of(wrap, newest.id, key) for key in keys for _, wrap in guarded_by(Keyring(roots=(newest,)), key.public)
    ]
    opened = keyring.open_by_key(Keyring(roots=(newest,)), here.key)
    assert root_of_parts(parts, newest.id) == opened[newest.id] != secret
    stores.close()
