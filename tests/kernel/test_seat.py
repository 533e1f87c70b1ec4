"""Seats: who may act as primary, and when; councils that grow, lose their leader, and are lied to by time."""

import msgspec
import pytest
from tests.kernel.seats import REALM, Pump, contact

from worldos.kernel import effects as shell
from worldos.kernel import seat as seat_module
from worldos.kernel.charter import ChildAdmitted, EpochBegan, Named, PolicySet, Seated, encode_command
from worldos.kernel.dice import Dice
from worldos.kernel.raft import LAN, WAN
from worldos.kernel.seat import CHANGED, NOT_PRIMARY, ONLY_COUNCIL, CharterChanged, Seat, Unseated
from worldos.kernel.stored import Recovered
from worldos.model.ids import NodeId
from worldos.model.limits import EPOCH_LEAP_MAX, MS, SEAT_DEAD_NS, SEAT_LONE_NS, SECOND
from worldos.model.raft import AppendAsk, Config, Entry, Snapshot
from worldos.model.realm import Center, Contact, Epoch, Level, RealmId


def child(name: str) -> ChildAdmitted:
    return ChildAdmitted(realm=RealmId(f"r-{name}"), name=name, level=Level.PERSONAL, council=(contact("z"),))


def council(names: str) -> Pump:
    """A pump whose council has grown to its size, led by ``a``."""
    pump = Pump()
    pump.members = list(names)
    pump.run(20 * SECOND)
    assert pump.primary().me == "a"
    return pump


def recovered(damaged: str = "", snapshot: Snapshot | None = None) -> Recovered:
    return Recovered(vote=None, snapshot=snapshot, entries=(), damaged=damaged, life=2)


# -- founding and growing -------------------------------------------------------------------------------------------------


def test_who_founds_a_realm_is_its_primary_at_once() -> None:
    pump = Pump()
    pump.run(100 * MS)
    seat = pump.primary()
    assert seat.epoch == Epoch(1)
    assert (seat.charter.name, seat.charter.level) == ("home", Level.HOME)
    assert seat.charter.seats == (contact("a"),)
    assert seat.charter.primary == "a"
    assert pump.reigns == [("a", 1)]


def test_a_council_grows_to_three_and_five_and_all_know_each_other() -> None:
    pump = council("abc")
    assert pump.voters() == "abc"
    pump.members = list("abcdefg")
    pump.run(20 * SECOND)
    assert len(pump.voters()) == 5
    assert pump.reigns == [("a", 1)], "nobody is elected for it"
    voters = pump.voters()
    pump.run(2 * SECOND)
    for name in voters:
        assert pump.seats[NodeId(name)].charter.seats == tuple(contact(n) for n in voters)
        assert pump.seats[NodeId(name)].epoch == Epoch(1)


def test_where_a_member_is_found_is_written_down_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    pump = council("abc")

    def moved(name: str) -> Contact:
        return msgspec.structs.replace(contact(name), addresses=("elsewhere:9",))

    monkeypatch.setattr("tests.kernel.seats.contact", moved)
    pump.run(2 * SECOND)
    assert pump.seats[NodeId("c")].charter.seats == tuple(moved(n) for n in "abc")


def test_a_dead_member_is_replaced_and_hears_when_it_is_back_that_it_was() -> None:
    pump = council("abcd")
    assert pump.voters() == "abc"
    pump.kill("c")
    pump.run(SEAT_DEAD_NS + 10 * SECOND)
    assert pump.voters() == "abd"
    assert "c" not in [each.node for each in pump.primary().charter.seats]
    pump.restart("c")
    pump.run(2 * SEAT_DEAD_NS)
    assert pump.primary().me == "a", "it disturbs nobody"
    seat, here = pump.seats[NodeId("c")], pump.primary()
    told = Center(
        realm=REALM,
        name="home",
        level=Level.HOME,
        epoch=here.epoch,
        primary=contact("a"),
        council=here.charter.seats,
        path="home",
        lineage=(REALM,),
    )
    stale = msgspec.structs.replace(told, epoch=Epoch(1, provisional=True))
    named = msgspec.structs.replace(told, council=(contact("c"),))
    for nothing in (stale, named, msgspec.structs.replace(told, realm=RealmId("other"))):
        assert seat.center_told(pump.now_ns, nothing).happenings == []
    assert seat.center_told(pump.now_ns, told).happenings == [Unseated(realm=REALM)]


