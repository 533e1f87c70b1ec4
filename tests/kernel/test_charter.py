"""The charter: what a council may agree on, what is refused and why, and that replicas agree."""

import contextlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldos.errors import PeerBroke
from worldos.kernel import charter as charter_module
from worldos.kernel.charter import (
    Allotment,
    Allotted,
    Charter,
    ChildAdmitted,
    ChildCouncil,
    ChildLeft,
    Command,
    EpochBegan,
    Named,
    ParentAdded,
    ParentLeft,
    PolicySet,
    Seated,
    Spent,
    decode_command,
    decode_state,
    encode_command,
    encode_state,
    merge,
    name_from,
    name_refusal,
)
from worldos.model.ids import NodeId
from worldos.model.realm import DEPTH_MAX, PARENTS_MAX, Contact, Epoch, Level, ParentRecord, RealmId


def contact(name: str) -> Contact:
    return Contact(node=NodeId(name), name=name, site=RealmId("site"), root_cert=b"", addresses=())


def charter() -> Charter:
    return Charter(realm=RealmId("acme"), name="acme", level=Level.ENTERPRISE)


def parent(realm: str, level: Level = Level.GROUP, *, lineage: tuple[str, ...] = ()) -> ParentAdded:
    record = ParentRecord(realm=RealmId(realm), name=realm, level=level, path=realm, contacts=(contact("p"),))
    return ParentAdded(parent=record, lineage=tuple(RealmId(each) for each in lineage))


def child(realm: str, name: str = "", level: Level = Level.HOME, *, lineage: tuple[str, ...] = ()) -> ChildAdmitted:
    above = tuple(RealmId(each) for each in lineage)
    return ChildAdmitted(realm=RealmId(realm), name=name or realm, level=level, council=(contact("c"),), lineage=above)


def say(charter: Charter, *commands: Command) -> list[str]:
    return [charter.apply(encode_command(command)) for command in commands]


def allotted(amount: int, child: str = "berlin", what: str = "wos") -> Allotted:
    return Allotted(child=RealmId(child), what=what, amount=amount)


def spent(total: int, child: str = "berlin", what: str = "wos") -> Spent:
    return Spent(child=RealmId(child), what=what, total=total)


# -- each command ---------------------------------------------------------------------------------------------------------


def test_an_epoch_number_is_given_once() -> None:
    acme = charter()
    assert say(acme, EpochBegan(number=1, primary=NodeId("a"))) == [""]
    assert say(acme, EpochBegan(number=1, primary=NodeId("b"))) == ["stale epoch: 1, it is 1 already"]
    assert (acme.epoch, acme.primary) == (Epoch(1), "a")
    assert say(acme, EpochBegan(number=7, primary=NodeId("b"))) == [""]
    assert (acme.epoch, acme.primary) == (Epoch(7), "b")


def test_a_name_is_taken_once_and_free_again_when_its_bearer_leaves() -> None:
    acme = charter()
    assert say(acme, child("r1", "berlin"), child("r2", "berlin")) == ["", "the name berlin is taken here"]
    assert say(acme, child("r1", "berlin"), child("r1", "bonn"), child("r2", "berlin")) == ["", "", ""]
    assert say(acme, ChildLeft(realm=RealmId("r2")), child("r3", "berlin")) == ["", ""]
    assert say(acme, ChildLeft(realm=RealmId("r2"))) == ["unknown child"]
    assert {realm: each.name for realm, each in acme.children.items()} == {"r1": "bonn", "r3": "berlin"}


@pytest.mark.parametrize("name", ["berlin", "b", "9", "a-b", "x" * 63])
def test_a_word_is_a_name(name: str) -> None:
    assert name_refusal(name) == ""
    assert say(charter(), child("r", name)) == [""]


@pytest.mark.parametrize(
    "name", ["", "Berlin", "-a", "a-", "a/b", "a.b", "a b", "x" * 64, "münchen", "\u0430cme", "a\n"]
)
def test_what_is_no_word_is_no_name(name: str) -> None:
    acme = charter()
    before = encode_state(acme)
    assert name_refusal(name)
    refusals = say(
        acme, child("r", "ok"), msgspec.structs.replace(child("r"), name=name), ChildLeft(realm=RealmId("r"))
    )
    assert refusals[1]
    assert say(acme, Named(name=name, level=Level.HOME))[0]
    assert encode_state(acme) == before


