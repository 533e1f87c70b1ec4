"""Whatever a member, kin or stranger says, in whatever order: a node takes it in, names it or ignores it, and stays encodable."""

from __future__ import annotations

from random import Random
from typing import Any, get_args

import msgspec
import pytest
from msgspec import inspect
from tests.kernel.realms.village import Village

from worldos.errors import PeerBroke
from worldos.kernel.events import ClockTicked, PeerSaid
from worldos.model import wire
from worldos.model.realm import RealmId, RealmMessage
from worldos.node import Node

ACME = RealmId("acme")
SAID = (*get_args(RealmMessage), *get_args(wire.LeaseMessage))
NUMBERS = (0, 1, 2, 3, 7, 2**31, 2**61, 2**62 - 1)


class Chatter:
    """Makes up messages of the right shape: numbers small and huge, and names that mean something here."""

    def __init__(self, dice: Random, words: list[str]) -> None:
        self.dice = dice
        self.words = words

    def value(self, kind: Any) -> Any:
        """Make up a value of a msgspec type."""
        dice = self.dice
        match kind:
            case inspect.Metadata():
                return self.value(kind.type)
            case inspect.BoolType():
                return dice.random() < 0.5
            case inspect.IntType():
                least, most = kind.ge if kind.ge is not None else 0, kind.le if kind.le is not None else 2**62
                return min(max(dice.choice(NUMBERS), least), most)
            case inspect.FloatType():
                return dice.random()
            case inspect.StrType():
                return dice.choice(self.words)[: kind.max_length]
            case inspect.BytesType():
                return dice.randbytes(dice.randrange(40))
            case inspect.EnumType():
                return dice.choice(list(kind.cls))
            case inspect.NoneType():
                return None
            case inspect.VarTupleType() | inspect.ListType():
                least = kind.min_length or 0
                return tuple(self.value(kind.item_type) for _ in range(least + dice.randrange(3)))
            case inspect.TupleType():
                return tuple(self.value(each) for each in kind.item_types)
            case inspect.DictType():
                return {self.value(kind.key_type): self.value(kind.value_type) for _ in range(dice.randrange(2))}
            case inspect.UnionType():
                return self.value(dice.choice(kind.types))
            case inspect.StructType():
                return self.struct(kind)
        raise AssertionError(f"no value for {kind}")

    def struct(self, kind: inspect.StructType) -> Any:
        """Make up a struct; a nested condition ends sooner or later."""
        said = {f.name: self.value(f.type) for f in kind.fields if f.required or self.dice.random() < 0.5}
        return kind.cls(**said)

    def message(self) -> wire.PeerMessage | None:
        """Make up a message, as the door lets it in; None for one that it refuses."""
        try:
            made = self.struct(inspect.type_info(self.dice.choice(SAID)))
            return wire.decode(wire.encode(made))
        except (PeerBroke, RecursionError, msgspec.ValidationError):
            return None


@pytest.mark.parametrize("seed", range(6))
def test_nothing_that_is_said_breaks_a_node(seed: int) -> None:
    village = Village(home=2, office=1)
    village.run(4)
    village.found("home0", "acme")
    assert village.join("home0", "home0", ACME) == ""
    assert village.join("home0", "office0", ACME) == ""
    village.run(3)
    nodes = [str(node.node) for node in village.nodes.values()]
    words = [*nodes, "", "acme", "acme/home", "CPU", "x" * 64, village.site("home0"), village.site("office0"), "kin"]
    chatter = Chatter(Random(seed), words)
    heard = 0
    node = village.nodes["home0"]
    for turn in range(600):
        message = chatter.message()
        if message is None:
            continue
        heard += 1
        peer = chatter.dice.choice(list(village.nodes.values())).node
        effects = node.handle(PeerSaid(now_ns=village.now_ns + turn, node=peer, message=message))
        for effect in effects:
            msgspec.msgpack.encode(effect)
    assert heard > 200
    node.handle(ClockTicked(now_ns=village.now_ns + 10**10))
    data = msgspec.msgpack.encode(node)
    assert msgspec.msgpack.encode(msgspec.msgpack.decode(data, type=Node)) == data