def test_a_member_that_is_let_go_while_it_listens_knows_it() -> None:
    pump = council("abc")
    pump.members = list("ab")  # c is revoked, say
    pump.cut = {frozenset("ac"), frozenset("bc")}
    pump.run(SEAT_DEAD_NS)
    pump.cut = set()
    pump.members = list("abd")
    pump.run(15 * SECOND)
    assert pump.voters() == "abd"
    assert pump.unseated == ["c"]


def test_a_much_fitter_member_is_handed_the_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldos.kernel.council.SEAT_FITTER_NS", 20 * SECOND)
    pump = council("abc")
    pump.fitness = {"a": 100, "b": 700, "c": 500}
    pump.run(40 * SECOND)
    assert pump.primary().me == "b"
    assert pump.reigns == [("a", 1), ("b", 2)]


# -- losing the leader ----------------------------------------------------------------------------------------------------


def test_a_leader_that_dies_is_followed_by_another_in_a_higher_epoch_soon() -> None:
    pump = council("abc")
    pump.kill("a")
    pump.run(400 * MS)
    assert pump.primary().me in "bc"
    assert pump.primary().epoch == Epoch(2)
    pump.restart("a")
    pump.run(3 * SECOND)
    assert pump.primary().me in "bc"
    assert pump.seats[NodeId("a")].charter == pump.primary().charter


def test_epoch_numbers_never_come_twice_whoever_dies() -> None:
    pump = council("abc")
    for _ in range(12):
        dying = pump.primary().me
        pump.kill(dying)
        pump.run(3 * SECOND)
        pump.restart(dying)
        pump.run(3 * SECOND)
    numbers = [number for _, number in pump.reigns]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 13


def test_without_a_majority_nobody_is_primary() -> None:
    pump = council("abc")
    pump.kill("b", "c")
    assert not pump.seats[NodeId("a")].is_primary(pump.now_ns + LAN.election_min_ns)
    pump.run(10 * SECOND)
    assert pump.primaries == {}
    pump.restart("b")
    pump.run(3 * SECOND)
    assert pump.primary().epoch == Epoch(2)


@pytest.mark.parametrize("sleep_ns", [600 * MS, 900 * MS, 30 * SECOND])
def test_a_primary_that_slept_does_nothing_when_it_wakes(sleep_ns: int) -> None:
    pump = council("abc")
    pump.tending = False
    pump.run(120 * MS)
    sleeper = pump.seats[NodeId("a")]
    pump.stopped.add("a")
    pump.run(sleep_ns)
    assert not sleeper.is_primary(pump.now_ns), "before it has heard anything"
    held = len(pump.held)
    assert held, "answers to its old heartbeats wait for it"
    while pump.held:
        node, what = pump.held.pop(0)
        pump.stopped.discard("a")
        pump.give(node, what)
        if "a" in pump.primaries:
            assert pump.primaries["a"] == 1
            assert not any(pump.seats[NodeId(n)].is_primary(pump.now_ns) for n in "bc")
        pump.propose(1000 + len(pump.held), PolicySet(key="total.stale", value="1"), at="a")
    pump.run(3 * SECOND)
    pump.check()
    assert pump.primary().charter.policy.get("total.stale") is None or pump.primary().me == "a"
    if sleep_ns > SECOND:
        assert pump.primary().me != "a"
        assert set(pump.answers.values()) == {NOT_PRIMARY}


def test_answers_that_waited_while_it_slept_give_no_lease() -> None:
    """The answer to a heartbeat of before the sleep is heard after it: that it comes now does not make it news."""
    pump = council("abc")
    pump.tending = False
    sleeper = pump.seats[NodeId("a")]
    round_before = sleeper.raft.reads.round
    while sleeper.raft.reads.round == round_before:
        pump.run(MS)
    pump.stopped.add("a")
    pump.run(5 * MS)
    answers = [what for node, what in pump.held if not isinstance(what, int)]
    assert len(answers) == 2
    woken_ns = pump.now_ns + LAN.election_min_ns
    for peer, said in answers:
        sleeper.heard(woken_ns, peer, said)
    assert sleeper.raft.is_leader
    assert not sleeper.is_primary(woken_ns)