@given(st.text(max_size=80))
def test_any_text_gives_a_name(text: str) -> None:
    assert name_refusal(name_from(text)) == ""


def test_names_of_machines_stay_readable() -> None:
    assert name_from("Ann's MacBook Pro.local") == "ann-s-macbook-pro-local"
    assert name_from("日本") == "realm"


def test_a_parent_is_above_and_no_descendant() -> None:
    acme = charter()
    assert say(acme, child("berlin")) == [""]
    assert say(acme, parent("acme")) == ["a loop: acme is below this realm"]
    assert say(acme, parent("berlin")) == ["a loop: berlin is below this realm"]
    assert say(acme, parent("liar", lineage=("earth", "acme"))) == ["a loop: liar is below this realm"]
    assert say(acme, parent("liar", lineage=("berlin", "liar"))) == ["a loop: liar is below this realm"]
    assert say(acme, parent("peer", Level.ENTERPRISE)) == ["a realm must be of a lower level than its parents"]
    assert say(acme, parent("eu", lineage=("earth", "eu")), parent("eu", lineage=("mars", "eu"))) == ["", ""]
    assert acme.lineages == {"eu": ("mars", "eu")}
    deep = tuple(f"r{n}" for n in range(DEPTH_MAX - 1))
    assert say(acme, parent("deep", lineage=deep)) == [f"{DEPTH_MAX} realms above each other are the most"]


def test_a_child_is_below_and_no_ancestor() -> None:
    acme = charter()
    say(acme, parent("eu", lineage=("earth", "eu")))
    assert say(acme, child("eu")) == ["a loop: eu is above this realm"]
    assert say(acme, child("earth")) == ["a loop: earth is above this realm"]
    assert say(acme, child("acme")) == ["a loop: acme is above this realm"]
    assert say(acme, child("moon", lineage=("moon", "earth"))) == ["a loop: moon is above this realm"]
    assert say(acme, child("peer", level=Level.ENTERPRISE)) == ["a realm must be of a higher level than its children"]
    assert say(acme, msgspec.structs.replace(child("mute"), council=())) == ["somebody must speak for a child"]


def test_a_level_stays_between_parents_and_children() -> None:
    acme = charter()
    say(acme, parent("eu"), child("berlin"))
    assert say(acme, Named(name="acme", level=Level.GROUP)) == ["a realm must be of a lower level than its parents"]
    assert say(acme, Named(name="acme", level=Level.HOME)) == ["a realm must be of a higher level than its children"]
    assert say(acme, ParentLeft(realm=RealmId("eu")), Named(name="ajax", level=Level.NATION)) == ["", ""]
    assert (acme.name, acme.level) == ("ajax", Level.NATION)
    assert say(acme, ParentLeft(realm=RealmId("eu"))) == ["unknown parent"]


def test_parents_are_few() -> None:
    acme = charter()
    refusals = say(acme, *(parent(f"p{n}") for n in range(PARENTS_MAX + 1)), parent("p0"))
    assert refusals == [""] * PARENTS_MAX + [f"{PARENTS_MAX} parents are the most", ""]


def test_children_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charter_module, "CHARTER_CHILDREN_MAX", 2)
    assert say(charter(), child("a"), child("b"), child("c"), child("a")) == ["", "", "2 children are the most", ""]


def test_who_speaks_for_a_child_does_not_go_back_in_time() -> None:
    acme = charter()

    def told(number: int, who: str, *, provisional: bool = False) -> ChildCouncil:
        return ChildCouncil(realm=RealmId("berlin"), epoch=Epoch(number, provisional), council=(contact(who),))

    assert say(acme, told(1, "a")) == ["unknown child"]
    assert say(acme, child("berlin"), told(5, "a"), told(5, "b", provisional=True)) == [
        "",
        "",
        "stale epoch: 5, it is 5 already",
    ]
    assert say(acme, told(6, "b", provisional=True), told(6, "a"), told(6, "c")) == ["", "", ""]
    assert acme.children[RealmId("berlin")].council == (contact("c"),)
    say(acme, child("berlin", "b"))
    assert acme.children[RealmId("berlin")].epoch == Epoch(6), "a new name is no new time"


