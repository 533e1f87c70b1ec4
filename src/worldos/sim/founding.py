"""How the realms of a tree come about in a world: founded and joined by people, one command after the other.

What ``wos realm create`` and ``wos realm join`` do, without tickets: a person on a machine of the first site begins the realm,
then one on the parent's side has the child admitted and one on the child's side enters the parent. What is refused is tried
again, for councils come about meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from worldos.kernel.charter import (
    LEND,
    ChildAdmitted,
    Command,
    Named,
    ParentAdded,
    PolicySet,
    encode_command,
)
from worldos.kernel.events import CharterAsked, RealmFounded
from worldos.model.ids import ClientId
from worldos.model.limits import MS, SECOND
from worldos.model.local import Answer, Failure, ToClient
from worldos.model.realm import Contact, Level, ParentRecord, RealmId
from worldos.sim.councils import primaries
from worldos.sim.machine import Machine, Site, root_of
from worldos.sim.tree import TOP, Tree

if TYPE_CHECKING:
    from worldos.sim.world import World

SITE_LEVEL: Final = Level.HOME
AGAIN_NS: Final = 500 * MS
ANSWER_NS: Final = 4 * SECOND


class Person:
    """Who has one command put into the charter of a realm, and does not give up."""

    def __init__(self, world: World, number: int, where: Sequence[Machine], realm: RealmId, command: Command) -> None:
        self.world = world
        self.where = where
        self.client = ClientId(f"person{number}")
        self.realm = realm
        self.command = encode_command(command)
        self.done = False
        self.why = "was not asked"
        self._tries = 0
        self.ask(0)

    def __repr__(self) -> str:
        return f"{self.client} of {self.realm[:12]}"

    def ask(self, tries: int) -> None:
        """Ask the node of the primary, if there is one now."""
        if self.done or tries != self._tries:
            return
        self._tries += 1
        world = self.world
        found = [machine for machine in primaries(self.where, self.realm) if machine.running]
        if found:
            world.clients[self.client] = (found[0], self)
            event = CharterAsked(
                now_ns=world.clock_of(found[0]),
                client=self.client,
                request=self._tries,
                realm=self.realm,
                command=self.command,
            )
            world.feed(found[0], event)
        world.later(ANSWER_NS if found else AGAIN_NS, self.ask, self._tries)

    def told(self, message: ToClient) -> None:
        """Take in the answer."""
        if isinstance(message, Answer):
            self.done = True
            self.world.clients.pop(self.client, None)
        elif isinstance(message, Failure):
            self.why = message.message
            self.world.later(AGAIN_NS, self.ask, self._tries)

    def killed(self) -> None:
        """Go to another machine."""
        self.world.later(AGAIN_NS, self.ask, self._tries)


class Founding:
    """All that is to be said until the tree stands. ``done``: it was, and everybody agreed."""

    def __init__(self, world: World, tree: Tree) -> None:
        self.world = world
        self.tree = tree
        self.people: list[Person] = []
        for site in world.sites:
            realm = RealmId(site.account)
            self._ask(site, realm, Named(name=site.name, level=SITE_LEVEL))
            self._ask(site, realm, PolicySet(key=LEND, value="kin"))
        for number, plan in enumerate(tree.realms):
            site = world.sites[self._first_site(number)]
            first = site.machines[0]
            event = RealmFounded(
                now_ns=world.clock_of(first),
                realm=plan.realm,
                name=plan.name,
                level=plan.level,
                seed=world.dice.getrandbits(60),
            )
            world.feed(first, event)
            if plan.parent != TOP:
                self._join(plan.realm, plan.name, plan.level, first, plan.parent)
            for below in plan.sites:
                self._join_site(world.sites[below], number)

    @property
    def done(self) -> bool:
        """Tell whether all commands are in their charters."""
        return all(person.done for person in self.people)

    def open(self) -> list[str]:
        """Return what is not done, and why not."""
        return [f"{person}: {person.why}" for person in self.people if not person.done]

    def _first_site(self, number: int) -> int:
        plan = self.tree.realms[number]
        if plan.sites:
            return plan.sites[0]
        return self._first_site(next(n for n, other in enumerate(self.tree.realms) if other.parent == number))

    def _join_site(self, site: Site, parent: int) -> None:
        self._join(RealmId(site.account), site.name, SITE_LEVEL, site.machines[0], parent)

    def _join(self, child: RealmId, name: str, level: Level, speaker: Machine, parent: int) -> None:
        plan = self.tree.realms[parent]
        above = self.world.sites[self._first_site(parent)]
        lineage = lineage_of(self.tree, plan.parent)
        self._ask(
            above,
            plan.realm,
            ChildAdmitted(realm=child, name=name, level=level, council=(contact_of(speaker),), lineage=lineage),
        )
        record = ParentRecord(
            realm=plan.realm,
            name=plan.name,
            level=plan.level,
            path=path_of(self.tree, parent),
            contacts=(contact_of(above.machines[0]),),
        )
        self._ask(speaker.site, child, ParentAdded(parent=record, lineage=lineage))

    def _ask(self, site: Site, realm: RealmId, command: Command) -> None:
        self.people.append(Person(self.world, len(self.people), site.machines, realm, command))


def contact_of(machine: Machine) -> Contact:
    """Return how a machine of another account is found and believed."""
    return Contact(
        node=machine.id,
        name=machine.name,
        site=RealmId(machine.site.account),
        root_cert=root_of(machine.number),
        addresses=(),
    )


def lineage_of(tree: Tree, number: int) -> tuple[RealmId, ...]:
    """Return the realms from the topmost to this one; none for TOP."""
    if number == TOP:
        return ()
    return (*lineage_of(tree, tree.realms[number].parent), tree.realms[number].realm)


def path_of(tree: Tree, number: int) -> str:
    """Return the names from the topmost realm to this one."""
    plan = tree.realms[number]
    return plan.name if plan.parent == TOP else f"{path_of(tree, plan.parent)}/{plan.name}"
