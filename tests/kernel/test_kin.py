"""Kin: who may come, for which reasons, and when that ends."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldos.kernel import kin as kin_module
from worldos.kernel.effects import Forget, Notice, Welcome
from worldos.kernel.kin import Kin
from worldos.model.limits import NEVER_NS
from worldos.model.realm import Contact, RealmId
from worldos.trust.keys import DeviceKey
from worldos.trust.roots import root_certificate

KEYS = [DeviceKey.from_seed(bytes([number]) * 32) for number in range(8)]


def contact(number: int, *addresses: str) -> Contact:
    key = KEYS[number]
    return Contact(
        node=key.node_id,
        name=f"n{number}",
        site=RealmId("site"),
        root_cert=root_certificate(key),
        addresses=addresses or (f"10.0.0.{number}:1",),
    )


A, B, C = contact(0), contact(1), contact(2)


def test_a_new_contact_is_welcomed_once() -> None:
    kin = Kin()
    assert kin.welcome(0, A, "council of R", NEVER_NS) == [Welcome(contact=A)]
    assert kin.welcome(0, A, "council of R", NEVER_NS) == []
    assert kin.has(A.node)
    assert kin.reasons(A.node) == ("council of R",)
    assert kin.contact(A.node) == A


def test_new_addresses_are_welcomed_again() -> None:
    kin = Kin()
    kin.welcome(0, A, "council of R", NEVER_NS)
    moved = contact(0, "192.0.2.1:7")
    assert kin.welcome(1, moved, "council of R", NEVER_NS) == [Welcome(contact=moved)]


def test_a_guests_word_does_not_move_who_stands() -> None:
    kin = Kin()
    kin.welcome(0, A, "council of R", NEVER_NS)
    assert kin.welcome(1, contact(0, "192.0.2.66:6"), "guest", 100) == []
    assert kin.contact(A.node) == A
    kin.welcome(0, B, "guest", 100)
    assert kin.welcome(1, contact(1, "192.0.2.2:2"), "guest", 100) == [Welcome(contact=contact(1, "192.0.2.2:2"))]


def test_the_last_reason_that_goes_takes_the_node_with_it() -> None:
    kin = Kin()
    kin.welcome(0, A, "council of R", NEVER_NS)
    kin.welcome(0, A, "child of R", NEVER_NS)
    assert kin.part(A.node, "council of R") == []
    assert kin.part(A.node, "never said") == []
    assert kin.part(A.node, "child of R") == [Forget(node=A.node, why="it was child of R, and is no more")]
    assert kin.part(A.node, "child of R") == []
    assert not kin.has(A.node)
    assert kin == Kin()


def test_a_guest_goes_when_its_time_is_over_and_stays_when_it_is_prolonged() -> None:
    kin = Kin()
    kin.welcome(0, A, "guest", 100)
    kin.welcome(0, B, "guest", 50)
    assert kin.due_ns == 50
    kin.welcome(10, B, "guest", 200)
    kin.welcome(11, B, "guest", 20)  # an earlier end shortens nothing
    assert kin.expire(60) == []
    assert kin.due_ns == 100
    assert kin.expire(100) == [Forget(node=A.node, why="it was guest, and is no more")]
    assert kin.due_ns == 200
    assert kin.welcome(300, C, "guest", 300) == []  # over before it began
    assert kin.expire(200) == [Forget(node=B.node, why="it was guest, and is no more")]
    assert kin.due_ns == NEVER_NS


def test_a_set_is_replaced_as_a_whole() -> None:
    kin = Kin()
    kin.replace(0, "council of R", (A, B))
    kin.welcome(0, B, "guest", 100)
    assert kin.replace(1, "council of R", (A, C)) == [Welcome(contact=C)]  # B still is a guest
    assert kin.replace(2, "council of R", ()) == [
        Forget(node=node, why="it was council of R, and is no more") for node in sorted([A.node, C.node])
    ]
    assert kin.reasons(B.node) == ("guest",)


def test_this_node_is_no_kin_of_itself() -> None:
    kin = Kin(me=A.node)
    assert kin.replace(0, "council of R", (A,)) == []
    assert not kin.has(A.node)


@pytest.mark.parametrize("changes", [{"root_cert": B.root_cert}, {"node": "nobody"}, {"node": "ü" * 52}])
def test_a_contact_whose_certificate_is_not_its_own_is_refused(changes) -> None:
    kin = Kin()
    (notice,) = kin.welcome(0, msgspec.structs.replace(A, **changes), "council of R", NEVER_NS)
    assert isinstance(notice, Notice)
    assert kin == Kin()


def test_guests_never_put_out_who_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kin_module, "KIN_GUESTS_MAX", 1)
    monkeypatch.setattr(kin_module, "KIN_STANDING_MAX", 2)
    kin = Kin()
    kin.welcome(0, A, "guest", 100)
    assert isinstance(kin.welcome(0, B, "guest", 100)[0], Notice)
    kin.welcome(0, A, "council of R", NEVER_NS)  # the guest stays for good, and makes room for another
    assert kin.welcome(0, B, "guest", 100) == [Welcome(contact=B)]
    assert kin.welcome(0, C, "child of R", NEVER_NS) == [Welcome(contact=C)]
    assert isinstance(kin.welcome(0, contact(3), "child of R", NEVER_NS)[0], Notice)


def test_one_reason_and_one_node_have_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kin_module, "KIN_PER_REASON_MAX", 2)
    monkeypatch.setattr(kin_module, "KIN_REASONS_MAX", 2)
    kin = Kin()
    kin.replace(0, "child of R", (A, B, C))
    assert not kin.has(C.node)
    kin.welcome(0, A, "second", NEVER_NS)
    assert isinstance(kin.welcome(0, A, "third", NEVER_NS)[0], Notice)
    assert kin.welcome(0, A, "second", NEVER_NS) == []


ACTS = st.tuples(
    st.sampled_from(["welcome", "part", "replace", "expire"]),
    st.integers(0, 5),
    st.sampled_from(["x", "y", "z"]),
    st.sampled_from([5, 20, NEVER_NS]),
)


@given(st.lists(ACTS, max_size=40))
@settings(max_examples=60)
def test_whatever_happens_the_counts_are_right_and_what_was_said_fits(acts) -> None:
    kin = Kin()
    linked: set[str] = set()
    for now_ns, (act, number, reason, until_ns) in enumerate(acts):
        if act == "welcome":
            effects = kin.welcome(now_ns, contact(number), reason, until_ns)
        elif act == "part":
            effects = kin.part(contact(number).node, reason)
        elif act == "replace":
            effects = kin.replace(now_ns, reason, tuple(contact(n) for n in range(number)))
        else:
            effects = kin.expire(now_ns)
        for effect in effects:
            if isinstance(effect, Welcome):
                linked.add(effect.contact.node)
            elif isinstance(effect, Forget):
                linked.remove(effect.node)
        assert linked == set(kin.table)
        assert kin.standing == sum(each.stands for each in kin.table.values())
        assert sum(kin.counts.values()) == sum(len(each.reasons) for each in kin.table.values())
        assert all(each.reasons for each in kin.table.values())
        assert kin.due_ns <= min((u for each in kin.table.values() for u in each.reasons.values()), default=NEVER_NS)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(kin), type=Kin) == kin
