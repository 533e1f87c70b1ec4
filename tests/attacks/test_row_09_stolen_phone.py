"""Attack: a stolen phone and the recovery words act in two partitions, which then meet in any order.

Run: the phone, a full device, cut off from the others, puts out every other device and the words, admits children and adds
passkeys, as often as it likes and with any view of the past; the words, on the other side, put the phone out, sign new
words and admit a new machine. 60 random pairs of partitions (20 000 with TRUST_LONG=1), each merged in four random orders
and partitions of entries. Must happen: the words win in every merge order. The phone and what it let in are out, every
device that the words left in is in, and all nodes agree.
"""

from __future__ import annotations

import os
import random

from tests.attacks.test_row_08_back_dated import CHILDREN, child_entry, merged
from tests.trust.people import DESK, LAPTOP, PHONE, RECOVERY, TABLET, active, add, copy_of, household, raw, remove
from tests.trust.soft_passkey import SoftPasskey

from worldos.errors import NotAllowed, PeerBroke
from worldos.trust import history
from worldos.trust.entries import RemoveKey, SignedEntry, body_of, hash_of, passkey_id, sign_entry, signed_by_passkey
from worldos.trust.history import bits
from worldos.trust.keylog import KeyLog
from worldos.trust.keys import DeviceKey
from worldos.trust.sayings import add_passkey, approve, rekey, removal_entry, remove_key

PAIRS = 20_000 if os.environ.get("TRUST_LONG") else 60
NEW_WORDS = DeviceKey.from_seed(b"w" * 32)


def phone_acts(log: KeyLog, chance: random.Random) -> None:
    """Let the phone say up to six things, back-dated as it likes; what the door refuses is not said."""
    warrant = log.history.hashes[log.keys[PHONE.node_id]]
    for number in range(chance.randint(1, 6)):
        history = log.history
        at = chance.randrange(history.places[warrant], len(history.hashes))
        seen = KeyLog()
        seen.merge([log.entries[history.hashes[place]] for place in bits(history.past[at] | 1 << at)])
        if warrant not in seen.entries:
            seen = log
        entry: SignedEntry
        match chance.choice(["remove", "remove", "words", "child", "passkey"]):
            case "words":
                parents = tuple(sorted(seen.heads())[:4])
                against = RemoveKey(warrant=warrant, parents=parents, key=RECOVERY.node_id)
                entry = sign_entry(PHONE, against)
            case "child":
                entry = child_entry(seen, PHONE, chance.choice(CHILDREN), warrant, number)
            case "passkey":
                made = SoftPasskey(seed=number)
                try:
                    entry = add_passkey(log, PHONE, made.credential, made.public, made.rp, "thief's")
                except NotAllowed:
                    continue
            case _:
                entry = raw(seen.history, PHONE, "remove", chance.choice([LAPTOP, DESK]), 0, warrant)
        try:
            log.merge([entry])
        except PeerBroke:
            continue


def words_act(log: KeyLog, chance: random.Random) -> set[str]:
    """Let the words put the phone out, and do more; return who is to be in."""
    words = RECOVERY
    remove(log, words, PHONE)
    if chance.random() < 0.5:
        log.merge([rekey(log, words, NEW_WORDS)])
        words = NEW_WORDS
    if chance.random() < 0.5:
        add(log, words, TABLET, nonce=7)
    if chance.random() < 0.3:
        remove(log, words, DESK)
    return active(log)


def test_the_words_win_against_a_stolen_phone_in_every_merge_order() -> None:
    for seed in range(PAIRS):
        chance = random.Random(seed)
        here, there = household(), household()
        phone_acts(there, chance)
        right = words_act(here, chance)
        entries = list({hash_of(entry): entry for log in (here, there) for entry in log.entries.values()}.values())
        found = [merged(entries, chance) for _ in range(4)]
        assert all(active(log) == right for log in found), f"seed {seed}"
        assert len({str(log.members()) for log in found}) == 1, f"seed {seed}"
        assert all(log.keys.keys() == found[0].keys.keys() for log in found), f"seed {seed}"
        assert not any(key for key in found[0].keys if key in passkeys()), f"seed {seed}"


def passkeys() -> set[str]:
    return {passkey_id(SoftPasskey(seed=number).public, SoftPasskey(seed=number).rp) for number in range(6)}


def test_a_passkey_wins_against_a_stolen_phone_and_the_words_against_a_stolen_passkey() -> None:
    log = household()
    thumb = SoftPasskey()
    log.merge([add_passkey(log, RECOVERY, thumb.credential, thumb.public, thumb.rp, "thumb")])
    mine = passkey_id(thumb.public, thumb.rp)
    here, there = copy_of(log), copy_of(log)
    entry = removal_entry(here, mine, PHONE.node_id)
    here.merge([signed_by_passkey(entry, thumb.assertion("keylog", body_of(entry)))])
    remove(there, PHONE, LAPTOP)
    remove(there, PHONE, DESK)
    entries = [*here.entries.values(), *there.entries.values()]
    for seed in range(20):
        assert active(merged(entries, random.Random(seed))) == {"laptop", "desk"}
    words = copy_of(log)
    words.merge([approve(words, RECOVERY, PHONE.node_id)])
    words.merge([removal_by_words(words, mine)])
    entries = [*words.entries.values(), *here.entries.values()]
    for seed in range(20):
        assert active(merged(entries, random.Random(seed))) == {"laptop", "phone", "desk"}


def removal_by_words(log: KeyLog, key: str) -> SignedEntry:
    return remove_key(log, RECOVERY, key)


def test_planted_bug_without_weights_the_phone_would_win(monkeypatch) -> None:
    """The control: were all keys to weigh the same, the phone's removals would stand beside those of the words."""
    for weight in ("RECOVERY_WEIGHT", "GUARDIANS_WEIGHT", "PASSKEY_WEIGHT"):
        monkeypatch.setattr(history, weight, 1)
    monkeypatch.setattr(history, "_FULL_WEIGHT", dict.fromkeys(history._FULL_WEIGHT, 1))
    monkeypatch.setattr(history.History, "is_ripe", lambda *_args, **_also: True)
    lost = 0
    for seed in range(30):
        chance = random.Random(seed)
        here, there = household(), household()
        there.merge([remove_key(there, PHONE, RECOVERY.node_id)])
        right = words_act(here, chance)
        entries = [*here.entries.values(), *there.entries.values()]
        lost += active(merged(entries, chance)) != right
    assert lost > 0
