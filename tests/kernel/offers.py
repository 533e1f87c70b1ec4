"""Offers for tests: small worlds in one line each."""

from __future__ import annotations

from collections.abc import Mapping

from worldos.kernel.question import View
from worldos.model.ids import AccountId, NodeId, ResourceId
from worldos.model.need import Need
from worldos.model.offer import Offer, OfferRules
from worldos.model.resource import Fact, Resource, ResourceState

ME = AccountId("me")
HOME = NodeId("home")
GB = 10**9


def resource(
    node: str,
    kind: str,
    local: str,
    capacity: int,
    free: int | None = None,
    *,
    price: int = 0,
    tags: tuple[str, ...] = (),
    facts: Mapping[str, Fact] | None = None,
    state: ResourceState = ResourceState.AVAILABLE,
) -> Resource:
    return Resource(
        id=ResourceId(f"{node}/{kind}/{local}"),
        kind=kind,
        name=f"{kind} {local}",
        node=NodeId(node),
        owner=ME,
        place="",
        uri=f"wos://{node}/{kind.lower()}/{local}",
        unit="",
        capacity=capacity,
        free=capacity if free is None else free,
        price_uwos=price,
        tags=tags,
        facts=dict(facts or {}),
        state=state,
    )


def offer(
    node: str,
    *more: Resource,
    cores: int = 4,
    free: int | None = None,
    memory: int = 8 * GB,
    memory_free: int | None = None,
    price: int = 0,
    place: str = "earth/eu/acme/berlin/lab",
    owner: str = "me",
    name: str = "",
    rules: OfferRules | None = None,
    number: int = 1,
    **facts: Fact,
) -> Offer:
    return Offer(
        node=NodeId(node),
        name=name or f"name of {node}",
        owner=AccountId(owner),
        place=place,
        boot=1,
        number=number,
        resources=(
            resource(node, "CPU", "0", cores * 1000, free, price=price),
            resource(node, "Memory", "0", memory, memory_free),
            *more,
        ),
        facts={"arch": "x86_64", "speed_mips": 10_000, "memory": memory, "cores": cores, **facts},
        rules=rules or OfferRules(),
    )


def cpu(milli: int = 1000, **more: object) -> Need:
    return Need(kind="CPU", amount=milli, **more)  # type: ignore[arg-type]


def view(**more: object) -> View:
    return View(home=HOME, account=ME, **more)  # type: ignore[arg-type]
