"""Councils: who should sit, one step at a time; every small case, over time."""

import itertools

import msgspec
import pytest

from worldos.kernel.council import Council, HandOver, Sitter, Step
from worldos.kernel.raft.effects import AddLearner, Promote, Remove
from worldos.model.ids import NodeId
from worldos.model.limits import SEAT_DEAD_NS, SEAT_FITTER_NS, SEAT_GIVEN_UP_NS, SEAT_LEARN_NS, SECOND
from worldos.model.raft import Config
from worldos.model.realm import Contact, RealmId


def nodes(names: str) -> tuple[NodeId, ...]:
    return tuple(NodeId(name) for name in names)


def config(voters: str, learners: str = "") -> Config:
    return Config(voters=nodes(voters), learners=nodes(learners))


def sitter(name: str, fitness: int = 500, *, alive: bool = True) -> Sitter:
    contact = Contact(node=NodeId(name), name=name, site=RealmId("s"), root_cert=b"", addresses=())
    return Sitter(contact=contact, fitness=fitness, alive=alive)


def dead(name: str) -> Sitter:
    return sitter(name, alive=False)


class World:
    """A council as its leader sees it: takes each step at once; learners catch up in a second, or never (``stuck``)."""

    def __init__(self, start: Config, me: str = "a", stuck: str = "") -> None:
        self.config = start
        self.me = NodeId(me)
        self.stuck = stuck
        self.council = Council()
        self.now_ns = 0
        self.steps: list[Step] = []
        self.seen: dict[str, Sitter] = {}

    def see(self, *sitters: Sitter) -> None:
        self.seen.update({sitter.node: sitter for sitter in sitters})

    def run(self, seconds: int, every_s: int = 1) -> list[Step]:
        taken = []
        for _ in range(0, seconds, every_s):
            self.now_ns += every_s * SECOND
            ready = [n for n in self.config.learners if self.seen[n].alive and n not in self.stuck]
            step = self.council.next_step(self.now_ns, self.config, self.me, list(self.seen.values()), ready)
            if step is not None:
                self.take(step, ready)
                taken.append(step)
        self.steps += taken
        return taken

    def take(self, step: Step, ready: list[NodeId]) -> None:
        voters, learners = set(self.config.voters), set(self.config.learners)
        if isinstance(step, AddLearner):
            assert step.node not in voters | learners
            learners.add(step.node)
        elif isinstance(step, Promote):
            assert step.node in ready
            learners.remove(step.node)
            voters.add(step.node)
        elif isinstance(step, Remove):
            assert step.node != self.me, "a leader does not remove itself"
            assert step.node in voters | learners
            voters.discard(step.node)
            learners.discard(step.node)
        else:
            self.me = step.node
            self.council = Council()
        self.config = Config(voters=tuple(sorted(voters)), learners=tuple(sorted(learners)))
        if isinstance(step, Promote | Remove):
            assert self.works(), f"{step} leaves no working majority of {self.config.voters}"
        assert len(voters) + len(learners) <= 8

    def works(self) -> bool:
        alive = [n for n in self.config.voters if n == self.me or self.seen[n].alive]
        return len(alive) > len(self.config.voters) // 2


def world(voters: str, alive: str = "", gone: str = "", learners: str = "", stuck: str = "") -> World:
    made = World(config(voters, learners), stuck=stuck)
    made.see(*(sitter(n) for n in {*voters, *learners, *alive} - {*gone}), *(dead(n) for n in gone))
    return made


@pytest.mark.parametrize(("members", "seats"), [(1, 1), (2, 1), (3, 3), (6, 3), (7, 5), (9, 5)])
def test_a_council_grows_with_its_realm(members: int, seats: int) -> None:
    grown = world("a", alive="abcdefghi"[:members])
    grown.run(30)
    assert len(grown.config.voters) == seats
    assert grown.config.learners == ()
    assert grown.run(1000) == [], "and then rests"


def test_two_seats_are_added_together_so_that_two_voters_are_a_matter_of_a_moment() -> None:
    grown = world("a", alive="abc")
    assert grown.run(10) == [
        AddLearner(node=NodeId("b")),
        AddLearner(node=NodeId("c")),
        Promote(node=NodeId("b")),
        Promote(node=NodeId("c")),
    ]


