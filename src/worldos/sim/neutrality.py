"""Neutrality: thousands of small worlds in which who you are is changed, and what you get must not be.

Each world has some machines, many of them equal, and a need that names nobody. A chooser is asked; then the same again with
owners, names, places and nations dealt out anew, with the offers in another order, and for another account of the same standing.
The answer must be the same machine, it must have the least published score of all that fit, the smallest lot among those that
tie, the nonce that was committed to, and no offer may have been left out. ``PLANTED`` are choosers that break each of these a
little; ``search`` finds them, which shows that it would find them in the real one too.

Source: DESIGN.md sections 7 and 10; the lot is that of kernel/question.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Final, NamedTuple

import msgspec

from worldos.kernel.decisions import decide
from worldos.kernel.match import Choice, Refusal, choose
from worldos.kernel.question import Question, View, draw, node_key
from worldos.model.ids import AccountId, NodeId, ResourceId, UseId
from worldos.model.need import Need, Objective
from worldos.model.offer import Offer, OfferRules
from worldos.model.resource import Kind, Resource
from worldos.trust.keys import id_of

WORLDS: Final = 3000
MACHINES: Final = (2, 9)
OWNERS: Final = ("gov-north", "gov-south", "acme", "anna", "bert", "coop")
PLACES: Final = ("earth/eu/north", "earth/us/south", "earth/as/east")
GRIND: Final = 32  # nonces that a grinder tries
HOME: Final = NodeId("home")
ANYONE: Final = OfferRules(owners_only=False)


class World(NamedTuple):
    """What a chooser is given: a need that names nobody, offers, and the view with the nonce that was committed to."""

    need: Need
    offers: tuple[Offer, ...]
    view: View


class Chosen(NamedTuple):
    """What a chooser says: its answer, and the nonce that it says it drew with."""

    answer: Choice | Refusal
    nonce: bytes


Chooser = Callable[[World], Chosen]


class Found(NamedTuple):
    """What a search came to: ``violations`` by what was violated; ``first`` is the world, from 1, 0 where there was none."""

    worlds: int
    violations: Mapping[str, int]
    first: int

    @property
    def total(self) -> int:
        """Return how many worlds had a violation of any kind."""
        return sum(self.violations.values())


def search(chooser: Chooser, worlds: int = WORLDS, seed: int = 1, *, stop: bool = False) -> Found:
    """Look at so many worlds; with ``stop`` only until the first violation. Each world counts once, for what was seen first."""
    violations: dict[str, int] = {}
    first = 0
    for number in range(1, worlds + 1):
        why = violation(chooser, Random(seed * 1_000_003 + number))
        if why:
            violations[why] = violations.get(why, 0) + 1
            first = first or number
            if stop:
                return Found(number, violations, first)
    return Found(worlds, violations, first)


def violation(chooser: Chooser, random: Random) -> str:
    """Say what a chooser does wrong in one world; empty where it is fair."""
    world = make_world(random)
    chosen = chooser(world)
    if chosen.nonce != world.view.nonce:
        return "drew with another nonce than was committed to"
    why = _against_the_rule(world, chosen.answer)
    if why:
        return why
    if chooser(_shuffled(world, random)).answer != chosen.answer:
        return "the order of arrival matters"
    if chooser(_dealt_anew(world, random)).answer != chosen.answer:
        return "owner, name, place or nation matters"
    if chooser(_asked_by_another(world)).answer != chosen.answer:
        return "who asks matters"
    return ""


def make_world(random: Random) -> World:
    """Make a world: few distinct figures, so that ties and differences of one point happen."""
    need = Need(
        kind=Kind.CPU,
        amount=random.choice([500, 1000, 2000]),
        objective=random.choice([Objective.FASTEST, Objective.CHEAPEST]),
    )
    alike = random.random() < 0.7  # mostly equal machines: where bias hides
    speed, price = random.choice([2000, 9000]), random.choice([0, 100])
    offers = tuple(_offer(random, speed, price, alike=alike) for _ in range(random.randint(*MACHINES)))
    rtt_us = {offer.node: 300 if alike else random.choice([300, 301, 9000]) for offer in offers}
    view = View(home=HOME, account=AccountId("asker"), nonce=random.randbytes(8), rtt_us=rtt_us)
    return World(need, offers, view)


def fair(world: World) -> Chosen:
    """Choose as every node does (kernel/decisions.py)."""
    _, answer, _ = decide(UseId("u"), (world.need,), world.offers, world.view, splits=False)
    return Chosen(answer if isinstance(answer, Refusal) else answer[0], world.view.nonce)


# -- the rule, written a second time -----------------------------------------------------------------------------------------


def _against_the_rule(world: World, answer: Choice | Refusal) -> str:
    question = Question(world.need, world.view)
    fitting = [(place.score, offer.node) for offer in world.offers if (place := question.place(offer)) is not None]
    if answer.considered != len(world.offers):
        return "an offer was left out"
    if isinstance(answer, Refusal):
        return "it was refused, and could have been had" if fitting else ""
    least = min((score for score, _ in fitting), default=-1)
    ties = [node for score, node in fitting if score == least]
    if answer.node not in ties or answer.score != least:
        return "another had a better score"
    lots = {node: draw(node_key(node), world.view.nonce) for node in ties}
    return "" if answer.node == min(ties, key=lots.__getitem__) else "the tie was not drawn by lot"


def _shuffled(world: World, random: Random) -> World:
    offers = list(world.offers)
    random.shuffle(offers)
    return world._replace(offers=tuple(offers))


def _dealt_anew(world: World, random: Random) -> World:
    return world._replace(offers=tuple(_called(offer, *_names(random)) for offer in world.offers))


def _asked_by_another(world: World) -> World:
    return world._replace(view=msgspec.structs.replace(world.view, account=AccountId("gov-south")))


def _names(random: Random) -> tuple[str, str, str]:
    return random.choice(OWNERS), f"machine {random.randrange(1000)}", random.choice(PLACES)


def _called(offer: Offer, owner: str, name: str, place: str) -> Offer:
    facts = {**offer.facts, "nation": place.rsplit("/", 1)[1]}
    return msgspec.structs.replace(offer, owner=AccountId(owner), name=name, place=place, facts=facts)


def _offer(random: Random, speed: int, price: int, *, alike: bool) -> Offer:
    node = NodeId(id_of(random.randbytes(32)))
    free = random.choice([0, 2000, 4000, 4000, 4000])
    cpu = Resource(
        id=ResourceId(f"{node[:8]}/cpu/0"),
        kind=Kind.CPU,
        name="cpu",
        node=node,
        owner=AccountId(""),
        place="",
        uri="",
        unit="milli",
        capacity=4000,
        free=free if free == 0 or not alike else 4000,
        price_uwos=price if alike else random.choice([0, 100, 101]),
    )
    facts = {"speed_mips": speed if alike else random.choice([2000, 8999, 9000]), "load_percent": 0}
    bare = Offer(
        node=node,
        name="",
        owner=AccountId(""),
        place="",
        boot=1,
        number=1,
        resources=(cpu,),
        facts=dict(facts),
        rules=ANYONE,
    )
    return _called(bare, *_names(random))


# -- planted biases: choosers that should be found ---------------------------------------------------------------------------


def _ranked(world: World, key: Callable[[int, Offer], tuple[object, ...]]) -> Chosen:
    """Choose by another rule: the least of ``key(published score, offer)``."""
    question = Question(world.need, world.view)
    fitting = [(place, offer) for offer in world.offers if (place := question.place(offer)) is not None]
    if not fitting:
        return Chosen(choose(world.need, world.offers, world.view), world.view.nonce)
    ranked = sorted(fitting, key=lambda each: key(each[0].score, each[1]))
    place, offer = ranked[0]
    second = ranked[1] if len(ranked) > 1 else None
    answer = Choice(
        node=offer.node,
        resource=place.resources[0],
        resources=place.resources,
        score=place.score,
        considered=len(world.offers),
        runner_up=second[1].node if second else NodeId(""),
        runner_up_score=second[0].score if second else 0,
    )
    return Chosen(answer, world.view.nonce)


def _lot(world: World, offer: Offer) -> int:
    return draw(node_key(offer.node), world.view.nonce)


def nation_point(world: World) -> Chosen:
    """Give machines of a government one point."""
    return _ranked(world, lambda s, o: (s - (1 if o.owner.startswith("gov") else 0), _lot(world, o)))


def tie_by_id(world: World) -> Chosen:
    """Let the first id win a tie."""
    return _ranked(world, lambda s, o: (s, o.node))


def first_come(world: World) -> Chosen:
    """Let the offer that arrived first win a tie."""
    arrival = {offer.node: at for at, offer in enumerate(world.offers)}
    return _ranked(world, lambda s, o: (s, arrival[o.node]))


def omission(world: World) -> Chosen:
    """Leave out one owner's offers, and say that all were looked at."""
    seen = tuple(offer for offer in world.offers if offer.owner != "anna") or world.offers
    said = fair(world._replace(offers=seen))
    return Chosen(msgspec.structs.replace(said.answer, considered=len(world.offers)), said.nonce)