def test_seats_are_some_and_each_node_has_one() -> None:
    acme = charter()
    a, b = contact("a"), contact("b")
    assert say(acme, Seated(contacts=()), Seated(contacts=(a, a)), Seated(contacts=(a, b))) == [
        "a council has at least one seat",
        "each node has one seat",
        "",
    ]
    assert acme.contact_of(NodeId("b")) == b
    assert acme.contact_of(NodeId("c")) is None


def test_a_realm_is_of_those_who_began_it_whoever_sits_later() -> None:
    acme = Charter(realm=RealmId("new"), name="", level=Level.GROUP)
    a, b = contact("a"), msgspec.structs.replace(contact("b"), site=RealmId("another"))
    say(acme, Seated(contacts=(a,)), Seated(contacts=(b, a)), Seated(contacts=(b,)))
    assert acme.owner == a.site


def test_policies_are_words_and_lending_has_two_ways() -> None:
    acme = charter()
    assert acme.lend == "own"
    assert say(acme, PolicySet(key="lend", value="kin"), PolicySet(key="lend", value="all")) == [
        "",
        "lend is one of: own, kin",
    ]
    assert acme.lend == "kin"
    assert say(acme, PolicySet(key="lend", value=""), PolicySet(key="NO", value="1"))[0] == ""
    assert acme.lend == "own"
    assert acme.policy == {}


# -- allotments -----------------------------------------------------------------------------------------------------------


def test_nobody_is_allotted_what_there_is_not() -> None:
    acme = charter()
    say(acme, child("berlin"), child("bonn"))
    assert say(acme, allotted(1)) == ["over-allotted: there are 0 in all"]
    say(acme, PolicySet(key="total.wos", value="100"))
    assert say(acme, allotted(60), allotted(41, "bonn"), allotted(40, "bonn")) == [
        "",
        "over-allotted: there are 100 in all",
        "",
    ]
    assert say(acme, allotted(60), allotted(50)) == ["", "an allotment only grows: it is 60 already"]
    assert say(acme, PolicySet(key="total.wos", value="99")) == ["more than that is allotted already"]
    assert say(acme, PolicySet(key="total.wos", value="")) == ["more than that is allotted already"]
    assert say(acme, allotted(1, "nobody")) == ["unknown child"]


def test_nobody_spends_more_than_it_was_allotted() -> None:
    acme = charter()
    say(acme, child("berlin"), PolicySet(key="total.wos", value="100"), allotted(60))
    assert say(acme, spent(1, "bonn"), spent(61), spent(60), spent(20)) == [
        "nothing was allotted to it",
        "over-allotted: 60 may be spent",
        "",
        "",
    ]
    assert acme.allotments["berlin"]["wos"] == Allotment(amount=60, spent=60)
    say(acme, ChildLeft(realm=RealmId("berlin")))
    assert acme.allotments["berlin"]["wos"].left == 0, "what is spent stays spent"


@pytest.mark.parametrize("value", ["-1", "1.5", "x", "²", "9" * 19, "1" * 30])
def test_a_total_is_a_whole_number(value: str) -> None:
    acme = charter()
    assert say(acme, PolicySet(key="total.wos", value=value))[0].startswith("a total is")
    assert acme.policy == {}


HISTORY = st.lists(st.integers(0, 10), max_size=8)


@given(st.integers(0, 40), HISTORY, st.randoms(use_true_random=False))
def test_an_island_spends_only_what_it_had_and_any_order_of_merges_gives_the_same(amount, spends, shuffle) -> None:
    """The spender's own history, told in any order, twice and with gaps, ends as its last word."""
    mine, told = Allotment(amount=amount), [Allotment(), Allotment(amount=amount)]
    for each in spends:
        after = mine.spend(each)
        assert (after is None) == (mine.left < each)
        mine = after or mine
        assert mine.spent <= mine.amount
        told.append(mine)
    heard = told + told[::2]
    shuffle.shuffle(heard)
    known = Allotment()
    for each in heard:
        known = merge(known, each)
        assert known.spent <= known.amount or known.amount == 0
    assert known == mine


