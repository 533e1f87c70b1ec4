"""What keys of different weight may say: passkeys, new words, guardians, approvals and witnesses."""

import pytest
from tests.trust.people import (
    ACCOUNT,
    DESK,
    LAPTOP,
    PHONE,
    RECOVERY,
    TABLET,
    THIEF,
    active,
    add,
    claim,
    copy_of,
    household,
    log_of,
    look_twice,
    remove,
    vouch,
    with_thief,
    young_household,
)
from tests.trust.soft_passkey import SoftPasskey

from worldos.errors import BadRequest, BadSignature, NotAllowed, PeerBroke
from worldos.model.ids import AccountId
from worldos.trust.approvals import Quorum, Seat, join
from worldos.trust.certs import root_certificate
from worldos.trust.entries import (
    SignedEntry,
    accept_claim,
    approve_body,
    body_of,
    hash_of,
    passkey_id,
    sign_entry,
    signed_by_passkey,
)
from worldos.trust.history import VETO_S
from worldos.trust.keylog import KeyLog, add_device, device_entry, remove_device
from worldos.trust.keys import DeviceKey
from worldos.trust.sayings import (
    add_passkey,
    approval_entry,
    approve,
    guardians_entry,
    rekey,
    rekey_entry,
    removal_entry,
    remove_key,
    set_guardians,
    shared_genesis,
    wants_witness,
    witness,
)

NEW_WORDS = DeviceKey.from_seed(b"n" * 32)
FRIENDS = [DeviceKey.from_seed(name * 32) for name in (b"1", b"2", b"3")]


def passkey(log: KeyLog, signer: DeviceKey, seed: int = 1) -> SoftPasskey:
    made = SoftPasskey(seed=seed)
    entry = add_passkey(log, signer, made.credential, made.public, made.rp, "thumb")
    assert log.merge([entry]) == [hash_of(entry)]
    return made


def id_of(made: SoftPasskey) -> str:
    return passkey_id(made.public, made.rp)


def by_passkey(made: SoftPasskey, entry) -> SignedEntry:
    return signed_by_passkey(entry, made.assertion("keylog", body_of(entry)))


def quorum(threshold: int = 2) -> Quorum:
    seats = [Seat(account=AccountId(key.node_id), key=key.node_id) for key in FRIENDS]
    return Quorum(threshold=threshold, seats=tuple(sorted(seats, key=lambda seat: seat.key)))


def by_quorum(entry, *keys: DeviceKey, of: Quorum | None = None) -> SignedEntry:
    body = body_of(entry)
    return SignedEntry(body=body, signature=join(of or quorum(), {k.node_id: approve_body(k, body) for k in keys}))


def young(log: KeyLog) -> set[str]:
    return {device.name for device in log.members().active if device.young}


# -- passkeys --------------------------------------------------------------------------------------------------------


def test_a_passkey_by_the_words_puts_devices_out_and_no_device_strikes_it() -> None:
    log = household()
    thumb = passkey(log, RECOVERY)
    there = copy_of(log)
    log.merge([by_passkey(thumb, removal_entry(log, id_of(thumb), PHONE.node_id))])
    assert active(log) == {"laptop", "desk"}
    with pytest.raises(NotAllowed, match="weighs more"):
        remove_key(there, PHONE, id_of(thumb))
    remove(there, PHONE, DESK)
    log.merge(list(there.entries.values()))
    assert active(log) == {"laptop", "desk"}


def test_a_passkey_admits_a_device_that_is_grown_at_once() -> None:
    log = household()
    thumb = passkey(log, RECOVERY)
    log.merge([by_passkey(thumb, device_entry(log, id_of(thumb), claim(TABLET)))])
    assert "tablet" in active(log)
    assert young(log) == set()


def test_a_passkey_signs_these_bytes_at_this_origin_alone() -> None:
    log = household()
    thumb = passkey(log, RECOVERY)
    entry = removal_entry(log, id_of(thumb), PHONE.node_id)
    other = removal_entry(log, id_of(thumb), DESK.node_id)
    for wrong in (
        signed_by_passkey(entry, thumb.assertion("keylog", body_of(other))),
        signed_by_passkey(entry, thumb.assertion("approve", body_of(entry))),
        signed_by_passkey(entry, thumb.assertion("keylog", body_of(entry), origin="http://localhost:7382")),
        signed_by_passkey(entry, SoftPasskey(seed=2).assertion("keylog", body_of(entry))),
        signed_by_passkey(entry, thumb.assertion("keylog", body_of(entry), flags=0x01)),
    ):
        with pytest.raises(BadSignature):
            log.merge([wrong])
    for wrong in (sign_entry(LAPTOP, entry), SignedEntry(body=body_of(entry), signature=b"x" * 80)):
        with pytest.raises((BadSignature, PeerBroke)):
            log.merge([wrong])
    assert active(log) == {"laptop", "phone", "desk"}