def test_a_primary_whose_links_closed_is_no_primary_until_it_is_confirmed_again() -> None:
    pump = council("abc")
    seat = pump.primary()
    pump.carry(NodeId("a"), seat.unlinked(pump.now_ns, NodeId("b")))
    assert seat.is_primary(pump.now_ns), "one of two is enough"
    pump.carry(NodeId("a"), seat.unlinked(pump.now_ns, NodeId("c")))
    assert not seat.is_primary(pump.now_ns)
    assert pump.primaries == {}
    pump.run(LAN.heartbeat_ns + 5 * MS)
    assert seat.is_primary(pump.now_ns)
    assert pump.reigns == [("a", 1), ("a", 1)], "the same reign goes on"


def test_a_primary_that_is_cut_off_ends_before_another_begins() -> None:
    pump = council("abc")
    pump.isolate("a")
    for _ in range(300):
        pump.run(10 * MS)
        pump.check()
    assert "a" not in pump.primaries
    assert pump.primary().epoch == Epoch(2)
    pump.cut = set()
    pump.run(3 * SECOND)
    assert pump.seats[NodeId("a")].epoch == Epoch(2)


# -- epochs that were seen ------------------------------------------------------------------------------------------------


def test_a_reign_goes_above_an_island_that_was_seen() -> None:
    pump = council("abc")
    seat = pump.primary()
    for harmless in (Epoch(1, provisional=True), Epoch(1), Epoch(EPOCH_LEAP_MAX + 2, provisional=True)):
        pump.carry(seat.me, seat.raise_epoch(pump.now_ns, harmless))
    pump.run(100 * MS)
    assert seat.epoch == Epoch(1)
    pump.carry(seat.me, seat.raise_epoch(pump.now_ns, Epoch(5, provisional=True)))
    pump.carry(seat.me, seat.raise_epoch(pump.now_ns, Epoch(5, provisional=True)))
    pump.run(100 * MS)
    assert seat.is_primary(pump.now_ns)
    assert pump.reigns == [("a", 1), ("a", 6)]


def test_what_a_follower_saw_counts_when_it_leads() -> None:
    pump = council("abc")
    for name in "bc":
        pump.carry(NodeId(name), pump.seats[NodeId(name)].raise_epoch(pump.now_ns, Epoch(9, provisional=True)))
    pump.kill("a")
    pump.run(SECOND)
    assert pump.primary().epoch == Epoch(10)


# -- proposals ------------------------------------------------------------------------------------------------------------


def test_a_proposal_is_answered_by_the_charter() -> None:
    pump = council("abc")
    pump.propose(1, child("desk"))
    pump.propose(2, child("desk"))
    other = msgspec.structs.replace(child("desk"), realm=RealmId("other"))
    pump.propose(3, other)
    pump.propose(4, child("phone"), at="b")
    seat = pump.primary()
    for number, command in ((5, b"\xc1"), (6, b"")):
        pump.carry(seat.me, seat.propose(pump.now_ns, number, command))
    pump.propose(7, EpochBegan(number=99, primary=NodeId("c")))
    pump.propose(8, Seated(contacts=(contact("c"),)))
    pump.run(100 * MS)
    no_command = "a command that is not one of ours"
    assert pump.answers == {
        1: "",
        2: "",
        3: "the name desk is taken here",
        4: NOT_PRIMARY,
        5: no_command,
        6: no_command,
        7: ONLY_COUNCIL,
        8: ONLY_COUNCIL,
    }
    pump.run(SECOND)
    for each in pump.seats.values():
        assert each.charter.children.keys() == {"r-desk"}


def test_proposals_are_answered_while_the_council_changes() -> None:
    pump = Pump()
    pump.run(100 * MS)
    pump.members = list("abcdefg")
    for number in range(200):
        pump.propose(number, PolicySet(key=f"total.k{number % 50}", value=str(number)))
        pump.run(100 * MS)
    pump.run(SECOND)
    assert pump.answers == dict.fromkeys(range(200), "")
    assert len(pump.voters()) == 5
    charters = [pump.seats[NodeId(name)].charter for name in pump.voters()]
    assert all(charter == charters[0] for charter in charters)


def test_a_proposal_of_a_primary_that_is_cut_off_is_answered_too() -> None:
    pump = council("abc")
    pump.isolate("a")
    pump.propose(1, child("desk"))
    pump.run(5 * SECOND)
    assert pump.answers == {1: CHANGED}
    pump.propose(2, child("desk"))
    pump.cut = set()
    pump.run(5 * SECOND)
    assert pump.answers[2] == ""
    assert pump.seats[NodeId("a")].charter.children.keys() == {"r-desk"}