def test_a_newcomer_that_does_not_catch_up_keeps_nobody_at_two_votes() -> None:
    grown = world("a", alive="abc", stuck="c")
    grown.run(int(SEAT_LEARN_NS // SECOND) + 20)
    assert len(grown.config.voters) == 1
    grown.see(sitter("d"))
    grown.run(30)
    assert grown.config.voters == nodes("abd")


def test_who_has_just_come_is_not_asked_yet() -> None:
    young = world("a", alive="abc")
    assert young.run(3) == []
    assert young.run(1) == [AddLearner(node=NodeId("b"))]


def test_a_dead_member_is_replaced_after_a_while_by_the_fittest_other() -> None:
    council = world("abc", alive="abc")
    council.see(dead("c"), sitter("d", fitness=400), sitter("e", fitness=700))
    assert council.run(int(SEAT_DEAD_NS // SECOND)) == []
    assert council.run(10) == [AddLearner(node=NodeId("e")), Promote(node=NodeId("e")), Remove(node=NodeId("c"))]
    assert council.run(1000) == []


def test_a_member_that_is_back_in_time_keeps_its_seat() -> None:
    council = world("abc", alive="abcd")
    for _ in range(20):
        council.see(dead("c"))
        assert council.run(25) == []
        council.see(sitter("c"))
        assert council.run(2) == []


def test_who_is_not_named_any_more_counts_as_dead() -> None:
    council = world("abc", alive="abcd")
    gone = council.seen.pop("c")
    council.run(int(SEAT_DEAD_NS // SECOND))
    council.see(msgspec.structs.replace(gone, alive=False))
    council.run(10)
    assert council.config.voters == nodes("abd")


def test_a_seat_that_nobody_can_take_is_given_up_late_and_the_number_stays_odd() -> None:
    council = world("abc", gone="c")
    assert council.run(int(SEAT_GIVEN_UP_NS // SECOND)) == []
    assert council.run(10) == [Remove(node=NodeId("c")), Remove(node=NodeId("b"))]
    council.see(sitter("c"))
    council.run(30)
    assert council.config.voters == nodes("abc"), "and taken again by who comes back"


def test_members_who_go_home_for_the_night_shrink_no_council_that_works() -> None:
    council = world("abcde", alive="abcdefg")
    council.see(dead("f"), dead("g"))
    assert council.run(2000) == []


def test_a_little_fitter_is_not_fit_enough_and_much_fitter_must_last() -> None:
    council = world("abc", alive="abc")
    council.see(sitter("c", fitness=100), sitter("d", fitness=150))
    assert council.run(2 * int(SEAT_FITTER_NS // SECOND)) == []
    council.see(sitter("d", fitness=700))
    assert council.run(int(SEAT_FITTER_NS // SECOND)) == []
    council.see(sitter("d", fitness=150))
    assert council.run(1) == []
    council.see(sitter("d", fitness=700))
    assert council.run(int(SEAT_FITTER_NS // SECOND)) == []
    assert council.run(10) == [AddLearner(node=NodeId("d")), Promote(node=NodeId("d")), Remove(node=NodeId("c"))]
    assert council.run(3000) == []


def test_a_lone_weak_founder_hands_over_to_a_server_and_leaves() -> None:
    council = world("a", alive="a")
    council.see(sitter("a", fitness=200), sitter("b", fitness=900))
    taken = council.run(int(SEAT_FITTER_NS // SECOND) + 20)
    assert taken == [
        AddLearner(node=NodeId("b")),
        Promote(node=NodeId("b")),
        HandOver(node=NodeId("b")),
        Remove(node=NodeId("a")),
    ]
    assert council.run(3000) == []


def test_a_weak_leader_lets_a_much_fitter_member_lead() -> None:
    council = world("abc", alive="abc")
    council.see(sitter("a", fitness=200), sitter("b", fitness=700), sitter("c", fitness=900))
    assert council.run(int(SEAT_FITTER_NS // SECOND) + 5) == [HandOver(node=NodeId("c"))]
    assert council.run(3000) == []


def test_a_liar_wins_one_seat_at_most_and_drives_out_nobody_who_is_half_fit() -> None:
    council = world("abc", alive="abc")
    council.see(sitter("liar", fitness=1 << 60), sitter("c", fitness=500))
    council.seen = {NodeId(n): msgspec.structs.replace(c, fitness=max(c.fitness, 501)) for n, c in council.seen.items()}
    assert council.run(2000) == []
    council.see(sitter("c", fitness=100))
    council.run(2000)
    assert council.config.voters == ("a", "b", "liar")
    assert council.me == "a", "it does not lead for that: the leader is half as fit"


def test_what_is_remembered_is_a_value() -> None:
    council = world("abc", alive="abd", gone="c", learners="e")
    council.run(2)
    memory = council.council
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(memory), type=Council) == memory


NAMES = "abcdef"


def starts() -> list[tuple[str, str]]:
    """Every council of 1 to 5 of six nodes with ``a`` as its leader, with up to two learners."""
    found = []
    for size in range(1, 6):
        for rest in itertools.combinations(NAMES[1:], size - 1):
            free = [n for n in NAMES if n != "a" and n not in rest]
            found += [("a" + "".join(rest), "".join(free[:count])) for count in range(min(2, len(free)) + 1)]
    return found


@pytest.mark.parametrize("alive_bits", range(32))
def test_from_every_small_council_that_works_it_comes_to_the_right_one_and_rests(alive_bits: int) -> None:
    alive = "a" + "".join(name for bit, name in enumerate(NAMES[1:]) if alive_bits >> bit & 1)
    for voters, learners in starts():
        council = World(config(voters, learners))
        council.see(*(sitter(n, alive=n in alive) for n in NAMES))
        if not council.works():
            continue
        council.run(int(SEAT_GIVEN_UP_NS // SECOND) + 300, every_s=15)
        assert council.run(100, every_s=10) == [], f"{voters}+{learners} does not rest"
        ended = council.config
        assert set(ended.voters) <= set(alive), f"{voters}+{learners} ends with the dead in {ended}"
        assert len(ended.voters) % 2 == 1
        assert len(ended.voters) >= (3 if len(alive) >= 3 else 1)
        assert len(ended.voters) >= min(len(alive) - 1 + len(alive) % 2, 2 * (len(voters) // 2) - 1), "it lost a seat"
        assert ended.learners == ()
        assert len(council.steps) <= 12