def grinding(world: World) -> Chosen:
    """Try nonces until a friend wins the tie."""
    for number in range(GRIND):
        nonce = world.view.nonce if number == 0 else number.to_bytes(8, "big")
        said = fair(world._replace(view=msgspec.structs.replace(world.view, nonce=nonce)))
        owners = {offer.node: offer.owner for offer in world.offers}
        if isinstance(said.answer, Choice) and owners[said.answer.node] == "bert":
            return Chosen(said.answer, nonce)
    return fair(world)


def party_pays_double(world: World) -> Chosen:
    """Take the need of one account for twice as much."""
    if world.view.account != "gov-south":
        return fair(world)
    doubled = msgspec.structs.replace(world.need, amount=2 * world.need.amount)
    return fair(world._replace(need=doubled))


PLANTED: Final[Mapping[str, Chooser]] = {
    "a point for a nation": nation_point,
    "ties by id": tie_by_id,
    "order of arrival": first_come,
    "omission": omission,
    "nonce grinding": grinding,
    "one party needs double": party_pays_double,
}


def grinders_share(trials: int, seed: int, *, committed: bool, ties: int = 10, tries: int = GRIND) -> float:
    """Return how often a grinder's friend wins among ``ties`` equal machines: with the nonce committed first, or not."""
    random = Random(seed)
    won = 0
    for _ in range(trials):
        keys = [node_key(NodeId(id_of(random.randbytes(32)))) for _ in range(ties)]
        nonces = [random.randbytes(8) for _ in range(1 if committed else tries)]
        won += any(min(draw(key, nonce) for key in keys) == draw(keys[0], nonce) for nonce in nonces)
    return won / trials