# -- snapshots and disks --------------------------------------------------------------------------------------------------


def test_the_log_is_compacted_and_a_newcomer_and_a_restart_get_the_charter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seat_module, "CHARTER_COMPACT_ENTRIES", 20)
    monkeypatch.setattr("worldos.kernel.raft.log.RAFT_KEPT_ENTRIES", 4)
    pump = Pump()
    pump.run(100 * MS)
    for number in range(50):
        pump.propose(number, PolicySet(key=f"total.k{number}", value="1"))
        pump.run(5 * MS)
    assert pump.disks[NodeId("a")].snapshot is not None
    assert len(pump.primary().raft.log.entries) < 30
    pump.members = list("abc")
    pump.run(20 * SECOND)
    assert pump.voters() == "abc"
    pump.kill("a")
    pump.run(SECOND)
    pump.restart("a")
    pump.run(SECOND)
    assert all(len(seat.charter.policy) == 50 for seat in pump.seats.values())
    assert all(seat.charter == pump.primary().charter for seat in pump.seats.values())


def test_a_member_with_a_damaged_disk_does_not_vote_before_it_is_mended() -> None:
    pump = council("abc")
    pump.kill("c")
    pump.disks[NodeId("c")].entries.clear()
    pump.disks[NodeId("c")].vote = None
    pump.restart("c", damaged="a flipped bit")
    assert pump.seats[NodeId("c")].raft.mending
    pump.run(2 * SECOND)
    assert not pump.seats[NodeId("c")].raft.mending
    pump.kill("a")
    pump.run(2 * SECOND)
    assert pump.primary().charter == pump.seats[NodeId("c")].charter


def test_a_lone_member_with_a_damaged_disk_waits_and_then_goes_on_alone() -> None:
    pump = Pump()
    pump.run(SECOND)
    pump.kill("a")
    pump.restart("a", damaged="a flipped bit")
    pump.run(SEAT_LONE_NS - SECOND)
    assert pump.primaries == {}, "perhaps the council grew since what the disk says"
    pump.run(2 * SECOND)
    assert pump.primary().epoch == Epoch(2)


def test_a_charter_that_cannot_be_read_is_named_and_never_led_by() -> None:
    snapshot = Snapshot(term=1, index=5, config=Config(voters=(NodeId("a"),)), state=b"nonsense")
    seat, _ = Seat.recover(REALM, NodeId("a"), recovered(snapshot=snapshot), 1, 0, LAN)
    outcome = seat.tick(0)
    assert [effect.name for effect in outcome.effects if isinstance(effect, shell.Notice)] == ["charter broken"]
    for number in range(1, 20):
        seat.persisted(number * MS, number)
    assert seat.raft.is_leader
    assert not seat.is_primary(20 * MS)
    assert seat.propose(20 * MS, 1, encode_command(child("x"))).happenings[0].why == NOT_PRIMARY


def test_a_seat_on_an_empty_disk_waits_for_a_leader() -> None:
    seat, outcome = Seat.recover(REALM, NodeId("a"), recovered(), 1, 0, LAN)
    assert outcome.effects == []
    for _ in range(20):
        assert seat.tick(seat.due_ns).effects == []
    assert not seat.is_primary(seat.due_ns)


def test_a_restarted_lone_member_leads_again_in_a_new_epoch() -> None:
    pump = Pump()
    pump.run(SECOND)
    pump.propose(1, child("desk"))
    pump.run(SECOND)
    pump.kill("a")
    pump.restart("a")
    pump.run(SECOND)
    assert pump.primary().epoch == Epoch(2)
    assert pump.primary().charter.children.keys() == {"r-desk"}


def test_members_of_a_council_that_all_restart_know_each_other_before_anything_is_committed() -> None:
    pump = council("abc")
    pump.kill("b")
    pump.cut = {frozenset("bc"), frozenset("ab")}
    pump.restart("b")
    seat = pump.seats[NodeId("b")]
    assert seat.due_ns == pump.now_ns
    assert seat.tick(pump.now_ns).happenings == [CharterChanged(realm=REALM)]
    assert seat.tick(seat.due_ns).happenings == [], "once"
    assert seat.charter.seats == ()
    assert seat.contacts == tuple(contact(n) for n in "abc")
    pump.cut = set()
    pump.run(5 * SECOND)
    assert seat.last_seats == ()
    assert seat.contacts == seat.charter.seats == tuple(contact(n) for n in "abc")


