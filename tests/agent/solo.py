"""A node that founds its site alone, without a machine: what it wants stored is stored at once, and time stands still."""

from __future__ import annotations

from worldos.errors import Refused
from worldos.kernel.effects import Effect, Persist, Tell
from worldos.kernel.events import CharterAsked, ClockTicked, Event, Persisted, RealmFounded, ResourcesScanned
from worldos.kernel.realms import RealmsAtStart
from worldos.model.ids import ClientId, NodeId
from worldos.model.local import Failure
from worldos.model.realm import Level, RealmId
from worldos.model.resource import Scanned
from worldos.node import new_node
from worldos.sim.machine import account_of, device_key
from worldos.trust.keylog import KeyLog

CORES = Scanned(kind="CPU", local="0", name="cpu", unit="milli", capacity=4000, free=4000)
SECOND = 1_000_000_000


class Solo:
    """One node that is an account of its own, and its primary (``charters.Owner``)."""

    def __init__(self, name: str = "home", number: int = 0) -> None:
        keylog = KeyLog(entries=dict(account_of(number + 1)))
        self.now_ns = 1
        self.node = new_node(
            node=NodeId(device_key(number).node_id),
            account=keylog.account,
            boot=1,
            name=name,
            place="home",
            keylog=keylog,
            seed=5,
            now_ns=0,
            realms=RealmsAtStart(name=name, founding=True),
        )
        self.told: list[Tell] = []
        scan = ResourcesScanned(
            now_ns=1, wall_ns=0, resources=(CORES,), facts={"speed_mips": 9000}, addresses=("10.0.0.1:1",)
        )
        self.feed(scan)
        self.pass_time(2)

    def feed(self, event: Event) -> None:
        effects: list[Effect] = self.node.handle(event)
        for effect in effects:
            if isinstance(effect, Persist):
                self.feed(Persisted(now_ns=self.now_ns, realm=effect.realm, number=effect.number))
            elif isinstance(effect, Tell):
                self.told.append(effect)

    def pass_time(self, seconds: int) -> None:
        """Let time pass, a tenth of a second at once."""
        for _ in range(10 * seconds):
            self.now_ns += SECOND // 10
            self.feed(ClockTicked(now_ns=self.now_ns))

    def found(self, name: str, level: Level = Level.ENTERPRISE) -> RealmId:
        """Begin an upper realm, and become its primary."""
        realm = RealmId(f"{name}-id")
        self.feed(RealmFounded(now_ns=self.now_ns, realm=realm, name=name, level=level, seed=7))
        self.pass_time(2)
        return realm

    async def propose(self, realm: RealmId, command: bytes) -> None:
        self.told.clear()
        event = CharterAsked(now_ns=self.now_ns, client=ClientId("agent"), request=1, realm=realm, command=command)
        self.feed(event)
        self.pass_time(1)
        (answer,) = self.told
        if isinstance(answer.message, Failure):
            raise Refused(answer.message.message)