def test_a_passkey_by_a_device_is_young_and_goes_with_the_thief() -> None:
    log, _, _ = with_thief()
    thumb = passkey(log, THIEF)
    with pytest.raises(NotAllowed, match="weighs more"):
        removal_entry(log, id_of(thumb), LAPTOP.node_id)
    with pytest.raises(NotAllowed):
        approval_entry(log, id_of(thumb), DESK.node_id)
    remove(log, PHONE, THIEF)
    assert id_of(thumb) not in log.keys


def test_a_removed_passkey_is_not_brought_back_by_its_own_device() -> None:
    log = household()
    thumb = passkey(log, RECOVERY)
    log.merge([by_passkey(thumb, device_entry(log, id_of(thumb), claim(TABLET)))])
    log.merge([remove_key(log, RECOVERY, id_of(thumb))])
    assert "tablet" in active(log)
    back = add_passkey(log, TABLET, thumb.credential, thumb.public, thumb.rp, "thumb")
    with pytest.raises(PeerBroke, match="by one that it admitted"):
        log.merge([back])
    with pytest.raises(NotAllowed, match="removed"):
        removal_entry(log, id_of(thumb), PHONE.node_id)


# -- young and grown -------------------------------------------------------------------------------------------------


def test_a_device_by_a_device_is_young_until_a_person_approves() -> None:
    log = young_household()
    assert young(log) == {"phone", "desk"}
    vouch(log, PHONE)
    assert young(log) == {"desk"}
    with pytest.raises(NotAllowed, match="only a passkey"):
        approve(log, PHONE, DESK.node_id)


def test_a_young_device_puts_no_grown_one_out() -> None:
    log = household()
    add(log, PHONE, TABLET)
    with pytest.raises(NotAllowed, match="weighs more"):
        remove_device(log, TABLET, DESK.node_id)
    with pytest.raises(NotAllowed, match="weighs more"):
        remove_device(log, TABLET, PHONE.node_id)


def test_of_two_devices_each_may_put_the_other_out() -> None:
    log = log_of()
    add(log, RECOVERY, LAPTOP)
    add(log, LAPTOP, PHONE)
    remove(log, PHONE, LAPTOP)
    assert active(log) == {"phone"}


def test_an_admission_ripens_when_another_device_saw_it_for_72_hours() -> None:
    log = household()
    add(log, LAPTOP, TABLET)
    look_twice(log, LAPTOP)  # it admitted it
    look_twice(log, TABLET)  # it is it
    look_twice(log, PHONE, apart_s=VETO_S - 1)
    assert young(log) == {"tablet"}
    log.merge([witness(log, DESK, 1_000_000 + VETO_S)])
    assert young(log) == set()
    remove(log, TABLET, LAPTOP)
    assert active(log) == {"phone", "desk", "tablet"}


def test_looks_of_a_child_do_not_let_its_maker_ripen() -> None:
    log = household()
    add(log, LAPTOP, TABLET)
    add(log, TABLET, THIEF)
    look_twice(log, THIEF)
    assert young(log) == {"tablet", "thief"}


def test_who_leaves_takes_nobody_along() -> None:
    log = household()
    add(log, DESK, TABLET)
    remove(log, DESK, DESK)
    assert active(log) == {"laptop", "phone", "tablet"}


def test_a_removal_may_keep_what_it_would_strike() -> None:
    log = household()
    tablet = hash_of(add(log, DESK, TABLET))
    log.merge([remove_key(log, PHONE, DESK.node_id, keep=(tablet,))])
    assert active(log) == {"laptop", "phone", "tablet"}


def test_looks_are_wanted_twice_and_then_no_more() -> None:
    log = household()
    assert not wants_witness(log, PHONE.node_id, 1_000_000)
    add(log, LAPTOP, TABLET)
    assert not wants_witness(log, LAPTOP.node_id, 1_000_000)
    assert not wants_witness(log, TABLET.node_id, 1_000_000)
    assert wants_witness(log, PHONE.node_id, 1_000_000)
    log.merge([witness(log, PHONE, 1_000_000)])
    assert not wants_witness(log, PHONE.node_id, 1_000_000 + VETO_S - 1)
    assert wants_witness(log, PHONE.node_id, 1_000_000 + VETO_S)
    log.merge([witness(log, PHONE, 1_000_000 + VETO_S)])
    assert not wants_witness(log, PHONE.node_id, 10_000_000)
    assert not wants_witness(log, THIEF.node_id, 10_000_000)


# -- new words -------------------------------------------------------------------------------------------------------


def test_new_words_take_the_place_of_the_old() -> None:
    log = household()
    there = copy_of(log)
    log.merge([rekey(log, RECOVERY, NEW_WORDS)])
    with pytest.raises(NotAllowed, match="replaced"):
        remove_device(log, RECOVERY, PHONE.node_id)
    remove(there, RECOVERY, PHONE)  # a thief with the old words, which has not seen it
    log.merge(list(there.entries.values()))
    assert active(log) == {"laptop", "phone", "desk"}
    remove(log, NEW_WORDS, DESK)
    assert active(log) == {"laptop", "phone"}