def test_all_of_a_council_are_as_quick_as_its_level_says() -> None:
    pump = council("abc")
    pump.propose(1, Named(name="earth", level=Level.PLANET))
    pump.run(SECOND)
    assert {seat.raft.pace for seat in pump.seats.values()} == {WAN}
    pump.kill("a")
    pump.restart("a")
    pump.run(5 * SECOND)
    assert {seat.raft.pace for seat in pump.seats.values()} == {WAN}
    pump.propose(2, Named(name="home", level=Level.HOME))
    pump.run(SECOND)
    assert {seat.raft.pace for seat in pump.seats.values()} == {LAN}


# -- what an old log says of this node ------------------------------------------------------------------------------------


def told(seat: Seat, committed: int, *configs: Config) -> list[object]:
    """Let leader ``a`` send a log that is nothing but configurations, one after the other."""
    happenings: list[object] = []
    for at, config in enumerate(configs):
        entries = (Entry(term=1, index=at + 1, config=config),)
        ask = AppendAsk(term=1, prev_index=at, prev_term=min(at, 1), committed=committed, entries=entries, round=1)
        happenings += seat.heard(0, NodeId("a"), ask).happenings
    return happenings


ALONE = Config(voters=(NodeId("a"),))
WITH_B = Config(voters=(NodeId("a"),), learners=(NodeId("b"),))


def newcomer() -> Seat:
    return Seat.invited(REALM, contact("b"), 1, 0, LAN)


def test_a_log_of_before_this_node_was_invited_unseats_nobody() -> None:
    assert told(newcomer(), 1, ALONE) == []


def test_a_log_that_tells_of_an_earlier_seat_unseats_nobody() -> None:
    assert told(newcomer(), 4, ALONE, WITH_B, ALONE) == [], "the leader has more to say"
    assert told(newcomer(), 4, ALONE, WITH_B, ALONE, WITH_B) == []


def test_a_log_that_ends_without_this_node_unseats_it() -> None:
    assert told(newcomer(), 3, ALONE, WITH_B, ALONE) == [Unseated(realm=REALM)]


def test_an_invitation_that_is_taken_back_before_the_log_comes_leaves_nothing() -> None:
    seat = newcomer()
    happenings: list[object] = []
    for _ in range(20):
        happenings += seat.tick(seat.due_ns).happenings
        if happenings:
            break
    assert happenings == [Unseated(realm=REALM)]
    taken = newcomer()
    assert told(taken, 1, ALONE, WITH_B) == []
    for _ in range(20):
        assert taken.tick(taken.due_ns).happenings == []


# -- anything may happen --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_cut_stopped_or_killed_one_acts_at_most_and_in_the_end_all_agree(seed: int) -> None:
    pump, dice = council("abcdefg"), Dice(state=seed)
    sent = 0
    for _ in range(40):
        name = dice.sample(pump.members, 1)[0]
        match dice.below(6):
            case 0:
                pump.isolate(name)
            case 1:
                pump.cut = set()
            case 2 if name not in pump.down | pump.stopped and len(pump.stopped) < 2:
                pump.stopped.add(name)
            case 3 if pump.stopped:
                pump.wake(min(pump.stopped))
            case 4 if len(pump.down) < 2 and name not in pump.down | pump.stopped:
                pump.kill(name)
            case 5 if pump.down:
                pump.restart(min(pump.down))
        for node in sorted(pump.primaries.keys() - pump.stopped - pump.down):
            pump.propose(sent, PolicySet(key="total.n", value=str(sent)), at=node)
            sent += 1
        for _ in range(dice.below(30)):
            pump.run(100 * MS)
            pump.check()
    pump.cut = set()
    for name in sorted(pump.stopped):
        pump.wake(name)
    for name in sorted(pump.down):
        pump.restart(name)
    pump.run(5 * SECOND)
    pump.propose(sent, child("last"))
    pump.run(5 * SECOND)
    assert pump.answers[sent] == ""
    charters = [pump.seats[NodeId(name)].charter for name in pump.voters()]
    assert all(charter == charters[0] for charter in charters)
    assert sent > 10