# -- bytes ----------------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_bytes_that_are_no_command_are_refused_and_change_nothing(data: bytes) -> None:
    acme = charter()
    before = encode_state(acme)
    with contextlib.suppress(PeerBroke):
        decode_command(data)
        return  # chance wrote a command
    assert acme.apply(data)
    assert encode_state(acme) == before


def test_what_is_too_long_or_no_charter_is_refused() -> None:
    with pytest.raises(PeerBroke):
        decode_command(bytes(64 * 1024 + 1))
    forged = charter()
    forged.policy["total.wos"] = "many"
    for data in (b"", b"\xc1", msgspec.msgpack.encode({"realm": "r"}), encode_state(forged)):
        with pytest.raises(PeerBroke):
            decode_state(data)


# -- replicas -------------------------------------------------------------------------------------------------------------

REALMS = st.sampled_from([RealmId(f"r{n}") for n in range(4)] + [RealmId("acme")])
NAMES = st.sampled_from(["north", "south", "Bad", "a-b"])
LEVELS = st.sampled_from(list(Level))
COUNCILS = st.lists(st.sampled_from([contact(n) for n in "abc"]), max_size=3).map(tuple)
LINEAGES = st.lists(REALMS, max_size=3).map(tuple)
NUMBERS = st.integers(0, 30)
THINGS = st.sampled_from(["wos", "disk"])
RECORDS = st.builds(ParentRecord, realm=REALMS, name=NAMES, level=LEVELS, path=NAMES, contacts=COUNCILS)
COMMANDS = st.one_of(
    st.builds(EpochBegan, number=NUMBERS, primary=st.sampled_from([NodeId("a"), NodeId("b")])),
    st.builds(Named, name=NAMES, level=LEVELS),
    st.builds(Seated, contacts=COUNCILS),
    st.builds(ParentAdded, parent=RECORDS, lineage=LINEAGES),
    st.builds(ParentLeft, realm=REALMS),
    st.builds(ChildAdmitted, realm=REALMS, name=NAMES, level=LEVELS, council=COUNCILS, lineage=LINEAGES),
    st.builds(ChildCouncil, realm=REALMS, epoch=st.builds(Epoch, NUMBERS, st.booleans()), council=COUNCILS),
    st.builds(ChildLeft, realm=REALMS),
    st.builds(PolicySet, key=st.sampled_from(["lend", "total.wos", "total.disk"]), value=NUMBERS.map(str)),
    st.builds(Allotted, child=REALMS, what=THINGS, amount=NUMBERS),
    st.builds(Spent, child=REALMS, what=THINGS, total=NUMBERS),
)


def check(charter: Charter, epochs: list[int]) -> None:
    names = [each.name for each in charter.children.values()]
    assert len(set(names)) == len(names)
    assert all(name_refusal(name) == "" for name in (*names, charter.name))
    assert all(each.level < charter.level for each in charter.children.values())
    assert all(each.level > charter.level for each in charter.parents.values())
    assert charter.realm not in {*charter.children, *charter.parents}
    assert charter.children.keys().isdisjoint(charter.parents)
    assert charter.parents.keys() == charter.lineages.keys()
    for lineage in charter.lineages.values():
        assert charter.realm not in lineage
        assert charter.children.keys().isdisjoint(lineage)
    for what in ("wos", "disk"):
        assert charter.allotted(what) <= charter.total(what)
    assert all(each.spent <= each.amount for mine in charter.allotments.values() for each in mine.values())
    assert epochs == sorted(set(epochs))


@given(st.lists(COMMANDS, max_size=40), st.integers(0, 40))
@settings(max_examples=150)
def test_any_commands_keep_the_invariants_and_replicas_agree(commands: list[Command], restored_after: int) -> None:
    one, other = charter(), charter()
    epochs: list[int] = []
    for number, command in enumerate(commands):
        if number == restored_after:
            other = decode_state(encode_state(one))
        before = encode_state(one)
        data = encode_command(command)
        assert decode_command(data) == command
        why = one.apply(data)
        assert other.apply(data) == why
        assert not why or encode_state(one) == before, "a refused command changed something"
        if isinstance(command, EpochBegan) and not why:
            epochs.append(command.number)
        check(one, epochs)
    assert encode_state(one) == encode_state(other)
    assert decode_state(encode_state(one)) == one