def test_old_words_from_the_bin_do_not_undo_new_ones_that_were_known() -> None:
    log = household()
    there = copy_of(log)
    log.merge([rekey(log, RECOVERY, NEW_WORDS)])
    look_twice(log, PHONE)
    there.merge([rekey(there, RECOVERY, DeviceKey.from_seed(b"T" * 32))])
    log.merge(list(there.entries.values()))
    assert NEW_WORDS.node_id in log.keys
    assert DeviceKey.from_seed(b"T" * 32).node_id not in log.keys


def test_two_new_words_at_once_leave_none_until_guardians_speak() -> None:
    log = household()
    log.merge([set_guardians(log, RECOVERY, quorum())])
    there = copy_of(log)
    log.merge([rekey(log, RECOVERY, NEW_WORDS)])
    other = DeviceKey.from_seed(b"T" * 32)
    there.merge([rekey(there, RECOVERY, other)])
    log.merge(list(there.entries.values()))
    assert not {RECOVERY.node_id, NEW_WORDS.node_id, other.node_id} & log.keys.keys()
    guardians = next(key for key in log.keys if key == log.history.hashes[log.keys[key]] and key != ACCOUNT)
    log.merge([by_quorum(rekey_entry(log, guardians, DeviceKey.from_seed(b"g" * 32)), *FRIENDS[:2])])
    assert DeviceKey.from_seed(b"g" * 32).node_id in log.keys


def test_no_device_and_no_passkey_makes_new_words() -> None:
    log = household()
    thumb = passkey(log, RECOVERY)
    with pytest.raises(NotAllowed, match="rank"):
        rekey(log, LAPTOP, NEW_WORDS)
    with pytest.raises(NotAllowed, match="rank"):
        rekey_entry(log, id_of(thumb), NEW_WORDS)
    with pytest.raises(NotAllowed, match="rank"):
        set_guardians(log, LAPTOP, quorum())


# -- guardians and holders -------------------------------------------------------------------------------------------


def test_guardians_bring_an_account_back_and_the_words_stay_above_them() -> None:
    log = household()
    chosen = set_guardians(log, RECOVERY, quorum())
    log.merge([chosen])
    log.merge([by_quorum(device_entry(log, hash_of(chosen), claim(TABLET)), *FRIENDS[1:])])
    assert "tablet" in active(log)
    assert young(log) == set()
    with pytest.raises(NotAllowed, match="a weight of 1"):
        by_quorum(device_entry(log, hash_of(chosen), claim(THIEF)), FRIENDS[0])
    with pytest.raises(NotAllowed, match="weighs more"):
        removal_entry(log, hash_of(chosen), RECOVERY.node_id)
    there = copy_of(log)
    log.merge([remove_key(log, RECOVERY, hash_of(chosen))])
    there.merge([by_quorum(device_entry(there, hash_of(chosen), claim(THIEF)), *FRIENDS[:2])])
    log.merge(list(there.entries.values()))
    assert "thief" not in active(log)


def test_new_guardians_take_the_place_of_the_old() -> None:
    log = household()
    old = set_guardians(log, RECOVERY, quorum())
    log.merge([old])
    log.merge([set_guardians(log, RECOVERY, None)])
    with pytest.raises(NotAllowed, match="replaced"):
        device_entry(log, hash_of(old), claim(TABLET))


def test_an_account_of_several_holders_is_moved_by_enough_of_them() -> None:
    begun = shared_genesis(quorum(), "the house", b"s" * 16)
    first = by_quorum(begun, *FRIENDS[:2])
    log = KeyLog()
    log.merge([first])
    with pytest.raises(NotAllowed):
        add_device(log, FRIENDS[0], claim_for(log, TABLET))
    entry_of = claim_for(log, TABLET)
    log.merge([by_quorum(device_entry(log, log.account, entry_of), *FRIENDS[1:])])
    assert active(log) == {"tablet"}
    assert young(log) == set()
    alone = device_entry(log, log.account, claim_for(log, LAPTOP))
    with pytest.raises(BadSignature):
        log.merge([by_quorum(alone, FRIENDS[0], of=quorum(1))])
    with pytest.raises(BadSignature):
        KeyLog().merge([by_quorum(begun, FRIENDS[0], of=quorum(1))])


def claim_for(log: KeyLog, device: DeviceKey):
    return accept_claim(device, log.account, "tablet", root_certificate(device))


def test_nonsense_is_said_to_be() -> None:
    log = household()
    with pytest.raises(BadRequest, match="no key"):
        remove_key(log, LAPTOP, "nobody")
    with pytest.raises(BadRequest, match="no key"):
        approve(log, RECOVERY, "nobody")
    thumb = passkey(log, RECOVERY)
    with pytest.raises(BadRequest, match="already"):
        add_passkey(log, RECOVERY, thumb.credential, thumb.public, thumb.rp, "again")
    assert guardians_entry(log, RECOVERY.node_id, None).quorum is None
